"""Temporal pruning: from T to T - 1 timesteps per decision, each stage starting from the network of the one before."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch as th

from snn_rl import agents, td
from snn_rl.agents import Agent
from snn_rl.console import ENV_HELP, EXTRACTOR_HELP, device, environment, penalty, run, seed
from snn_rl.convert import load_ann, sees_more
from snn_rl.distill import Distiller
from snn_rl.environments import load_recipe, make_vec_env
from snn_rl.errors import UserError
from snn_rl.files import begin_run
from snn_rl.keeper import Keeper
from snn_rl.network import QNetwork
from snn_rl.provenance import command, versions
from snn_rl.recipes import OBJECTIVES, Recipe
from snn_rl.rollout import make_envs, play, starts

SELECTION_SEED = 1_000_000  # selection never plays the episodes that are reported
SELECTION_EPSILON = 0.01  # nor, on Atari, the greedy games from the 30 starts
TEACHERLESS = "the objective 'distill' needs the ANN: give --ann, or use --objective td"
PENALTY_HELP = "weight of the spikes' cost in the loss of distillation: fewer spikes, less energy (default: the recipe's)"


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
        full = sees_more(teacher, recipe, agent.frames)
        venv = make_vec_env(recipe, recipe.prune.n_envs, seed=number, frames=agent.frames, full_frames=teacher.frames)
        learner = Distiller(network, teacher.network.to(device), venv, recipe.prune, agent.frames, number, full)
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


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.prune``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.prune",
        description="Prunes a spiking agent to fewer timesteps per decision, one at a time.",
        epilog="example: python -m snn_rl.prune --agent runs/pong/converted-T5 --T 1 --ann runs/pong/ann --out runs/pruned",
    )
    parser.add_argument("--agent", required=True, help="spiking agent: folder, shipped name, or SpikingDQN zip")
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    parser.add_argument("--T", type=int, required=True, help="timesteps per decision to end with")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stages T<n>")
    parser.add_argument("--ann", help="teacher: agent folder, shipped name, or SB3 DQN zip")
    parser.add_argument("--extractor", metavar="MODULE:CLASS", help=f"{EXTRACTOR_HELP} (of --ann and --agent)")
    parser.add_argument("--objective", choices=OBJECTIVES, help="default: distill where there is --ann, else td")
    parser.add_argument("--spike-penalty", type=penalty, metavar="W", help=PENALTY_HELP)
    parser.add_argument("--seed", type=seed, default=0, help="default 0")
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or auto (default cpu)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    zips = [path for path in (args.agent, args.ann or "") if path.endswith(".zip")]
    if args.extractor is not None and not zips:
        raise UserError("--extractor is for an SB3 zip; neither --agent nor --ann is one")
    agent = agents.load(args.agent, args.env, args.extractor if args.agent in zips else None)
    if not agent.network.T:
        raise UserError(f"'{args.agent}' is an ANN; convert it first")
    if not 1 <= args.T <= agent.network.T:
        raise UserError(f"--T must lie between 1 and the agent's {agent.network.T}, got {args.T}")
    recipe = load_recipe(agent.env, agent.frames)
    ann = load_ann(args.ann, recipe, args.extractor if args.ann in zips else None) if args.ann else None
    same = ann is None or (ann.observation_shape, ann.frames) == (agent.observation_shape, agent.frames)
    if ann is not None and not same and not sees_more(ann, recipe, agent.frames):
        raise UserError(f"'{args.ann}' sees other observations than '{args.agent}'; give the ANN it was converted from")
    objective = args.objective or ("distill" if ann else "td")
    if objective == "distill" and ann is None:
        raise UserError(TEACHERLESS)
    recipe = with_penalty(recipe, args.spike_penalty, objective)
    settings = {
        "env": agent.env,
        "agent": agents.fingerprint(agent.network),
        "objective": objective,
        "spike_penalty": recipe.prune.spike_penalty,
        "seed": args.seed,
    }
    begin_run(args.out, settings, args.resume)
    prune(agent, ann, recipe, args.T, args.out, objective=objective, seed=args.seed, device=args.device)
    return 0


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


if __name__ == "__main__":
    run(main)
