"""What a sweep adds to its trainings, on this machine and on Ray: cells that only leave files behind, and tiny trainings, real
but of a single gradient step, beside the same training without a sweep::

    python tools/sweep_cost.py --leaving 200 --real 200 --out docs/results/sweep-cost.json

Times are processor time, because what else the machine does would be in the others. Those of cells on Ray are of all its
processes. What is not measured (0 cells) stays in the file as it was.
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
from typing import Any

import psutil

from snn_rl.core.threads import cores
from snn_rl.store.files import write_json
from snn_rl.store.provenance import versions
from snn_rl.sweeps.cells import Cell, grid
from snn_rl.sweeps.local import Local
from snn_rl.sweeps.on_ray import OnRay
from snn_rl.sweeps.run import Where
from snn_rl.sweeps.training import TRAIN

LEFT = 100_000  # bytes that a cell without a training leaves: those of a CartPole agent
MODULE = f"""
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(folder / "T1").mkdir(parents=True)
(folder / "settings.json").write_text("{{}}")
(folder / "T1" / "weights.safetensors").write_bytes(bytes({LEFT}))
"""
NUMBERS = (
    "prune.gradient_steps=[1]", "prune.evaluations=1", "prune.eval_episodes=1", "prune.stop_at_share=0.0",
    "convert.observations=64", "evaluate.episodes=1",
)  # fmt: skip
TINY = tuple(part for number in NUMBERS for part in ("--recipe-set", number))
ALONE = 3  # trainings without a sweep before the others, and as many after them


def used() -> tuple[float, float]:
    """Processor seconds of this process; and of all that it started, so far as they live or were waited for."""
    own = psutil.Process()
    times = [process.cpu_times() for process in own.children(recursive=True)]
    below = sum(each.user + each.system + each.children_user + each.children_system for each in times)
    mine = own.cpu_times()
    return mine.user + mine.system, below + mine.children_user + mine.children_system


def measure(make: Callable[[Path], Where], cells: Sequence[Cell]) -> dict[str, float]:
    """Carries the cells out; seconds and bytes for each of them."""
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


def both(cells: Sequence[Cell], few: int, module: str, folder: Path) -> dict[str, Any]:
    """The cells on Ray, and the first few of them as processes of this machine."""
    local = measure(lambda out: Local(out, 1, 0, module), cells[:few])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"local": local, "ray": measure(lambda out: OnRay(out, 1, 0, None, folder / module, "sweep", module), cells)}


def alone(cell: Cell, folder: Path) -> float:
    """Processor seconds of the training of a cell without a sweep."""
    before = used()[1]
    command = [sys.executable, "-m", TRAIN, *cell.arguments(str(folder), 1, "cpu")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return round(used()[1] - before, 2)


def main() -> None:
    """Measures and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leaving", type=int, default=200, help="cells that only leave files (default 200)")
    parser.add_argument("--real", type=int, default=200, help="cells that train, on Ray (default 200); 12 as processes")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    record: dict[str, Any] = json.loads(args.out.read_bytes()) if args.out.is_file() else {}
    record |= {"cores": cores(), "versions": versions()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "leaving.py").write_text(MODULE, encoding="utf-8")
        os.environ["PYTHONPATH"] = os.pathsep.join([name, str(Path(__file__).resolve().parents[1])])
        if args.leaving:
            record["leaving"] = both(grid(["CartPole-v1"], [1], [()], range(args.leaving)), args.leaving, "leaving", folder)
            write_json(record, args.out)
        if args.real:
            cells = grid(["CartPole-v1"], [1], [()], range(args.real), TINY)
            times = [alone(cell, folder / f"before{cell.seed}") for cell in cells[:ALONE]]
            record["real"] = both(cells, 12, TRAIN, folder) | {"numbers": NUMBERS}
            times += [alone(cell, folder / f"after{cell.seed}") for cell in cells[:ALONE]]
            record["real"]["alone_cpu_seconds"] = times
            write_json(record, args.out)


if __name__ == "__main__":
    main()
