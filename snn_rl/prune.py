"""Temporal pruning: from T to T - 1 timesteps per decision, each stage starting from the network of the one before."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from torch.utils.tensorboard import SummaryWriter

from snn_rl import agents, td
from snn_rl.agents import Agent
from snn_rl.console import run
from snn_rl.convert import load_ann
from snn_rl.distill import Distiller
from snn_rl.environments import Recipe, load_recipe, make_env, make_vec_env
from snn_rl.errors import UserError
from snn_rl.keeper import Keeper
from snn_rl.network import QNetwork
from snn_rl.rollout import play, starts

OBJECTIVES = ("distill", "td")
SELECTION_SEED = 1_000_000  # selection never plays the episodes that are reported
SELECTION_EPSILON = 0.01  # nor, on Atari, the greedy games from the 30 starts
LOG_INTERVAL = 50  # gradient steps


def selector(recipe: Recipe, episodes: int, frames: int, seed: int) -> Callable[[QNetwork], float]:
    """Mean return over ``episodes`` that are used only to choose among networks of one training."""
    simultaneous = 10 if recipe.atari else 100  # small networks like large batches
    envs = [make_env(recipe, frames=frames) for _ in range(min(episodes, simultaneous))]
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
    """One stage: fine-tunes an agent's network at T timesteps per decision and saves it in ``folder``.

    Training is by surrogate-gradient back-propagation through time. An interrupted stage goes on where its checkpoint
    (beside ``folder``) stands; a finished one is loaded.

    Args:
        agent: the spiking agent to start from: weights, thresholds and decays.
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
    if not agent.network.T:
        raise UserError(f"'{agent.label}' is an ANN; convert it first")
    if (folder / agents.CARD).is_file():
        return agents.load(folder)
    begin = time.monotonic()
    network = QNetwork(agent.network.spec, T, agent.network.input_scale, agent.network.carry)
    network.load_state_dict(agent.network.state_dict())
    network.to(device)
    th.manual_seed(seed)
    stage = _distill if objective == "distill" else _td
    network, keeper = stage(network, ann, recipe, T, folder, agent.frames, seed, show)
    made = {
        "how": f"temporal pruning from {agent.name}, objective {objective}",
        "from": agents.source(agent),
        "teacher": agents.source(ann) if ann is not None and objective == "distill" else None,
        "objective": objective,
        "seed": seed,
        "work": keeper.done,
        "seconds": round(time.monotonic() - begin, 1),
        "selection": keeper.evaluations,
        "command": agents.command(),
        "versions": agents.versions(),
    }
    new = Agent(agent.env, f"T{T}", network.cpu(), agent.observation_shape, agent.frames, made)
    agents.save(new, folder, half=recipe.half)
    keeper.remove()
    return new


def _distill(
    network: QNetwork,
    ann: Agent | None,
    recipe: Recipe,
    T: int,
    folder: Path,
    frames: int,
    seed: int,
    show: bool,
) -> tuple[QNetwork, Keeper]:
    if ann is None:
        raise UserError("the objective 'distill' needs the ANN: give --ann, or use --objective td")
    settings = recipe.prune
    total = settings.gradient_steps[min(T, len(settings.gradient_steps)) - 1]
    keeper = _keeper(network, recipe, total, "update", T, folder, frames, seed, "distill", show)
    # Environments and teacher differ from stage to stage in their seed only.
    venv = make_vec_env(recipe, settings.n_envs, seed=seed * 1000 + T, frames=frames)
    teacher = ann.network.to(next(network.parameters()).device)
    learner: list[Distiller] = []
    keeper.state = lambda: learner[0].state()
    saved: list[dict[str, Any]] = []
    keeper.restore = saved.append
    keeper.resume()  # first the weights: the student's play fills the replay buffer
    learner.append(Distiller(network, teacher, venv, settings, frames, seed * 1000 + T + keeper.done))
    if saved:
        learner[0].restore(saved[0])
    with keeper, SummaryWriter(str(folder.parent / "tensorboard" / f"T{T}")) as log:
        losses: list[float] = []
        going = keeper.done < total
        while going:
            losses.append(learner[0].update(keeper.done / total))
            if len(losses) == LOG_INTERVAL:
                log.add_scalar("train/loss", float(np.mean(losses)), keeper.done)
                _log_spikes(log, learner[0], keeper.done)
                losses.clear()
            going = keeper.update(keeper.done + 1, **({"loss": f"{np.mean(losses):.3f}"} if losses else {}))
    keeper.finish()
    venv.close()
    return network, keeper


