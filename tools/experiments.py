"""Experiments: one key of a recipe's [prune] or [td] table takes several values, or some keys do together; all else stays as
it is.

    python tools/experiments.py burn-in

Each value is trained with each seed, the same number of gradient steps whatever it is, in runs/experiments (an interrupted
experiment goes on there; trainings with the recipe's own value are shared by experiments of the same setting, and where
these are the trainings behind a shipped agent, its episodes are read instead). Each agent then plays the episodes that every
agent plays, what it was converted from too. All is written to docs/results/ENV/NAME.json; what is there already, of the same
setting, is kept and not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch as th

from snn_rl.console import run
from snn_rl.core.errors import UserError
from snn_rl.measure.scores import describe, evaluate
from snn_rl.store import agents
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.recipes import Recipe, listed
from snn_rl.training import td
from snn_rl.training.conversion import convert
from snn_rl.training.stages import pruning_job, run_stage

RESULTS = Path(__file__).parents[1] / "docs" / "results"


@dataclass(frozen=True)
class Experiment:
    """What is varied. ``key``: of [prune] or [td]; or a name for what values are that set several keys (of [convert] too).
    ``steps``: gradient steps of one training, shared evenly by its stages from ``start`` down to T; a tuple has those at
    T = 1, 2, 3, ..., as in a recipe (where there is one stage only, it has them all); None for the recipe's, of ``td`` for
    the recipe's timesteps."""

    env: str
    key: str
    values: tuple[Any, ...]
    steps: int | tuple[int, ...] | None
    frames: int | None = None
    T: int = 1
    objective: str = "distill"
    seeds: tuple[int, ...] = (0, 1, 2)


SPREAD = (0.05, 0.98)  # a decay per neuron, as in the recipe; 0.5: one per layer
NEURONS: tuple[Any, ...] = (
    {"decay": 0.5, "recurrent": False, "neuron_rate": 1.0},
    {"decay": SPREAD, "recurrent": False, "neuron_rate": 1.0},
    {"decay": 0.5, "recurrent": True, "neuron_rate": 1.0},
    {"decay": SPREAD, "recurrent": True, "neuron_rate": 1.0},
)
EXPERIMENTS = {
    "burn-in": Experiment("CartPoleNoVel-v1", "burn_in", (0, 4, 16, 40), 5_000),
    "neurons": Experiment("CartPoleNoVel-v1", "neurons", NEURONS, None),
    "stages": Experiment("PongNoFrameskip-v4", "start", (5, 1), (8_000, 2_500, 2_500, 2_500, 5_000), frames=4),
    "stages-td": Experiment("CartPole-v1", "start", (1, 5), 10_000, objective="td"),
    "advantage": Experiment("CartPoleNoVel-v1", "advantage_alpha", (0.9, 0.0), None, objective="td"),
    "frozen-neurons": Experiment("PongNoFrameskip-v4", "neuron_rate", (10.0, 0.0), None, frames=1),
    "spike-penalty": Experiment("PongNoFrameskip-v4", "spike_penalty", (0.0, 0.2, 0.4), 9_000, frames=1),
}


def random(experiment: Experiment, recipe: Recipe) -> bool:
    """Whether trainings begin with random weights, as those of snn_rl.train do by reward where something is hidden."""
    return experiment.objective == "td" and bool(recipe.teacher)


def base(experiment: Experiment) -> Recipe:
    """The recipe that all trainings of an experiment share, but for the key that is varied."""
    recipe = load_recipe(experiment.env, experiment.frames)
    if random(experiment, recipe):
        recipe = recipe.for_random_weights()
    if not isinstance(experiment.steps, tuple):
        return recipe
    return dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, gradient_steps=experiment.steps))


def shipped(experiment: Experiment, recipe: Recipe, seed: int) -> dict[str, Any] | None:
    """The score of a training by the recipe as it is, if it is in the catalogue. Spikes and energy are those of the shipped
    seed, and missing for the others."""
    steps = sum(map(recipe.prune.steps, recipe.prune.stages(experiment.T)))
    table = recipe.stage(experiment.objective)
    frames, reward = load_recipe(experiment.env).frames, experiment.objective == "td"
    name = f"{recipe.id}/T{experiment.T}" + (f"-frames{recipe.frames}" if recipe.frames != frames else "") + "-td" * reward
    if isinstance(experiment.steps, int) and (reward or experiment.steps != steps):
        return None
    if name not in agents.shipped():
        return None
    agent = agents.load(name)
    if agent.made.recipe != table:  # older cards do not say it
        return None
    played = [one for one in agent.episodes if (one.training_seed, one.protocol) == (seed, "greedy")]
    if not played:
        return None
    score = agent.scores["greedy"].to_json() if agent.made.seed == seed else {"agent": agent.label}
    return {**score, "training_seed": seed, "shipped": True, "episodes": [one.to_json() for one in played]}


def changes(experiment: Experiment, value: Any) -> dict[str, Any]:
    """The keys of a recipe that a value sets."""
    return value if isinstance(value, dict) else {experiment.key: value}


