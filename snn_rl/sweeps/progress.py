"""How far a sweep is: one table on a terminal, elsewhere a line for each cell that is done."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from snn_rl.core.errors import UserError
from snn_rl.store import card as cards
from snn_rl.store.files import CARD
from snn_rl.sweeps.cells import Cell
from snn_rl.sweeps.training import Outcome
from snn_rl.tasks.progress import spell

GREEDY = "greedy"


def returned(folder: Path, T: int) -> float | None:
    """The mean return of the agent that a cell is for, as its greedy play was scored; None if there is none."""
    for path in sorted(folder.glob(f"T{T}*/{CARD}")):
        try:
            score = cards.read(path.parent)[0].scores.get(GREEDY)
        except UserError:
            continue
        if score is not None:
            return score.returns.mean
    return None


class Shown:
    """Shows what became of cells. Enter it while they run.

    Args:
        cells: all of the sweep.
        out: their folder.
        done: those that are done already.
    """

    def __init__(
        self, cells: Sequence[Cell], out: Path, done: Sequence[Cell] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.out, self.console, self._clock = out, Console(), clock
        self.groups: dict[str, list[Cell]] = defaultdict(list)
        for cell in cells:
            self.groups[cell.group].append(cell)
        self.total, self.before, self.begun = len(cells), len(done), clock()
        self.returns: dict[str, list[float]] = defaultdict(list)
        self.done: dict[str, int] = defaultdict(int)
        self.failed: dict[str, list[Outcome]] = defaultdict(list)
        for cell in done:
            self._note(cell)
        self._live = Live(self.table(), console=self.console, refresh_per_second=1) if self.console.is_terminal else None

    def __enter__(self) -> Self:
        (self._live or nullcontext()).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.update(self.table())
            self._live.__exit__(kind, error, trace)

    def add(self, outcome: Outcome) -> None:
        """Shows what became of a cell."""
        cell = outcome.cell
        if outcome.error:
            self.failed[cell.group].append(outcome)
        else:
            self._note(cell)
        if self._live:
            self._live.update(self.table())
            return
        value = returned(self.out / cell.name, cell.T)
        said = f"failed: {outcome.error}" if outcome.error else "done" if value is None else f"done, mean return {value:.2f}"
        counted = sum(self.done.values()) + sum(map(len, self.failed.values()))
        spent = f"{spell(outcome.seconds)} on {outcome.node or 'no node'}"
        print(f"{cell.name}: {said} ({counted:,} of {self.total:,}, {spent})", flush=True)

    def _note(self, cell: Cell) -> None:
        self.done[cell.group] += 1
        value = returned(self.out / cell.name, cell.T)
        if value is not None:
            self.returns[cell.group].append(value)

    def left(self) -> str:
        """How long it still takes, in words; "" while nobody knows."""
        done = sum(self.done.values()) - self.before
        if not done:
            return ""
        rest = self.total - self.before - done - sum(map(len, self.failed.values()))
        return f", about {spell(rest * (self._clock() - self.begun) / done)} left" if rest else ""

    def table(self) -> Table:
        """A line for each environment, T and setting."""
        counted = sum(self.done.values())
        table = Table(title=f"{counted:,} of {self.total:,} cells are done{self.left()}")
        for heading in ("cells", "done", "failed", "mean return so far"):
            table.add_column(heading, justify="left" if heading == "cells" else "right")
        for group, cells in self.groups.items():
            values = self.returns[group]
            mean = f"{sum(values) / len(values):.2f}" if values else "-"
            table.add_row(group, f"{self.done[group]} of {len(cells)}", str(len(self.failed[group])), mean)
        return table
