"""Agents as folders: ``card.json`` (what it is and how it was made), ``weights.safetensors``, ``episodes.csv``.

Nothing is evaluated or unpickled. A folder is written beside its place and renamed into it, so that it is there whole or
not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save as serialize

from snn_rl.core.deciding import Observation, decide
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork, State
from snn_rl.core.outline import outline
from snn_rl.store import integrity, weights
from snn_rl.store.card import Card, Made, Score, Source, damaged, read
from snn_rl.store.episodes import Episode, to_text
from snn_rl.store.files import CARD as CARD
from snn_rl.store.files import EPISODES as EPISODES
from snn_rl.store.files import whole, whole_folder
from snn_rl.store.integer import Integer
from snn_rl.store.schema import Table
from snn_rl.store.shipped import find as find
from snn_rl.store.shipped import shipped as shipped
from snn_rl.store.weights import WEIGHTS as WEIGHTS


@dataclass
class Agent:
    """A network with what is known about it.

    ``made`` says how; ``scores`` maps the name of a protocol to its evaluation, whose episodes are in ``episodes``.
    ``module`` is the one that registers the environment, where it is one of the user's own; ``more`` what its card says
    beyond what this version knows. ``integer``: the form of its numbers, where the network computes with integers.
    """

    env: str
    name: str
    network: QNetwork
    observation_shape: tuple[int, ...]
    frames: int = 1
    made: Made = field(default_factory=Made, repr=False)
    scores: dict[str, Score] = field(default_factory=dict, repr=False)
    episodes: list[Episode] = field(default_factory=list, repr=False)
    path: Path | None = None
    module: str = ""
    more: Table = field(default_factory=dict, repr=False)
    integer: Integer | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """One line, for a notebook."""
        network = self.network
        how = f"T={network.T}, membranes {'carried' if network.carry else 'zeroed'}" if network.spiking else "ANN"
        layers = ", ".join(network.layer_names)
        seen = f"{self.frames} frame{'s' * (self.frames > 1)} as {'x'.join(map(str, network.image or self.observation_shape))}"
        seen += f" and {network.aside} numbers" if network.aside else ""
        return f"Agent({self.label}: {how}, sees {seen}, layers {layers})"

    @property
    def label(self) -> str:
        """``ENV/NAME`` for a message."""
        return f"{self.env}/{self.name}"

    def elsewhere(self, env: str) -> Agent:
        """The agent in another environment than its own: without scores, and without a folder to store them in."""
        return Agent(**{**vars(self), "env": env, "module": "", "scores": {}, "episodes": [], "path": None})

    def card(self) -> Card:
        """What its ``card.json`` says."""
        network = self.network
        return Card(
            env=self.env,
            module=self.module or None,
            name=self.name,
            T=network.T,
            frames=self.frames,
            carry=network.carry,
            observation_shape=list(self.observation_shape),
            input_scale=network.input_scale,
            network=network.spec,
            v_th=[lif.v_th.item() for lif in network.lifs],
            decay=[lif.decay.flatten().tolist() if lif.decay.dim() else lif.decay.item() for lif in network.lifs],
            integer=self.integer,
            made=self.made,
            scores=self.scores,
            more=self.more,
        )

    def _texts(self, tensors: bytes) -> dict[str, bytes]:
        """The files beside the weights, the card last: it holds the sums of the others."""
        rows = to_text(self.episodes).encode()
        card = self.card().sealed({WEIGHTS: integrity.digest(tensors), EPISODES: integrity.digest(rows)})
        return {EPISODES: rows, CARD: card.to_text().encode()}

    def seen(self, observation: Any) -> Any:
        """An observation as the network sees it: one in parts (a Dict, a Tuple, numbers) is joined, others stay."""
        shape, own = getattr(observation, "shape", ()), self.observation_shape
        if shape[-len(own) :] == own and (len(own) == 3 or observation.dtype.kind == "f"):
            return observation
        parts = _parts(self.env, self.module, self.frames)
        return observation if parts is None else parts.seen(observation)

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], State]:
        """Greedy actions and the membranes after them: Stable-Baselines3's contract, so ``evaluate_policy`` takes an agent.
        The network may be on any device; the membranes stay there.

        Args:
            observation: one, or one per environment, ``(n_envs, *observation_shape)``: unscaled, images with channels first;
                or in parts, as the environment shows it.
            state: what the previous call returned; None for rest.
            episode_start: ``(n_envs,)``, true where an episode begins.
            deterministic: without effect.

        Raises:
            UserError: if the observations have another shape than the agent's, are not finite, or come with the state or the
                starts of another number of environments.
        """
        shape, observation = self.observation_shape, self.seen(observation)
        q, state, batch = decide(self.network, observation, shape, state, episode_start, self.label)
        action = q.argmax(1).cpu().numpy()
        return (action if batch else action[0]), state

    def play(self, env: str | None = None, *, video: str | Path = "play.mp4", **kwargs: Any) -> Any:
        """One episode as a film that a notebook shows; see :func:`snn_rl.play`, which takes the other arguments."""
        import snn_rl  # the front door: the rooms above this one make the film

        return snn_rl.play(self, env, video=video, **kwargs)


@cache
def _parts(env: str, module: str, frames: int) -> Any:
    """The parts of an environment's observations; None where they are one vector or image, or nobody registers it."""
    import snn_rl  # the front door: the rooms above this one make environments

    try:
        space = snn_rl.make_env(snn_rl.load_recipe(env, frames, module), frames=frames).observation_space
    except Exception:  # whatever an environment raises that cannot be built here: the network says what it takes
        return None
    return getattr(space, "parts", None)