def _log_spikes(log: SummaryWriter, learner: Distiller, done: int) -> None:
    spikes: list[th.Tensor] = []
    batch = learner.buffer.sample_sequences(8, 4)
    with th.no_grad():
        learner.student.unroll(batch.observations, None, batch.starts, spikes)
    for name, z in zip(learner.student.layer_names, spikes, strict=False):
        log.add_scalar(f"snn/spike_rate/{name}", float(z.mean()), done)


def _td(
    network: QNetwork,
    ann: Agent | None,
    recipe: Recipe,
    T: int,
    folder: Path,
    frames: int,
    seed: int,
    show: bool,
) -> tuple[QNetwork, Keeper]:
    device = next(network.parameters()).device
    model = td.build(recipe, T, seed=seed, frames=frames, carry=network.carry, device=device, initial=network)
    online = model.policy.q_net.network
    keeper = _keeper(online, recipe, recipe.prune.td_timesteps, "step", T, folder, frames, seed, "td", show)
    keeper.state, keeper.restore = lambda: td.state(model), lambda saved: td.restore(model, saved)
    keeper.resume()
    with keeper:
        td.learn(model, keeper, folder.parent / "tensorboard" / f"T{T}")
    keeper.finish()
    return online, keeper


def _keeper(
    network: QNetwork,
    recipe: Recipe,
    total: int,
    unit: str,
    T: int,
    folder: Path,
    frames: int,
    seed: int,
    objective: str,
    show: bool,
) -> Keeper:
    count = recipe.prune.evaluations
    points = sorted({total - (total // 2) * k // count for k in range(count)})
    return Keeper(
        folder.with_name(f".{folder.name}.checkpoint"),
        network,
        total,
        unit=unit,
        description=f"{recipe.id} T={T}",
        points=points,
        evaluate=selector(recipe, recipe.prune.eval_episodes, frames, seed),
        state=dict,
        restore=lambda saved: None,
        identity={"env": recipe.id, "T": T, "seed": seed, "objective": objective, "total": total},
        show=show,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.prune``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.prune",
        description="Prunes a spiking agent to fewer timesteps per decision, one at a time.",
        epilog="example: python -m snn_rl.prune --agent runs/pong/converted-T5 --T 1 --ann runs/pong/ann --out runs/pruned",
    )
    parser.add_argument("--agent", required=True, help="spiking agent: folder or shipped name")
    parser.add_argument("--T", type=int, required=True, help="timesteps per decision to end with")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stages T<n>")
    parser.add_argument("--ann", help="teacher: agent folder, shipped name, or SB3 DQN zip")
    parser.add_argument("--objective", choices=OBJECTIVES, help="default: distill where there is --ann, else td")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    agent = agents.load(args.agent)
    if not 1 <= args.T <= agent.network.T:
        raise UserError(f"--T must lie between 1 and the agent's {agent.network.T or 'T; it is an ANN, convert it first'}")
    if not args.resume:
        agents.check_new(args.out)
    recipe = load_recipe(agent.env)
    ann = load_ann(args.ann, agent.env) if args.ann else None
    objective = args.objective or ("distill" if ann else "td")
    prune(agent, ann, recipe, args.T, args.out, objective=objective, seed=args.seed, device=agents.device(args.device))
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
