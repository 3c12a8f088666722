"""Timing contestants in turn, so that what else the machine does meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Task = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """Times of some contestants.

    Attributes:
        seconds: of each contestant that took part, of one task in each round, in processor time.
        missing: who could not take part, and the reason.
    """

    seconds: Mapping[str, list[float]]
    missing: Mapping[str, str]

    def median(self, name: str) -> float | None:
        """Seconds of a task; None of who took no part."""
        return statistics.median(self.seconds[name]) if name in self.seconds else None

    def ratio(self, name: str, base: str) -> float | None:
        """How many times as long as ``base`` it takes: the median over the rounds, in each of which both were timed."""
        if name not in self.seconds or base not in self.seconds:
            return None
        return statistics.median(one / other for one, other in zip(self.seconds[name], self.seconds[base], strict=True))


def contest(tasks: Mapping[str, Task | str], rounds: int, repeats: int = 1) -> Contest:
    """Times each task ``repeats`` times in each of the rounds, one contestant after the other. One more round comes first and
    does not count.

    Args:
        tasks: what to time, by the contestant's name; a text says why there is nothing to time.
        rounds: how many.
        repeats: of a task in a round.
    """
    runs = {name: task for name, task in tasks.items() if not isinstance(task, str)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for n in range(rounds + 1):
        for name, task in runs.items():
            begin = time.process_time()
            for _ in range(repeats):
                task()
            spent = (time.process_time() - begin) / repeats
            if n:
                seconds[name].append(spent)
    return Contest(seconds, {name: task for name, task in tasks.items() if isinstance(task, str)})
