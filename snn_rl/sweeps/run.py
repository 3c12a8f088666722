"""A sweep: cells that are done are kept, the others are trained, and all are put together in one report."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from snn_rl.core.errors import UserError
from snn_rl.measure import results, tables
from snn_rl.store.bounded import MAX_JSON, content, parse_json
from snn_rl.store.files import check_new, write_json
from snn_rl.sweeps.cells import Cell
from snn_rl.sweeps.progress import Shown
from snn_rl.sweeps.training import DONE, Outcome

SWEEP, CELLS = "sweep.json", "cells"


class Where(Protocol):
    """A place where cells are trained."""

    def run(self, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        """Yields what became of each cell, as soon as it is known. Closed early, it lets every training write a checkpoint."""

    def close(self) -> None:
        """Gives back what it holds."""


def begin(out: Path, resume: bool) -> str:
    """Makes a sweep's folder, or takes the one that is there; returns the sweep's name, by which nodes know its folder.

    Raises:
        UserError: if the folder exists and is not to be resumed, or is no sweep.
    """
    there = out / SWEEP
    if there.is_file():
        if not resume:
            raise UserError(f"'{out}' exists already; add --resume to go on with that sweep, or choose another --out")
        found = parse_json(content(there, MAX_JSON))
        name = found.get("name") if isinstance(found, dict) else None
        if not (isinstance(name, str) and name.isalnum()):
            raise UserError(f"'{there}' is damaged; remove it and add --resume to go on without what nodes kept")
        return name
    if not (resume and (out / CELLS).is_dir()):
        if resume and out.exists() and any(out.iterdir()):
            raise UserError(f"'{out}' is no sweep that could be resumed; choose another --out")
        if not resume or not out.exists():
            check_new(out)
    name = uuid.uuid4().hex[:12]
    write_json({"name": name}, there)
    return name


def is_done(cell: Cell, out: Path) -> bool:
    """Whether a cell was trained and scored."""
    return (out / CELLS / cell.name / DONE).is_file()


def carry_out(cells: Sequence[Cell], out: Path, where: Where) -> list[Outcome]:
    """Trains what is not done yet, and shows how far it is.

    Returns:
        What failed.
    """
    done = [cell for cell in cells if is_done(cell, out)]
    left = [cell for cell in cells if not is_done(cell, out)]
    failed = []
    with Shown(cells, out / CELLS, done) as shown, closing(where.run(left)) as outcomes:
        for outcome in outcomes:
            shown.add(outcome)
            if outcome.error:
                failed.append(outcome)
    return failed


def report(cells: Sequence[Cell], out: Path) -> list[Path]:
    """One report of all cells that are done: intervals are over seeds. Returns the files."""
    folders = [folder for cell in cells if is_done(cell, out) for folder in results.find(str(out / CELLS / cell.name))]
    return tables.write(results.read(folders), out / "report") if folders else []
