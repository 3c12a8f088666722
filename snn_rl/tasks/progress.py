"""How far something long is, and how long it still takes: a bar on a terminal, elsewhere a line at least once a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

FIRST_SECONDS = 5.0  # until the first line: what is done sooner needs none
EVERY_SECONDS = 50.0  # until the next
BEAT_SECONDS = 5.0  # after which a line may be due though nothing advances


def spell(seconds: float) -> str:
    """A time in words: seconds below two minutes, minutes below two hours; at least one second."""
    if seconds < 120:
        return f"{max(round(seconds), 1)} s"
    if seconds < 7200:
        return f"{round(seconds / 60)} min"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def number(value: float) -> str:
    """A number of three digits or more: nobody reads 1.23e+04."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class Progress:
    """Shows how far something long is. Enter it where lines shall come although nothing advances for minutes.

    Args:
        total: amount of work; None where it is not known.
        unit: what the work is counted in, in the plural.
        description: of what is done.
        show: show the bar or the lines.
        clock: seconds.

    Attributes:
        done: work that is done.
        note: what is going on, for the lines; "" for the work that is counted.
    """

    def __init__(
        self,
        total: int | None,
        unit: str,
        description: str,
        show: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.unit, self.description, self.done, self.note = total, unit, description, 0, ""
        self._bar = tqdm(
            total=total, unit=f" {unit}", desc=description, disable=None if show else True, smoothing=0.05, dynamic_ncols=True
        )
        self._lines, self._clock = show and self._bar.disable, clock
        self._begun, self._before = clock(), 0.0
        self._from: tuple[float, int] | None = None  # time and work of the first advance: speed is measured from there
        self._about, self._shown = "", ""
        self._next, self._told = self._begun + FIRST_SECONDS, False
        self._lock, self._closed = threading.Lock(), threading.Event()

    def __enter__(self) -> Self:
        if self._lines:
            threading.Thread(target=self._keep_telling, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if kind is None and self._told:
            self.say(f"{self.description}: {self.done:,} {self.unit} in {spell(self.seconds)}")

    @property
    def seconds(self) -> float:
        """Time spent on the work, in all processes that worked on it one after the other."""
        return self._before + self._clock() - self._begun

    def advance(self, done: int, shown: Mapping[str, float], total: int | None = None) -> None:
        """Shows that ``done`` units of work are done, and some numbers by name; ``total`` is a new estimate of the work."""
        if total is not None:
            self.total, self._bar.total, self._about = total, total, "about "
        self._bar.update(done - self.done)
        self.done = done
        if self._from is None:
            self._from = self._clock(), done
        if shown:
            self._shown = "".join(f", {name} {number(value)}" for name, value in shown.items())
            self._bar.set_postfix({name: number(value) for name, value in shown.items()}, refresh=False)
        self._tell()

    def restart(self) -> None:
        """Begins again: the work so far was in vain."""
        self.done, self._from = 0, None
        self._bar.reset()

    def line(self) -> str:
        """How far it is, in words: work, speed, numbers, time left."""
        said = f"{self.description}: {self.done:,}"
        said += f" {self.unit}" if self.total is None else f" of {self._about}{self.total:,} {self.unit}"
        since, before = self._from or (self._begun, self.done)
        worked, spent = self.done - before, self._clock() - since
        if worked > 0 and spent > 0:
            rate = worked / spent
            said += f", {number(rate)} a second" if rate >= 1 else f", {spent / worked:.1f} s each"
        said += self._shown + (f", {self.note}" if self.note else "")
        if self.total is not None and self.total > self.done and worked > 0:
            said += f", about {spell((self.total - self.done) * spent / worked)} left"
        return said

    def _tell(self) -> None:
        """Prints a line if one is due."""
        with self._lock:
            if not self._lines or self._clock() < self._next:
                return
            known = self._from is not None and self.done > self._from[1]  # how fast it goes
            self._next, self._told = self._clock() + (EVERY_SECONDS if known else 2 * FIRST_SECONDS), True
            self.say(self.line())

    def _keep_telling(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            self._tell()

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text)

    def close(self) -> None:
        """Leaves the bar as it is; no more lines."""
        self._closed.set()
        self._bar.close()

    def state_dict(self) -> dict[str, Any]:
        """Work done and time spent."""
        return {"done": self.done, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict`; the time left is estimated from the work of this process alone."""
        self.done, self._before = state["done"], state["seconds"]
        self._bar.initial = self._bar.n = self.done
