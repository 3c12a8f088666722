"""Temporal pruning: from T to T - 1 timesteps per decision, each stage starting from the network of the one before."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch as th

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.provenance import command, versions
from snn_rl.tasks.environments import make_vec_env
from snn_rl.tasks.recipes import OBJECTIVES, Recipe
from snn_rl.tasks.rollout import make_envs, play, starts
from snn_rl.training import td
from snn_rl.training.conversion import view_of
from snn_rl.training.distill import Distiller
from snn_rl.training.keeper import Keeper

SELECTION_SEED = 1_000_000  # selection never plays the episodes that are reported
SELECTION_EPSILON = 0.01  # nor, on Atari, the greedy games from the 30 starts
TEACHERLESS = "the objective 'distill' needs the ANN: give --ann, or use --objective td"


def with_penalty(recipe: Recipe, penalty: float | None, objective: str) -> Recipe:
    """The recipe with the weight of a ``--spike-penalty`` option.

    Raises:
        UserError: for an objective that has no such term.
    """
    if penalty is None:
        return recipe
    if objective != "distill":
        raise UserError("--spike-penalty is a term of the objective distill; leave it out with --objective td")
    return dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, spike_penalty=penalty))


def selector(recipe: Recipe, episodes: int, frames: int, seed: int) -> Callable[[QNetwork], float]:
    """Mean return over ``episodes`` that are used only to choose among networks of one training."""
    envs = make_envs(recipe, episodes, frames=frames)
    epsilon = SELECTION_EPSILON if recipe.atari else 0.0

    def evaluate(network: QNetwork) -> float:
        total = 0.0
        for decision in play(network, envs, starts(recipe, episodes, SELECTION_SEED * (1 + seed)), epsilon):
            total += float(decision.reward.sum())
        return total / episodes

    return evaluate


def prune_stage(
    agent: Agent,
    ann: Agent | None,
    recipe: Recipe,
    T: int,
    folder: Path,
    *,
    objective: str,
    seed: int,
    device: th.device,
    show: bool = True,
) -> Agent:
    """One stage: fine-tunes an agent's network at T timesteps per decision and saves it in ``folder``. With T = 0 it is an ANN
    that learns from one that sees more.

    Training is by surrogate-gradient back-propagation through time. An interrupted stage goes on where its checkpoint
    (beside ``folder``) stands; a finished one is loaded.

    Args:
        agent: the agent to start from, spiking unless T is 0: weights, thresholds and decays.
        ann: the teacher, for ``distill``.
        recipe: of the environment.
        T: timesteps per decision of the new agent.
        folder: of the new agent.
        objective: ``distill`` or ``td``.
        seed: of the training.
        device: where to train.
        show: progress bar.

    Raises:
        UserError: for an unknown objective, ``distill`` without an ANN, or an agent that is an ANN.
        KeyboardInterrupt: after a checkpoint was written.
    """
    if objective not in OBJECTIVES:
        raise UserError(f"unknown objective '{objective}'; choose from {', '.join(OBJECTIVES)}")
    if T and not agent.network.T:
        raise UserError(f"'{agent.label}' is an ANN; convert it first")
    if objective == "distill" and ann is None:
        raise UserError(TEACHERLESS)
    teacher = ann if objective == "distill" else None
    parents = {"from": agents.source(agent), "teacher": None if teacher is None else agents.source(teacher)}
    weight = recipe.prune.spike_penalty if teacher is not None else 0.0
    table = recipe.stage(objective)
    identity = {"env": recipe.id, "T": T, "seed": seed, "objective": objective, "spike_penalty": weight, **parents}
    if (folder / agents.CARD).is_file():
        return _finished(folder, identity, table)
    network = QNetwork(agent.network.spec, T, agent.network.input_scale, agent.network.carry)
    network.load_state_dict(agent.network.state_dict())
    network.to(device)
    th.manual_seed(seed)
    learner: Distiller | td.TDLearner
    if teacher is not None:
        total, unit = recipe.prune.steps(T), "update"
        number = seed * 1000 + T
        view = view_of(teacher, recipe, agent.frames)
        venv = make_vec_env(recipe, recipe.prune.n_envs, seed=number, frames=view.frames, teacher_frames=view.teacher_frames)
        learner = Distiller(
            network, teacher.network.to(device), venv, recipe.prune, agent.frames, number, view.teacher_sees_more
        )
    else:
        total, unit = recipe.td.timesteps, "step"
        model = td.build(
            recipe,
            T,
            seed=seed,
            frames=agent.frames,
            carry=network.carry,
            device=device,
            initial=network,
            trained=not {"conversion", "random"} & agent.made.keys(),
        )
        learner = td.TDLearner(model)
        network = learner.network
    count = (recipe.td if teacher is None else recipe.prune).evaluations
    with Keeper(
        folder.with_name(f".{folder.name}.checkpoint"),
        network,
        total,
        unit=unit,
        description=f"{recipe.id} {f'T={T}' if T else 'ANN'}",
        points=sorted({total - (total // 2) * k // count for k in range(count)}),
        evaluate=selector(recipe, recipe.prune.eval_episodes, agent.frames, seed),
        state=learner.state,
        restore=learner.restore,
        identity=table | identity | {"total": total},
        show=show,
    ) as keeper:
        keeper.resume()
        learner.learn(keeper, folder.parent / "tensorboard" / folder.name)
    keeper.finish()
    made = {
        "how": f"{'temporal pruning' if T < agent.network.T else 'trained'} from {agent.name}, objective {objective}",
        **parents,
        "objective": objective,
        "spike_penalty": weight,
        "seed": seed,
        "recipe": table,
        "work": f"{keeper.done:,} {'gradient' if unit == 'update' else 'environment'} steps",
        "seconds": round(keeper.seconds, 1),
        "selection": keeper.evaluations,
        "curve": keeper.curve,
        "command": command(),
        "versions": versions(),
    }
    new = Agent(agent.env, folder.name, network.cpu(), agent.observation_shape, agent.frames, made)
    agents.save(new, folder, half=recipe.half)
    keeper.remove()
    return new


def _finished(folder: Path, identity: dict[str, Any], table: dict[str, Any]) -> Agent:
    """A stage that is there already, if it is the one that would be made."""
    agent = agents.load(folder)
    made = {"spike_penalty": 0.0, **agent.made}  # not in cards that are older than the penalty
    for key in ("seed", "objective", "spike_penalty", "from", "teacher"):
        if made.get(key) != identity[key]:
            raise UserError(f"'{folder}' holds another agent (its {key} differs); choose another --out or remove it")
    agents.check_recipe(agent, table)
    return agent


def prune(
    agent: Agent,
    ann: Agent | None,
    recipe: Recipe,
    T: int,
    out: Path,
    *,
    objective: str,
    seed: int,
    device: th.device,
) -> Agent:
    """All stages from the agent's own T down to ``T``, each kept in ``out/T<n>``; returns the last."""
    for t in range(agent.network.T, T - 1, -1):
        begin = time.monotonic()
        agent = prune_stage(agent, ann, recipe, t, out / f"T{t}", objective=objective, seed=seed, device=device)
        best = max((value for _, value in agent.made["selection"]), default=float("nan"))
        print(f"T={t}: {out / f'T{t}'}, return {best:.2f} in selection, {time.monotonic() - begin:.0f} s")
    return agent
