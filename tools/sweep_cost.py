"""What a sweep adds to its trainings: 200 on Ray and some on this machine, real but of a single gradient step, beside the same
training without a sweep::

    python tools/sweep_cost.py --cells 200 --out docs/results/sweep-cost.json

Times are processor time, because what else the machine does would be in the others. Those of Ray are of all its processes,
the cells' included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import psutil

from snn_rl.core.threads import cores
from snn_rl.store.files import whole
from snn_rl.store.provenance import versions
from snn_rl.sweeps.cells import Cell, grid
from snn_rl.sweeps.local import Local
from snn_rl.sweeps.on_ray import OnRay
from snn_rl.sweeps.run import Where

NUMBERS = (
    "prune.gradient_steps=[1]", "prune.evaluations=1", "prune.eval_episodes=1", "prune.stop_at_share=0.0",
    "convert.observations=64", "evaluate.episodes=1",
)  # fmt: skip
TINY = tuple(part for number in NUMBERS for part in ("--recipe-set", number))
ALONE = 6  # trainings without a sweep


def used() -> tuple[float, float]:
    """Processor seconds of this process; and of all that it started, so far as they live or were waited for."""
    own = psutil.Process()
    times = [process.cpu_times() for process in own.children(recursive=True)]
    below = sum(each.user + each.system + each.children_user + each.children_system for each in times)
    mine = own.cpu_times()
    return mine.user + mine.system, below + mine.children_user + mine.children_system


def measure(make: Callable[[Path], Where], cells: Sequence[Cell]) -> dict[str, float]:
    """Trains the cells; seconds and bytes for each of them."""
    with tempfile.TemporaryDirectory() as folder:
        with closing(make(Path(folder))) as where:
            before, begun = used(), time.monotonic()
            with closing(where.run(cells)) as outcomes:
                errors = [outcome.error for outcome in outcomes if outcome.error]
            assert not errors, errors[0]
            spent, wall = [now - then for now, then in zip(used(), before, strict=True)], time.monotonic() - begun
        written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "cells": len(cells),
        "driver_cpu_seconds": round(spent[0] / len(cells), 4),
        "cell_cpu_seconds": round(spent[1] / len(cells), 4),
        "wall_seconds": round(wall / len(cells), 4),
        "bytes": round(written / len(cells)),
    }


def alone(cell: Cell, folder: Path) -> float:
    """Processor seconds of the training of a cell without a sweep."""
    before = used()[1]
    command = [sys.executable, "-m", "snn_rl.train", *cell.arguments(str(folder), 1, "cpu")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return used()[1] - before


def main() -> None:
    """Measures and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--local-cells", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    cells = grid(["CartPole-v1"], [1], [()], range(args.cells), TINY)
    record: dict[str, object] = {"cores": cores(), "numbers": NUMBERS}
    with tempfile.TemporaryDirectory() as folder:
        half = ALONE // 2  # before the sweeps, and after them
        times = [alone(cell, Path(folder) / f"before{cell.seed}") for cell in cells[:half]]
        record["local"] = measure(lambda out: Local(out, 1, 0), cells[: args.local_cells])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = Path(folder) / "nodes"
            record["ray"] = measure(lambda out: OnRay(out, 1, 0, None, nodes, "sweep"), cells)
        times += [alone(cell, Path(folder) / f"after{cell.seed}") for cell in cells[:half]]
    record["alone_cpu_seconds"] = [round(each, 2) for each in times]
    with whole(args.out) as new:
        new.write_text(json.dumps(record | {"versions": versions()}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
