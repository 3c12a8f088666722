"""Conversion: the weights of an ANN in a spiking network of the same shape, thresholds from its real play."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch as th
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import Spec, UnconvertibleError, rectified
from snn_rl.sb3.conversion import spiking_twin
from snn_rl.sb3.hints import NO_HINTS, Hints
from snn_rl.sb3.zips import load_hinted
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made, Quality
from snn_rl.store.provenance import command, versions
from snn_rl.tasks.catalogue import base_id
from snn_rl.tasks.environments import make_env, make_vec_env
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.recipes import Recipe, listed
from snn_rl.tasks.rollout import Stream
from snn_rl.tasks.view import View

PLAY_ENVS = 8
PLAY_EPSILON = 0.05
CHUNK = 16  # environment steps that are unrolled at a time: bounds the memory that spikes take


@dataclass
class Play:
    """Consecutive observations of real play: ``(steps, envs, *observation)`` and where episodes begin ``(steps, envs)``.

    ``of_teacher`` is what the ANN saw: the observations, or more than them where something is hidden from the spiking agent.
    """

    observations: Tensor
    of_teacher: Tensor
    episode_starts: Tensor


def view_of(ann: Agent, recipe: Recipe, frames: int | None = None) -> View:
    """What an agent of the recipe's environment sees whose teacher is ``ann``: ``frames``, as many as the ANN if None."""
    return View.of(recipe, frames or ann.frames, ann.env, ann.frames)


def record_play(
    ann: Agent, recipe: Recipe, steps: int, seed: int, frames: int | None = None, progress: Progress | None = None
) -> Play:
    """``steps`` environment steps of the ANN in each of 8 environments, 5 % of its actions random; ``frames`` per
    observation, as many as the ANN sees if None."""
    view = view_of(ann, recipe, frames)
    venv = make_vec_env(recipe, PLAY_ENVS, seed=seed, frames=view.frames, teacher_frames=view.teacher_frames)
    rng = np.random.default_rng(seed)
    play = []
    for step in islice(Stream(ann.network, venv, PLAY_EPSILON, rng, as_teacher=view.teacher_sees_more), steps):
        play.append(step)
        if progress is not None:
            progress.advance(progress.done + PLAY_ENVS, {})
    venv.close()
    episode_starts = th.as_tensor(np.stack([step.episode_start for step in play]))
    observations = th.as_tensor(np.stack([step.observation for step in play]))
    of_teacher = th.as_tensor(np.stack([step.full for step in play])) if view.teacher_sees_more else observations
    return Play(observations, of_teacher, episode_starts)


def narrow(ann: QNetwork, frames: int, fewer: int, observed: Sequence[int] | None = None) -> QNetwork:
    """The ANN for an agent that sees less: with a first layer that takes part of what it took.

    The weights of the frames that are no longer seen are added to those of the oldest one that is: for a scene at rest
    the layer's current stays what it was. The weights of hidden components are left out.

    Args:
        ann: T = 0.
        frames: stacked in its observation.
        fewer: that the agent sees, at least 1.
        observed: components of a vector frame that the agent sees; None for all.

    Raises:
        UnconvertibleError: if the network does not begin with a Conv2d or a Linear layer (a Flatten may stand before it).
    """
    at = next(n for n, layer in enumerate(ann.spec) if layer["type"] != "Flatten")  # frames stay in order through it
    first = ann.spec[at]
    if first["type"] not in ("Conv2d", "Linear") or first.get("groups", 1) != 1:
        raise UnconvertibleError(f"cannot leave out inputs of a network that begins with {first['type']}; leave --frames out")
    weights = ann.state_dict()
    key = next(iter(weights))
    stacked = weights[key].unflatten(1, (frames, -1))  # (out, frames, channels or components of a frame, ...)
    oldest = stacked[:, : frames - fewer + 1].sum(1, keepdim=True)
    kept = th.cat([oldest, stacked[:, frames - fewer + 1 :]], 1)
    if observed is not None:
        kept = kept[:, :, list(observed)]
    weights[key] = kept.flatten(1, 2)
    width = "in_channels" if first["type"] == "Conv2d" else "in_features"
    spec = [*ann.spec[:at], {**first, width: weights[key].shape[1]}, *ann.spec[at + 1 :]]
    network = QNetwork(spec, 0, ann.input_scale, ann.remembers)
    network.load_state_dict(weights)
    return network


