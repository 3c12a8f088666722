"""What the default command makes of zips that this project did not train: reward and time of each seed.

    python tools/any_zip.py [--algorithm ppo] [--zips DIR] [--only CartPole-v1 ...] [--seeds 5] [--chain-seeds 3]

Zips that are not in the folder are trained first, see tools/zoo.py. Each seed is one run of ``python -m snn_rl.train``, in a
process of its own with one thread; the chain is the same with ``--start 5``, one command for each stage. Statistics of
``VecNormalize`` are given where they lie beside the zip. What was measured is added to docs/results/any-zip.json; what is
there is measured again only with ``--again``. ``make results`` writes the tables of docs/any-zip.md from that file.
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
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import zoo
from doc_tables import ZEROED

from snn_rl.console import run
from snn_rl.core.errors import UserError
from snn_rl.store import agents
from snn_rl.store.files import write_json
from snn_rl.store.provenance import versions

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "any-zip.json"
CHAIN = 5  # T of its first stage
Measured = dict[str, Any]


def command(*arguments: str) -> None:
    """Runs ``python -m`` with one thread.

    Raises:
        UserError: if it fails.
    """
    called = [sys.executable, "-m", *arguments]
    done = subprocess.run(called, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(called)} failed: {done.stderr.strip().splitlines()[-1]}")


def measure(zip_file: Path, env_id: str, seed: int, start: int | None) -> Measured:
    """The mean return of every agent that the command makes, and the time that it takes.

    Args:
        zip_file: the ANN.
        env_id: Gymnasium id.
        seed: of the run.
        start: T of the first stage; each stage is then a command of its own. None for the default, straight to T=1.

    Raises:
        UserError: if a command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, kept = Path(folder) / "run", zoo.statistics(zip_file)
        options = ["--env", env_id, "--ann", str(zip_file), "--seed", str(seed), "--out", str(out), "--device", "cpu"]
        options += ["--vecnormalize", str(kept), "--trust-pickle"] if kept.is_file() else []
        options += [] if start is None else ["--start", str(start)]
        wall, cpu = [time.monotonic()], [_spent()]
        for T in range(start or 1, 0, -1):
            command("snn_rl.train", "--T", str(T), *options, *["--resume"] * out.exists())
            wall.append(time.monotonic())
            cpu.append(_spent())
        made = [agents.load(card.parent) for card in sorted(out.glob(f"*/{agents.CARD}"))]
    return {
        "seed": seed,
        "start": start,
        "returns": {agent.name: agent.scores["greedy"].returns.mean for agent in made},
        "zeroed": {agent.name: agent.scores[ZEROED].returns.mean for agent in made if ZEROED in agent.scores},
        "sure": {agent.name: agent.made.compared.sure for agent in made if agent.made.compared},
        "wall_seconds": round(wall[-1] - wall[0], 1),
        "cpu_seconds": round(cpu[-1] - cpu[0], 1),
        "cpu_by_stage": [round(after - before, 1) for before, after in pairwise(cpu)],
    }


def _spent() -> float:
    """Processor seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read() -> list[Measured]:
    """The records that are there: one for each zip, with its runs."""
    return list(json.loads(RESULTS.read_bytes())["zips"]) if RESULTS.is_file() else []


def record(records: list[Measured], algorithm: str, zip_file: Path, env_id: str) -> Measured:
    """The record of a zip; a new one if there is none."""
    for one in records:
        if one["zip"] == zip_file.name:
            return one
    records.append({"zip": zip_file.name, "algorithm": algorithm, "env": env_id, "runs": []})
    return records[-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=zoo.SETTINGS, default="dqn", help="of the zips")
    parser.add_argument("--zips", type=Path, default=Path("runs/zoo"), help="folder of the zips")
    parser.add_argument("--only", nargs="+", metavar="ENV", help="default: all of the algorithm")
    parser.add_argument("--seeds", type=int, default=5, help="runs of the default command")
    parser.add_argument("--chain-seeds", type=int, default=3, help="runs from T=5 down")
    parser.add_argument("--again", action="store_true", help="measure again what is there")
    args = parser.parse_args(argv)
    for env_id in args.only or zoo.SETTINGS[args.algorithm]:
        zip_file = zoo.train(args.algorithm, env_id, args.zips)
        wanted = [(seed, None) for seed in range(args.seeds)] + [(seed, CHAIN) for seed in range(args.chain_seeds)]
        for seed, start in wanted:
            there = record(read(), args.algorithm, zip_file, env_id)["runs"]
            if any((one["seed"], one["start"]) == (seed, start) for one in there) and not args.again:
                continue
            measured = measure(zip_file, env_id, seed, start)
            records = read()  # another process may have measured something else meanwhile
            mine = record(records, args.algorithm, zip_file, env_id)
            others = [one for one in mine["runs"] if (one["seed"], one["start"]) != (seed, start)]
            mine["runs"] = [*others, measured]
            print(f"{zip_file.stem}, seed {seed}: {measured}", flush=True)
            write_json({"zips": records, "versions": versions()}, RESULTS)
    return 0


if __name__ == "__main__":
    run(main)
