"""What is made from the ANN of a run: conversions and every stage of pruning."""

from __future__ import annotations

from pathlib import Path

import torch as th

from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.tasks.recipes import Recipe, listed
from snn_rl.tasks.view import View
from snn_rl.training import td
from snn_rl.training.conversion import convert, narrowed
from snn_rl.training.stages import prune_stage, with_penalty


def make_agents(
    ann: Agent | None,
    recipe: Recipe,
    T: int,
    out: Path,
    *,
    view: View,
    default_frames: int,
    carry: bool,
    objective: str,
    seed: int,
    device: th.device,
    ablate: bool = False,
) -> list[Agent]:
    """Conversion and all stages of pruning down to T, each kept in ``out``. With T = 0 the ANN that sees less, alone.

    The name of an agent tells what differs from the default: the frames that it sees, membranes that are not carried, an
    objective that is not the recipe's (for an ANN: that is not the reward).

    Args:
        ann: the ANN that is converted; None for random weights.
        recipe: of the environment.
        T: timesteps per decision to end with.
        out: folder of the run.
        view: of the new agents.
        default_frames: that agents of this environment see where nobody says otherwise.
        carry: whether they keep their membranes between environment steps.
        objective: ``distill`` or ``td``.
        seed: of conversion and training.
        device: where to train.
        ablate: also convert straight to T, and train straight at T from there.
    """
    frames = view.frames
    kind = view.suffix(default_frames) + ("" if carry or not T else "-zeroed")
    taught = kind + (f"-{objective}" if objective != (recipe.prune.objective if T else "td") else "")

    def begin(T: int) -> Agent:
        if ann is None:
            return td.untrained(recipe, T, seed=seed, frames=frames, carry=carry)
        folder = out / f"converted-T{T}{kind}"
        if (folder / agents.CARD).is_file():
            agent = agents.load(folder)
            agents.check_recipe(agent, listed(recipe.convert))
            return agent
        agent = convert(ann, recipe, T, seed=seed, carry=carry, frames=frames, show=True)
        agent.name = folder.name
        agents.save(agent, folder, half=recipe.half)
        return agent

    def stage(agent: Agent, T: int, name: str) -> Agent:
        agent = prune_stage(agent, ann, recipe, T, out / f"{name}{taught}", objective=objective, seed=seed, device=device)
        print(f"{agent.name} took {agent.made.seconds:.0f} s")
        return agent

    if ann is not None and not T:
        recipe = with_penalty(recipe, 0.0, objective)  # it has no spikes
        return [stage(narrowed(ann, recipe, frames), 0, "ann")]
    stages = recipe.prune.stages(T)
    made = [begin(stages[0])]
    for t in stages:
        made.append(stage(made[-1], t, f"T{t}"))
    if ablate:
        made.append(begin(T))
        made.append(stage(made[-1], T, f"direct-T{T}"))
    return [agent for agent in made if agent.path is not None]  # random weights are not kept
