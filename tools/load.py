"""Works as long as hours of use do, and watches the memory. For maintainers, in a checkout, on Linux.

    python tools/load.py [--steps 1000000] [--minutes 3] [--json docs/results/load.json]

Three parts, each in a process of its own:

* ``steps``: a learner plays so many environment steps in 64 environments; its memory at the start (once the replay buffer is
  full), in the middle and at the end.
* ``evaluation``: an agent is evaluated again and again for some minutes, which stand for six hours: what is not given back is
  not given back at each evaluation.
* ``trainings``: four trainings run at the same time under one folder; a fifth, alone, has the seed of the first. Both must
  have made the same agents, to the last bit, and no file of a training may lie outside its folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from snn_rl import SpikingDQN, evaluate, load_agent
from snn_rl.store.agents import CARD, WEIGHTS
from snn_rl.store.integrity import digest

ENVIRONMENTS, TRAININGS, BUFFER = 64, 4, 50_000
SHORT = ("prune.gradient_steps=[150]", "prune.evaluations=2", "prune.eval_episodes=5", "evaluate.episodes=10")


def memory() -> float:
    """Of this process, in megabytes."""
    return float(psutil.Process().memory_info().rss / 1e6)


class Watch(BaseCallback):
    """Notes the memory as a training goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        if self.n_calls % 200 == 0:
            self.noted.append((self.num_timesteps, memory()))
        return True


def steps(number: int) -> dict[str, Any]:
    """A training of so many environment steps."""
    env = make_vec_env("CartPole-v1", ENVIRONMENTS, seed=0)
    model = SpikingDQN("MlpPolicy", env, T=1, buffer_size=BUFFER, train_freq=16, learning_starts=1000, device="cpu", seed=0)
    model.learn(number, callback=(watch := Watch()))
    full = [one for one in watch.noted if one[0] >= min(2 * BUFFER, number // 4)]
    return {"environment_steps": number, "environments": ENVIRONMENTS, **_three(full, "environment_steps")}


def evaluation(minutes: float) -> dict[str, Any]:
    """Evaluations of an agent for some minutes."""
    agent, until, decisions = load_agent("CartPole-v1/T1"), time.monotonic() + 60 * minutes, 0
    noted = list[tuple[int, float]]()
    while time.monotonic() < until or len(noted) < 6:
        result = evaluate(agent, episodes=ENVIRONMENTS)
        decisions += sum(one.length for one in result.episodes)
        noted.append((len(noted) + 1, memory()))
    return {"evaluations": len(noted), "decisions": decisions, **_three(noted[2:], "evaluations")}


def trainings(root: Path) -> dict[str, Any]:
    """Four at the same time under one folder, and the first of them again, alone."""
    folders = [root / "together" / f"seed{seed}" for seed in range(TRAININGS)]
    running = [_train(folder, seed) for seed, folder in enumerate(folders)]
    codes = [one.wait() for one in running]
    codes.append(_train(root / "alone" / "seed0", 0).wait())
    first, alone = (sorted(path.rglob(WEIGHTS)) for path in (folders[0], root / "alone" / "seed0"))
    same = [digest(one.read_bytes()) == digest(other.read_bytes()) for one, other in zip(first, alone, strict=True)]
    strays = [path for path in (root / "together").iterdir() if path not in folders]
    left = [path for path in root.rglob(".*") if path.is_file()]
    agents = [load_agent(card.parent) for folder in folders for card in folder.rglob(CARD)]
    return {
        "trainings": TRAININGS,
        "failed": sum(code != 0 for code in codes),
        "agents": len(agents),
        "agents_that_differ": same.count(False),
        "files_outside": len(strays),
        "temporary_files_left": len(left),
    }


def _train(folder: Path, seed: int) -> subprocess.Popen[bytes]:
    options = [part for setting in SHORT for part in ("--recipe-set", setting)]
    command = [sys.executable, "-m", "snn_rl.train", "--env", "CartPole-v1", "--T", "1", "--seed", str(seed), "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen([*command, "--out", str(folder), *options], env=environment, stdout=subprocess.DEVNULL)


def _three(noted: Sequence[tuple[int, float]], unit: str) -> dict[str, Any]:
    """Start, middle and end, in megabytes."""
    places = {"start": noted[0], "middle": noted[len(noted) // 2], "end": noted[-1]}
    return {f"mb_at_{name}": round(mb, 1) for name, (_, mb) in places.items()} | {
        f"{unit}_at_start": noted[0][0],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/load.py``; the exit code is 1 if memory grew by a tenth, or anything was clobbered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="environment steps of the learner")
    parser.add_argument("--minutes", type=float, default=3.0, help="of evaluations")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--part", choices=("steps", "evaluation", "trainings"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.part is None:
        found = {part: _alone(part, args) for part in ("steps", "evaluation", "trainings")}
        print(json.dumps(found, indent=1))
        if args.json is not None:
            args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        grown = [one["mb_at_end"] / one["mb_at_start"] for one in (found["steps"], found["evaluation"])]
        wrong = [found["trainings"][key] for key in found["trainings"] if key not in ("trainings", "agents")]
        return int(max(grown) > 1.1 or any(wrong))
    th.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "steps": lambda: steps(args.steps),
            "evaluation": lambda: evaluation(args.minutes),
            "trainings": lambda: trainings(Path(folder)),
        }
        print(json.dumps(parts[args.part]()))
    return 0


def _alone(part: str, args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part, "--steps", str(args.steps), "--minutes", str(args.minutes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
