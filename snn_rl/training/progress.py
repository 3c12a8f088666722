"""How far a training is: shown while it runs, and noted for the agent's card."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

CURVE_POINTS = 100  # of a training's curve
LINES = 20  # that tell of progress where there is no terminal for the bar


def passed(done: int, before: int, total: int, parts: int) -> bool:
    """Whether a training of ``total`` passed one of its ``parts`` equal parts between ``before`` and ``done``."""
    return done * parts // total > before * parts // total


class Progress:
    """Shows how far a training is: a bar with the time left; where there is no terminal, a line now and then.

    Args:
        total: amount of work.
        unit: what the work is counted in, in the plural.
        description: of the training.
        show: show the bar or the lines.
    """

    def __init__(self, total: int, unit: str, description: str, show: bool = True) -> None:
        self.total, self.description, self.done = total, description, 0
        self._bar = tqdm(
            total=total, unit=f" {unit}", desc=description, disable=None if show else True, smoothing=0.05, dynamic_ncols=True
        )
        self._lines = show and self._bar.disable
        self._first = 0  # work that was done before this process
        self._begun, self._before = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Time spent on this training, in all processes that worked on it."""
        return self._before + time.monotonic() - self._begun

    def advance(self, done: int, shown: Mapping[str, float]) -> None:
        """Shows that ``done`` units of work are done, and what the learner says of itself."""
        if self._lines and passed(done, self.done, self.total, LINES):
            left = max(self.total - done, 0) * (time.monotonic() - self._begun) / max(done - self._first, 1)
            words = "".join(f", {name} {value:.3g}" for name, value in shown.items())
            self.say(f"{self.description}: {done:,} of {self.total:,}{words}, about {left / 60:.0f} min left")
        self._bar.update(done - self.done)
        self.done = done
        if shown:
            self._bar.set_postfix({name: f"{value:.3g}" for name, value in shown.items()}, refresh=False)

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

    def state_dict(self) -> dict[str, Any]:
        """Work done and time spent."""
        return {"done": self.done, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict`; the time left is estimated from the work of this process alone."""
        self.done, self._before = state["done"], state["seconds"]
        self._first = self._bar.initial = self._bar.n = self.done


class Curve:
    """What a learner says of itself in the course of a training: of each name 100 pairs of work done and value."""

    def __init__(self) -> None:
        self.points: dict[str, list[list[float]]] = {}

    def note(self, done: int, before: int, total: int, shown: Mapping[str, float]) -> None:
        """Keeps the values where a hundredth of the work was done since ``before``."""
        if not passed(done, before, total, CURVE_POINTS):
            return
        for name, value in shown.items():
            if math.isfinite(value):  # a card holds nothing else; loading the agent tells what became of its network
                self.points.setdefault(name, []).append([done, float(f"{value:.4g}")])

    def state_dict(self) -> dict[str, Any]:
        """The points."""
        return {"points": self.points}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict`."""
        self.points = state["points"]