def narrowed(ann: Agent, recipe: Recipe, frames: int) -> Agent:
    """An ANN as one that sees ``frames`` frames in the recipe's environment: with less than before, see :func:`narrow`.

    Raises:
        UserError: if it would see more frames than before, or components are hidden in several frames.
    """
    if frames > ann.frames:
        raise UserError(
            f"'{ann.label}' sees {ann.frames} frame(s); an agent converted from it cannot see {frames}: leave --frames out"
        )
    view = view_of(ann, recipe, frames)
    if view.frame_by_frame and ann.frames > 1:
        raise UserError(f"'{ann.label}' sees {ann.frames} frames; to teach in {recipe.id} it may see one")
    ann.network.cpu()
    if not view.teacher_sees_more:
        return ann
    env = make_env(recipe, frames=frames)
    network = narrow(ann.network, ann.frames, frames, env.get_wrapper_attr("observed") if view.frame_by_frame else None)
    made = Made(how=f"weights of {ann.label} for the inputs that are left", logits=ann.made.logits)
    return Agent(recipe.id, "narrowed", network, env.observation_space.shape or (), frames, made)


def compare(twin: QNetwork, ann: QNetwork, play: Play) -> Quality:
    """How a spiking network differs from its ANN on recorded play, membranes carried as in deployment."""
    same, squared, rates = 0, 0.0, np.zeros(len(twin.lifs))
    state = ann_state = None
    with th.no_grad():
        chunks = (tensor.split(CHUNK) for tensor in (play.observations, play.of_teacher, play.episode_starts))
        for observations, of_teacher, episode_starts in zip(*chunks, strict=True):
            spikes: list[Tensor] = []
            q, state = twin.unroll(observations, state, episode_starts, spikes)
            q_ann, ann_state = ann.unroll(of_teacher, ann_state, episode_starts)
            same += int((q.argmax(-1) == q_ann.argmax(-1)).sum())
            squared += float((q - q_ann).square().mean(-1).sum())
            rates += [float(z.mean()) * len(observations) for z in spikes]
    decisions = play.episode_starts.numel()
    spike_rate = dict(zip(twin.layer_names, (rates / len(play.episode_starts)).tolist(), strict=False))
    return Quality(same / decisions, (squared / decisions) ** 0.5, spike_rate)


