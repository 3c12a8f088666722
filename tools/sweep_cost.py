"""What a sweep adds to its trainings: 200 cells that only leave files behind, on this machine and on Ray, and the start of a
real training::

    python tools/sweep_cost.py --cells 200 --out docs/results/sweep-cost.json

Times are processor time, because what else the machine does would be in the others.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from snn_rl.core.threads import cores
from snn_rl.store.files import whole
from snn_rl.store.provenance import versions
from snn_rl.sweeps.cells import Cell, grid
from snn_rl.sweeps.local import Local
from snn_rl.sweeps.on_ray import OnRay
from snn_rl.sweeps.run import Where

LEFT = 100_000  # bytes that a cell leaves: those of a CartPole run
MODULE = f"""
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(folder / "T1").mkdir(parents=True)
(folder / "settings.json").write_text("{{}}")
(folder / "T1" / "weights.safetensors").write_bytes(bytes({LEFT}))
"""


def used(who: int) -> float:
    """Processor seconds of this process, or of those that it has waited for."""
    found = resource.getrusage(who)
    return found.ru_utime + found.ru_stime


def measure(make: Callable[[Path], Where], cells: Sequence[Cell]) -> dict[str, float]:
    """Runs the cells; seconds for each of them."""
    with tempfile.TemporaryDirectory() as folder:
        with closing(make(Path(folder))) as where:
            before, children, begun = used(resource.RUSAGE_SELF), used(resource.RUSAGE_CHILDREN), time.monotonic()
            with closing(where.run(cells)) as outcomes:
                errors = [outcome.error for outcome in outcomes if outcome.error]
            assert not errors, errors[0]
            spent, wall = used(resource.RUSAGE_SELF) - before, time.monotonic() - begun
        written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "driver_cpu_seconds": round(spent / len(cells), 4),
        "cell_cpu_seconds": round((used(resource.RUSAGE_CHILDREN) - children) / len(cells), 4),
        "wall_seconds": round(wall / len(cells), 4),
        "bytes": round(written / len(cells)),
    }


def tiny_training(folder: Path) -> float:
    """Processor seconds of a whole ``train`` that hardly learns: what a cell takes before and after its training."""
    numbers = ("prune.gradient_steps=[1]", "evaluate.episodes=1", "prune.stop_at_share=0.0", "convert.observations=64")
    sets = [part for number in (*numbers, "prune.evaluations=1", "prune.eval_episodes=1") for part in ("--recipe-set", number)]
    command = [sys.executable, "-m", "snn_rl.train", "--env", "CartPole-v1", "--T", "1", "--out", str(folder), *sets]
    before = used(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return used(resource.RUSAGE_CHILDREN) - before


def main() -> None:
    """Measures and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    cells = grid(["CartPole-v1"], [1], [()], range(args.cells))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "leaving.py").write_text(MODULE, encoding="utf-8")
        package = str(Path(__file__).resolve().parents[1])
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, package])
        record: dict[str, object] = {"cells": args.cells, "cores": cores()}
        record["local"] = measure(lambda out: Local(out, 1, 0, "leaving"), cells)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = Path(folder) / "nodes"
            on_ray = measure(lambda out: OnRay(out, 1, 0, None, nodes, "sweep", "leaving"), cells)
        del on_ray["cell_cpu_seconds"]  # of Ray's workers, which are not this process's to measure
        record["ray"] = on_ray
        record["tiny_training_cpu_seconds"] = [round(tiny_training(Path(folder) / f"run{n}"), 2) for n in range(2)]
    with whole(args.out) as new:
        new.write_text(json.dumps(record | {"versions": versions()}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
