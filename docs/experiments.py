"""Experiments: one key of a recipe's [prune] table takes several values, all else stays the same.

    python docs/experiments.py burn-in

Each value is trained with each seed in runs/experiments/NAME (an interrupted experiment goes on there), then plays the
episodes that every agent plays. All of them are written to docs/results/ENV/NAME.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch as th

from snn_rl import agents
from snn_rl.console import run
from snn_rl.convert import convert
from snn_rl.environments import load_recipe
from snn_rl.evaluate import describe, evaluate
from snn_rl.files import write_json
from snn_rl.prune import prune_stage

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Experiment:
    """What is varied, and what is changed in all of its trainings to make many of them affordable."""

    env: str
    key: str
    values: tuple[Any, ...]
    frames: int | None = None
    T: int = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    objective: str = "distill"
    start: str = ""  # agent to train on; empty: a fresh conversion
    changes: dict[str, Any] = field(default_factory=dict)


EXPERIMENTS = {
    "burn-in": Experiment(
        "CartPoleNoVel-v1", "burn_in", (0, 4, 16, 40), changes={"gradient_steps": (5_000,), "evaluations": 10}
    ),
}


def train(name: str, experiment: Experiment, value: Any, seed: int) -> dict[str, Any]:
    """One training and its score; what is finished is only read."""
    recipe = load_recipe(experiment.env, experiment.frames)
    changes = {**experiment.changes, experiment.key: value}
    recipe = dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, **changes))
    ann = agents.load(f"{recipe.ann_env}/ann")
    folder = Path("runs") / "experiments" / name / f"{experiment.key}-{value}-seed{seed}"
    record = folder / "result.json"
    if record.is_file():
        return json.loads(record.read_text())
    before = (
        agents.load(experiment.start)
        if experiment.start
        else convert(ann, recipe, experiment.T, seed=seed, frames=recipe.frames)
    )
    device = th.device("cpu")
    agent = prune_stage(
        before,
        ann,
        recipe,
        experiment.T,
        folder / f"T{experiment.T}",
        objective=experiment.objective,
        seed=seed,
        device=device,
    )
    score = evaluate(agent, recipe)
    print(f"{experiment.key} = {value}, seed {seed}, {agent.made['seconds']:.0f} s: {describe(score)}")
    versions = score.pop("versions")
    result = {
        experiment.key: value,
        "training_seed": seed,
        "seconds": agent.made["seconds"],
        "selection": agent.made["selection"],
        **score,
        "versions": versions,
    }
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