def convert(
    ann: Agent,
    recipe: Recipe,
    T: int,
    *,
    seed: int = 0,
    carry: bool = True,
    frames: int | None = None,
    show: bool = False,
) -> Agent:
    """Converts an ANN agent to T timesteps per decision.

    Thresholds come from one half of the recorded play, the comparison at each of 1 to T timesteps from the other. In an
    environment that hides something, or with fewer frames than the ANN's, the agent takes what is left: see :func:`narrow`.
    From an ANN with Tanhs or LSTMs comes only a start for training: see :func:`~snn_rl.sb3.conversion.spiking_twin`.

    Raises:
        UserError: if T is below 1 or the agent is spiking already, besides what :func:`narrowed` raises.
    """
    frames = frames or ann.frames
    if T < 1:
        raise UserError(f"--T must be at least 1, got {T}")
    if ann.network.spiking:
        raise UserError(f"'{ann.label}' is spiking already; convert its ANN")
    network, numbers = narrowed(ann, recipe, frames).network, recipe.convert
    if network.remembers:
        numbers = numbers.for_memory()
    steps = max(numbers.observations // PLAY_ENVS, 2)
    quality = {}
    with Progress((2 + T) * steps * PLAY_ENVS, "observations", f"convert {ann.label}", show) as progress:
        calibration = record_play(ann, recipe, steps, seed, frames, progress).observations.flatten(0, 1)
        # the environments of the other half have seeds of their own
        held_out = record_play(ann, recipe, steps, seed + PLAY_ENVS, frames, progress)
        for t in range(T, 0, -1):
            progress.note = f"comparing T={t} with the ANN"
            twin = spiking_twin(network, t, calibration, numbers, carry)
            quality[f"T={t}"] = compare(twin, ann.network, held_out)
            progress.advance(progress.done + len(calibration), {})
            if t == T:
                converted = twin
    if show:
        _print(quality, ann)
    how = f"converted from {ann.label}: percentile {numbers.percentile:g}, decay {numbers.decay_at(T)}"
    if not rectified(network.spec):
        kinds = _unspikable(network.spec)
        how = f"weights of {ann.label}, whose neurons are {kinds}: a start for training, decay {numbers.decay_at(T)}"
    made = Made(
        how=f"{how}, {len(calibration)} observations of its play",
        logits=ann.made.logits,
        origin=agents.source(ann),
        seed=seed,
        recipe=listed(numbers),
        command=command(),
        conversion=quality,
        versions=versions(),
    )
    return Agent(recipe.id, f"converted-T{T}", converted, tuple(calibration.shape[1:]), frames, made)


def _unspikable(spec: Spec) -> str:
    """What an ANN's neurons are that no spikes stand for, in words."""
    return " and ".join(f"{kind}s" for kind in ("Tanh", "LSTM") if any(layer["type"] == kind for layer in spec))


def _print(quality: dict[str, Quality], ann: Agent) -> None:
    caption = "nothing is trained yet: pruning makes up for what conversion loses, most of all at low T"
    if not rectified(ann.network.spec):
        kinds = _unspikable(ann.network.spec)
        start = "this is only a start for training (train, prune)"
        caption = f"the ANN's neurons are {kinds}, which no spikes stand for: {start}"
    table = Table(title=f"{ann.label} converted, on held-out play", caption=caption)
    layers = list(next(iter(quality.values())).spike_rate)
    for heading in (
        "T",
        "same action",
        "logit error" if ann.made.logits else "Q error",
        *(f"spikes {layer}" for layer in layers),
    ):
        table.add_column(heading, justify="right")
    for t, row in quality.items():
        rates = [f"{row.spike_rate[layer]:.3f}" for layer in layers]
        table.add_row(t.removeprefix("T="), f"{row.agreement:.1%}", f"{row.q_error:.3g}", *rates)
    Console().print(table)


def _load_silent(where: str | Path | BaseAlgorithm, recipe: Recipe, hints: Hints) -> Agent:
    """The ANN of a zip or of a live model. Where the recipe's environment hides something, one that remembers is of that
    environment if it can be, unless it fits the one with nothing hidden in fewer frames; all others see what is hidden.

    Raises:
        UserError: as :func:`~snn_rl.sb3.zips.load_agent`.
    """
    found: list[Agent] = []
    for env in (recipe.id, recipe.ann_env) if recipe.teacher else ():
        with suppress(UserError):  # what is wrong is said below
            found.append(load_hinted(where, env, hints))
    if found and found[0].network.remembers:
        return min(found, key=lambda agent: agent.frames)  # of equals the first
    return load_hinted(where, recipe.ann_env, hints)


def load_ann(where: str | Path | BaseAlgorithm | Agent, recipe: Recipe | None, hints: Hints = NO_HINTS) -> Agent:
    """The ANN of an ``--ann`` option; a zip or a live model holds one for the recipe's environment with nothing hidden, or
    one that remembers.

    Raises:
        UserError: if it is spiking or plays something else, besides what loading raises.
    """
    if isinstance(where, Agent):
        agent, who = where, where.label
    else:
        silent = isinstance(where, BaseAlgorithm) or Path(where).suffix == ".zip"  # about its environment
        agent = _load_silent(where, recipe, hints) if recipe and silent else load_hinted(where, None, hints)
        who = "the model" if isinstance(where, BaseAlgorithm) else f"'{where}'"
    if recipe is not None and agent.env not in (recipe.id, recipe.ann_env) and base_id(agent.env) == base_id(recipe.ann_env):
        agent = agent.elsewhere(recipe.ann_env)
    if recipe is not None and agent.env not in (recipe.id, recipe.ann_env):
        raise UserError(f"{who} plays {agent.env}, not {recipe.ann_env}; give an ANN of that environment")
    if agent.network.spiking:
        raise UserError(f"{who} is a spiking agent; --ann wants the ANN (T = 0)")
    return agent