def save(agent: Agent, folder: Path, *, half: bool = False, replace: bool = False) -> Path:
    """Writes an agent's folder.

    Args:
        agent: what to save.
        folder: where; its parents are made.
        half: store the weights in half precision. The agent's own network is rounded too, so that what was scored is
            what was stored.
        replace: replace an existing folder; otherwise that is an error.

    Raises:
        UserError: if the folder exists and ``replace`` is false.
        OSError: if it cannot be written; what was there before is still there.
    """
    if folder.exists() and not replace:
        raise UserError(f"'{folder}' exists already; choose another --out or remove it first")
    network = agent.network
    if half:
        for key, value in network.state_dict().items():
            if not bool(th.isfinite(value.half()).all()):
                raise UserError(f"'{key}' holds a number beyond half precision (65,504); save it with half = false")
        network.load_state_dict({key: value.half().float() for key, value in network.state_dict().items()})
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    tensors = serialize({key: value.half() if half else value for key, value in state.items()})
    files = {WEIGHTS: tensors, **agent._texts(tensors)}
    if folder.exists():
        _replace(folder, files)
    else:
        with whole_folder(folder) as new:
            for name, written in files.items():
                (new / name).write_bytes(written)
    integrity.relist(folder)
    agent.path = folder
    return folder


def save_scores(agent: Agent) -> None:
    """Writes the card and the episodes of an agent that was loaded or saved before; its weights stay untouched."""
    assert agent.path is not None
    _replace(agent.path, agent._texts(weights.read(agent.path, None)))
    integrity.relist(agent.path)


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replaces files of an agent one by one, so that there is an agent at every moment. Where its card holds the sums of
    files, it first gets those of the new ones beside those of the old."""
    try:
        before, _ = read(folder)
    except UserError:  # what is damaged is replaced too
        before = None
    if before is not None and before.files:
        new = {name: integrity.digest(written) for name, written in files.items() if name != CARD}
        both = {name: " ".join(dict.fromkeys([*old.split(), new.get(name, old)])) for name, old in before.files.items()}
        files = {"": before.sealed(both).to_text().encode(), **files}
    for name, written in files.items():
        with whole(folder / (name or CARD)) as path:
            path.write_bytes(written)


def fingerprint(network: QNetwork) -> str:
    """Short hash of all by which a network decides: tells whether two runs started from the same agent."""
    digest = hashlib.sha256(f"{network.T}{network.spec}{network.remembers}{network.input_scale}".encode())
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]


def load(where: str | Path) -> Agent:
    """Loads an agent's folder.

    Args:
        where: the folder, or the name of a shipped agent such as ``PongNoFrameskip-v4/T1``.

    Raises:
        UserError: if it is not there, damaged, or holds weights that are not finite.
    """
    folder = find(where)
    card, played = read(folder)
    if card.integer is not None:
        raise UserError(f"'{folder}' is an agent of integers, which this does not take; give the agent that it was made from")
    try:
        tensors = weights.read(folder, card.files)
        empty = outline(card.network, card.T, card.input_scale, card.carry, card.observation_shape)
        network = weights.fill(empty, tensors)
        check_finite(network.state_dict(), str(folder))
        check_neurons(card, network)
    except NotFiniteError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(folder, error) from error
    shape, module = tuple(card.observation_shape), card.module or ""
    return Agent(card.env, card.name, network, shape, card.frames, card.made, card.scores, played, folder, module, card.more)


def check_neurons(card: Card, network: QNetwork) -> None:
    """Raises ValueError where a card's thresholds and decays are not those of the weights."""
    for name, said in (("v_th", card.v_th), ("decay", card.decay)):
        if len(said) != len(network.lifs):
            raise ValueError(f"{name} has {len(said)} layers in {CARD}, the network has {len(network.lifs)}")
        for n, (lif, value) in enumerate(zip(network.lifs, said, strict=True)):
            own = getattr(lif, name).detach().flatten()
            there = th.tensor(value).flatten()
            if own.shape != there.shape or not th.allclose(own, there, rtol=1e-4, atol=1e-6):
                raise ValueError(f"{name}[{n}] in {CARD} is not that of {WEIGHTS}")


def check_recipe(agent: Agent, recipe: Table) -> None:
    """Raises UserError if an agent that is there already was made by other numbers than a run's recipe has now. Older cards do
    not say by which."""
    for key, value in recipe.items():
        before = (agent.made.recipe or {}).get(key, value)
        if before != value:
            raise UserError(
                f"'{agent.path}' was made with {key} = {before!r}, and the recipe says {value!r} now; change it back, choose "
                "another --out or remove that folder"
            )


class NotFiniteError(UserError):
    """Weights that hold NaN or infinity."""


def check_finite(tensors: Mapping[str, th.Tensor], where: str) -> None:
    """Raises NotFiniteError if a weight is NaN or infinite."""
    for name, value in tensors.items():
        if not bool(th.isfinite(value).all()):
            raise NotFiniteError(f"the weights of '{where}' are not finite (first in '{name}'); train it anew or restore it")


def source(agent: Agent) -> Source:
    """What a card says of an agent that another was made from."""
    return Source(agent.label, agent.made.how, agent.made.random or fingerprint(agent.network))
