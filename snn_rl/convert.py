"""Conversion: the weights of an ANN in a spiking network of the same shape, thresholds from its real play."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from rich.console import Console
from rich.table import Table
from torch import Tensor

from snn_rl import agents
from snn_rl.agents import Agent
from snn_rl.console import run, seed
from snn_rl.environments import Recipe, load_recipe, make_vec_env
from snn_rl.errors import UserError
from snn_rl.files import check_new
from snn_rl.network import QNetwork, balance_thresholds, detach
from snn_rl.rollout import stream
from snn_rl.sb3_import import load_zip

PLAY_ENVS = 8
PLAY_EPSILON = 0.05
CHUNK = 16  # environment steps that are unrolled at a time: bounds the memory that spikes take


@dataclass
class Play:
    """Consecutive observations of real play: ``(steps, envs, *observation)`` and where episodes start ``(steps, envs)``."""

    observations: Tensor
    starts: Tensor


def record_play(ann: Agent, recipe: Recipe, steps: int, seed: int) -> Play:
    """``steps`` environment steps of the ANN in each of 8 environments, 5 % of its actions random."""
    venv = make_vec_env(recipe, PLAY_ENVS, seed=seed, frames=ann.frames)
    play = list(islice(stream(ann.network, venv, PLAY_EPSILON, np.random.default_rng(seed)), steps))
    venv.close()
    observations, begins = (np.stack(column) for column in zip(*((s.observation, s.starts) for s in play), strict=True))
    return Play(th.as_tensor(observations), th.as_tensor(begins))


def spiking_twin(ann: QNetwork, T: int, calibration: Tensor, recipe: Recipe, carry: bool) -> QNetwork:
    """The ANN's weights in a spiking network with balanced thresholds.

    Args:
        ann: the network to convert (T = 0).
        T: timesteps per decision, at least 1.
        calibration: observations ``(n, *observation)`` of real play.
        recipe: percentile and decay.
        carry: whether the twin keeps its membranes between environment steps.
    """
    twin = QNetwork(ann.spec, T, ann.input_scale, carry)
    twin.load_state_dict({**twin.state_dict(), **ann.state_dict()})
    balance_thresholds(twin, calibration, recipe.convert.percentile, recipe.convert.decay)
    return twin


def compare(twin: QNetwork, ann: QNetwork, play: Play) -> dict[str, Any]:
    """How a spiking network differs from its ANN on recorded play, membranes carried as in deployment.

    Returns:
        ``agreement``: share of decisions with the same action; ``q_error``: root mean square difference of the Q-values, in
        units of reward; ``spike_rate`` per layer: spikes per neuron and timestep.
    """
    same, squared, rates = 0, 0.0, np.zeros(len(twin.lifs))
    state = None
    with th.no_grad():
        for observations, begins in zip(play.observations.split(CHUNK), play.starts.split(CHUNK), strict=True):
            spikes: list[Tensor] = []
            q, state = twin.unroll(observations, state, begins, spikes)
            state = detach(state)
            q_ann, _ = ann.unroll(observations)
            same += int((q.argmax(-1) == q_ann.argmax(-1)).sum())
            squared += float((q - q_ann).square().mean(-1).sum())
            rates += [float(z.mean()) * len(observations) for z in spikes]
    decisions = play.starts.numel()
    return {
        "agreement": same / decisions,
        "q_error": (squared / decisions) ** 0.5,
        "spike_rate": dict(zip(twin.layer_names, (rates / len(play.starts)).tolist(), strict=False)),
    }


def convert(ann: Agent, recipe: Recipe, T: int, *, seed: int = 0, carry: bool = True, show: bool = False) -> Agent:
    """Converts an ANN agent to T timesteps per decision.

    Thresholds come from one half of the recorded play, the comparison at each of 1 to T timesteps from the other.

    Raises:
        UserError: if T is below 1 or the agent is spiking already.
    """
    if T < 1:
        raise UserError(f"--T must be at least 1, got {T}")
    if ann.network.T:
        raise UserError(f"'{ann.label}' is spiking already; convert its ANN")
    network = ann.network.cpu()
    steps = max(recipe.convert.observations // PLAY_ENVS, 2)
    calibration = record_play(ann, recipe, steps, seed).observations.flatten(0, 1)
    held_out = record_play(ann, recipe, steps, seed + 1)
    quality = {}
    for t in range(T, 0, -1):
        twin = spiking_twin(network, t, calibration, recipe, carry)
        quality[f"T={t}"] = compare(twin, network, held_out)
        if t == T:
            converted = twin
    if show:
        _print(quality, ann.label)
    made = {
        "how": f"converted from {ann.label}: percentile {recipe.convert.percentile:g}, decay {recipe.convert.decay:g}, "
        f"{len(calibration)} observations of its play",
        "from": agents.source(ann),
        "seed": seed,
        "command": agents.command(),
        "conversion": quality,
        "versions": agents.versions(),
    }
    return Agent(ann.env, f"converted-T{T}", converted, ann.observation_shape, ann.frames, made)


def _print(quality: dict[str, Any], label: str) -> None:
    table = Table(title=f"{label} converted, on held-out play")
    layers = list(next(iter(quality.values()))["spike_rate"])
    for heading in ("T", "same action", "Q error", *(f"spikes {layer}" for layer in layers)):
        table.add_column(heading, justify="right")
    for t, row in quality.items():
        rates = [f"{row['spike_rate'][layer]:.3f}" for layer in layers]
        table.add_row(t.removeprefix("T="), f"{row['agreement']:.1%}", f"{row['q_error']:.3g}", *rates)
    Console().print(table)


def load_ann(path: str, env: str | None, extractor: str | None = None) -> Agent:
    """The ANN of an ``--ann`` option.

    Raises:
        UserError: if it is spiking, besides what loading raises.
    """
    if extractor is not None:
        if env is None:
            raise UserError("--extractor is for an SB3 zip and needs --env")
        return load_zip(Path(path), env, extractor)
    agent = agents.load(path, env) if path.endswith(".zip") else agents.load(path)
    if env is not None and agent.env != env:
        raise UserError(f"'{path}' plays {agent.env}, not {env}")
    if agent.network.T:
        raise UserError(f"'{path}' is a spiking agent; --ann wants the ANN (T = 0)")
    return agent


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.convert``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.convert",
        description="Converts an ANN-DQN into a spiking agent.",
        epilog="example: python -m snn_rl.convert --ann my_dqn.zip --env CartPole-v1 --T 5 --out runs/cartpole-T5",
    )
    parser.add_argument("--ann", required=True, help="agent folder, shipped name, or SB3 DQN zip")
    parser.add_argument("--env", help="Gymnasium id; needed for a zip")
    parser.add_argument("--T", type=int, default=5, help="timesteps per decision (default 5)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new agent")
    parser.add_argument("--extractor", metavar="MODULE:CLASS", help="custom feature extractor of the zip, from your code")
    parser.add_argument("--no-carry", action="store_true", help="the membranes start from rest at every decision")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    check_new(args.out)
    ann = load_ann(args.ann, args.env, args.extractor)
    recipe = load_recipe(ann.env)
    agent = convert(ann, recipe, args.T, seed=args.seed, carry=not args.no_carry, show=True)
    print(f"wrote {agents.save(agent, args.out, half=recipe.half)}")
    return 0


if __name__ == "__main__":
    run(main)
