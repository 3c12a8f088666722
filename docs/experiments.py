"""Experiments: one key of a recipe's [prune] table takes several values, all else stays the same.

    python docs/experiments.py burn-in

Each value is trained with each seed, the same number of gradient steps whatever it is, in runs/experiments/NAME (an
interrupted experiment goes on there). Each agent then plays the episodes that every agent plays. All is written to
docs/results/ENV/NAME.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch as th

from snn_rl import agents
from snn_rl.console import run
from snn_rl.convert import convert
from snn_rl.environments import load_recipe
from snn_rl.evaluate import describe, evaluate
from snn_rl.files import write_json
from snn_rl.prune import prune

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Experiment:
    """What is varied. ``steps``: gradient steps of one training, shared evenly by its stages from ``start`` down to T."""

    env: str
    key: str
    values: tuple[Any, ...]
    steps: int
    frames: int | None = None
    T: int = 1
    seeds: tuple[int, ...] = (0, 1, 2)


EXPERIMENTS = {
    "burn-in": Experiment("CartPoleNoVel-v1", "burn_in", (0, 4, 16, 40), 5_000),
    "stages": Experiment("PongNoFrameskip-v4", "start", (1, 5), 6_000),
    "frozen-neurons": Experiment("PongNoFrameskip-v4", "neuron_rate", (10.0, 0.0), 6_000, frames=1),
    "spike-penalty": Experiment("PongNoFrameskip-v4", "spike_penalty", (0.0, 0.05, 0.1, 0.2, 0.5), 6_000, frames=1),
}


def train(name: str, experiment: Experiment, value: Any, seed: int) -> dict[str, Any]:
    """One training and its score; what is finished is only read."""
    folder = Path("runs") / "experiments" / name / f"{experiment.key}-{value}-seed{seed}"
    record = folder / "result.json"
    if record.is_file():
        return json.loads(record.read_text())
    recipe = load_recipe(experiment.env, experiment.frames)
    changed = dataclasses.replace(recipe.prune, **{experiment.key: value})
    stages = range(max(changed.start, experiment.T), experiment.T - 1, -1)
    changed = dataclasses.replace(changed, gradient_steps=(experiment.steps // len(stages),))
    recipe = dataclasses.replace(recipe, prune=changed)
    ann = agents.load(f"{recipe.ann_env}/ann")
    agent = convert(ann, recipe, stages[0], seed=seed, frames=recipe.frames)
    agent = prune(agent, ann, recipe, experiment.T, folder, objective="distill", seed=seed, device=th.device("cpu"))
    seconds = sum(agents.load(folder / f"T{T}").made["seconds"] for T in stages)
    score = evaluate(agent, recipe)
    print(f"{experiment.key} = {value}, seed {seed}, {seconds:.0f} s: {describe(score)}")
    made = {"seconds": seconds, "selection": agent.made["selection"]}
    result = {experiment.key: value, "training_seed": seed, **made, **score}
    write_json(result, record)
    return result


def main(argv: list[str] | None = None) -> int:
    """``python docs/experiments.py NAME``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=EXPERIMENTS)
    name = parser.parse_args(argv).name
    experiment = EXPERIMENTS[name]
    results = [train(name, experiment, value, seed) for seed in experiment.seeds for value in experiment.values]
    out = RESULTS / experiment.env / f"{name}.json"
    write_json({"experiment": dataclasses.asdict(experiment), "results": results}, out)
    print(out)
    return 0


if __name__ == "__main__":
    run(main)