def variant(experiment: Experiment, value: Any) -> tuple[Recipe, bool]:
    """The recipe with another value of what is varied, and whether that is the recipe's own."""
    before = recipe = base(experiment)
    for key, one in changes(experiment, value).items():
        tables = ("td", "prune", "convert") if experiment.objective == "td" else ("prune", "convert")
        table = next(table for table in tables if hasattr(getattr(recipe, table), key))
        recipe = dataclasses.replace(recipe, **{table: dataclasses.replace(getattr(recipe, table), **{key: one})})
    own = recipe == before
    changed, stages = recipe.prune, recipe.prune.stages(experiment.T)
    if isinstance(experiment.steps, int):
        changed = dataclasses.replace(changed, gradient_steps=(experiment.steps // len(stages),))
    elif experiment.steps and len(stages) == 1:
        changed = dataclasses.replace(changed, gradient_steps=(sum(changed.gradient_steps),))
    recipe = dataclasses.replace(recipe, prune=changed)
    if isinstance(experiment.steps, int):  # environment steps of as many gradient steps of td
        played = recipe.train.learning_starts + changed.gradient_steps[0] * recipe.td.train_freq
        recipe = dataclasses.replace(recipe, td=dataclasses.replace(recipe.td, timesteps=played))
    return recipe, own


def train(experiment: Experiment, value: Any, seed: int) -> dict[str, Any]:
    """One training and its score; what is finished is only read."""
    recipe, own = variant(experiment, value)
    if own and (known := shipped(experiment, base(experiment), seed)):
        return {experiment.key: value, **known}
    steps = sum(experiment.steps) if isinstance(experiment.steps, tuple) else experiment.steps or "recipe"
    setting = f"{recipe.id}-frames{recipe.frames}-T{experiment.T}-{experiment.objective}-{steps}"
    varied = "-".join(f"{key}-{one}" for key, one in changes(experiment, value).items())
    folder = Path("runs") / "experiments" / setting / (f"seed{seed}" if own else f"{varied}-seed{seed}")
    record, stages = folder / "result.json", recipe.prune.stages(experiment.T)
    if record.is_file():
        last = next(folder.glob(f"T{experiment.T}*"))
        agents.check_recipe(agents.load(last), recipe.stage(experiment.objective))
        return {experiment.key: value, **json.loads(record.read_bytes())}
    ann, fewer, made = None, "", {}
    if random(experiment, recipe):
        agent = td.untrained(recipe, stages[0], seed=seed, frames=recipe.frames, carry=True)
    else:
        ann = agents.load(f"{recipe.ann_env}/ann")
        fewer = f"-frames{recipe.frames}" if recipe.frames != ann.frames else ""
        name = f"converted-T{stages[0]}{fewer}"
        if not (folder / name).exists():
            agent = convert(ann, recipe, stages[0], seed=seed, frames=recipe.frames)
            agent.name = name
            agents.save(agent, folder / name, half=recipe.half)
        agent = agents.load(folder / name)
        agents.check_recipe(agent, listed(recipe.convert))
        made = {"converted": evaluate(agent, recipe).score.to_json()["return"]}
    seconds, chosen = 0.0, {}
    for T in stages:
        job = pruning_job(agent, ann, recipe, T, folder / f"T{T}{fewer}", experiment.objective, seed)
        agent = run_stage(job, th.device("cpu"))
        seconds += agent.made.seconds or 0.0
        chosen[f"T{T}"] = agent.made.selection
    score = evaluate(agent, recipe)
    print(f"{experiment.key} = {value}, seed {seed}, {seconds:.0f} s: {describe(score)}")
    made = {"seconds": seconds, "selection": agent.made.selection, "of_stages": chosen, **made}
    result = {"training_seed": seed, **made, **score.to_json()}
    write_json(result, record)
    return {experiment.key: value, **result}


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/experiments.py NAME``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, nargs="+", help="only these (default: all of the experiment)")
    args = parser.parse_args(argv)
    experiment = EXPERIMENTS[args.name]
    out = RESULTS / experiment.env / f"{args.name}.json"
    setting = json.loads(json.dumps(dataclasses.asdict(experiment)))
    recipe = {**listed(base(experiment).convert), **base(experiment).stage(experiment.objective)}
    head = {"experiment": setting, "recipe": recipe}
    known = json.loads(out.read_bytes()) if out.exists() else {**head, "results": []}
    same = known["recipe"].keys() - ({"gradient_steps"} if experiment.steps else set())  # the setting has these
    if known["experiment"] != setting or any(recipe.get(key) != known["recipe"][key] for key in same):
        raise UserError(f"'{out}' is of another setting or another recipe; remove it to measure anew")
    values = setting["values"]
    found = {(one["training_seed"], values.index(one[experiment.key])): one for one in known["results"]}
    for seed in args.seeds or experiment.seeds:
        for n, value in enumerate(experiment.values):
            before = found.get((seed, n))
            if before is None:
                found[seed, n] = train(experiment, value, seed)
            elif "shipped" in before:  # another agent may have been shipped since
                now = shipped(experiment, base(experiment), seed)
                found[seed, n] = {experiment.key: value, **now} if now else before
            if found[seed, n] != before:
                write_json({**head, "results": [found[key] for key in sorted(found)]}, out)
    print(out)
    return 0


if __name__ == "__main__":
    run(main)
