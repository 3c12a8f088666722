"""What the default command makes of zips that this project did not train: reward and time of each seed.

    python tools/any_zip.py [--zips DIR] [--only CartPole-v1 ...] [--seeds 5] [--chain-seeds 3]

Zips that are not in the folder are trained first, see tools/zoo.py. Each seed is one run of ``python -m snn_rl.train``, in a
process of its own with one thread; the chain is the same with ``--start 5``. What was measured is added to
docs/results/any-zip.json. A measurement that is there is made again only with ``--again``. ``make results`` writes the table
of docs/any-zip.md from that file.
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

from snn_rl.console import run
from snn_rl.core.errors import UserError
from snn_rl.store import agents
from snn_rl.store.files import write_json
from snn_rl.store.provenance import versions

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "any-zip.json"
ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v3")
CHAIN = 5  # T of its first stage
Measured = dict[str, Any]


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
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "snn_rl.train", "--env", env_id, "--T", "1", "--ann", str(zip_file)]
        command += ["--seed", str(seed), "--out", str(out), "--device", "cpu"]
        command += [] if start is None else ["--start", str(start)]
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
        if done.returncode:
            raise UserError(f"{' '.join(command)} failed: {done.stderr.strip().splitlines()[-1]}")
        made = [agents.load(card.parent) for card in sorted(out.glob(f"*/{agents.CARD}"))]
    return {
        "seed": seed,
        "start": start,
        "returns": {agent.name: agent.scores["greedy"].returns.mean for agent in made},
        "sure": {agent.name: agent.made.compared.sure for agent in made if agent.made.compared},
        "wall_seconds": round(seconds, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }


def read() -> list[Measured]:
    """The records that are there: one for each zip, with its runs."""
    return list(json.loads(RESULTS.read_text())["zips"]) if RESULTS.is_file() else []


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=zoo.SETTINGS, default="dqn", help="of the zips")
    parser.add_argument("--zips", type=Path, default=Path("runs/zoo"), help="folder of the zips")
    parser.add_argument("--only", nargs="+", metavar="ENV", default=ENVIRONMENTS, help="default: all four")
    parser.add_argument("--seeds", type=int, default=5, help="runs of the default command")
    parser.add_argument("--chain-seeds", type=int, default=3, help="runs from T=5 down")
    parser.add_argument("--again", action="store_true", help="measure again what is there")
    args = parser.parse_args(argv)
    records = read()
    for env_id in args.only:
        zip_file = zoo.train(args.algorithm, env_id, args.zips)
        record = next((one for one in records if one["zip"] == zip_file.name), None)
        if record is None:
            records.append(record := {"zip": zip_file.name, "algorithm": args.algorithm, "env": env_id, "runs": []})
        wanted = [(seed, None) for seed in range(args.seeds)] + [(seed, CHAIN) for seed in range(args.chain_seeds)]
        for seed, start in wanted:
            there = [one for one in record["runs"] if (one["seed"], one["start"]) == (seed, start)]
            if there and not args.again:
                continue
            measured = measure(zip_file, env_id, seed, start)
            record["runs"] = [one for one in record["runs"] if one not in there] + [measured]
            print(f"{zip_file.stem}, seed {seed}: {measured}", flush=True)
            write_json({"zips": records, "versions": versions()}, RESULTS)
    return 0


if __name__ == "__main__":
    run(main)
