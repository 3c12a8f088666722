"""What the default command makes of zips that this project did not train: reward and time of each seed.

    python tools/any_zip.py [--algorithm ppo] [--zips DIR] [--only CartPole-v1 ...] [--seeds 5] [--chain-seeds 3]

Zips that are not in the folder are trained first, see tools/zoo.py. Each seed is one run of ``python -m snn_rl.train``, in a
process of its own with one thread; the chain is the same with ``--start 5``. What was measured is added to
docs/results/any-zip.json. A measurement that is there is made again only with ``--again``. ``make results`` writes the tables
of docs/any-zip.md from that file. A zip whose agent learnt under ``VecNormalize`` is first made an agent with the statistics
beside it, by ``python -m snn_rl.evaluate``.
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


def teacher(zip_file: Path, env_id: str, folder: Path) -> Path:
    """The zip, or the agent that it makes with the statistics beside it."""
    kept = zoo.statistics(zip_file)
    if not kept.is_file():
        return zip_file
    given = ("--vecnormalize", str(kept), "--trust-pickle", "--episodes", "1", "--out", str(folder))
    command("snn_rl.evaluate", str(zip_file), "--env", env_id, *given)
    return folder


def measure(zip_file: Path, env_id: str, seed: int, start: int | None) -> Measured:
    """One run of the command: the mean return of every agent that it made, and the time that it took.

    Args:
        zip_file: the ANN.
        env_id: Gymnasium id.
        seed: of the run.
        start: T of the first stage; None for the default.

    Raises:
        UserError: if the command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, ann = Path(folder) / "run", teacher(zip_file, env_id, Path(folder) / "ann")
        options = ["--env", env_id, "--T", "1", "--ann", str(ann), "--seed", str(seed), "--out", str(out), "--device", "cpu"]
        options += [] if start is None else ["--start", str(start)]
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command("snn_rl.train", *options)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
        made = [agents.load(card.parent) for card in sorted(out.glob(f"*/{agents.CARD}"))]
    return {
        "seed": seed,
        "start": start,
        "returns": {agent.name: agent.scores["greedy"].returns.mean for agent in made},
        "zeroed": {agent.name: agent.scores[ZEROED].returns.mean for agent in made if ZEROED in agent.scores},
        "sure": {agent.name: agent.made.compared.sure for agent in made if agent.made.compared},
        "wall_seconds": round(seconds, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }


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
