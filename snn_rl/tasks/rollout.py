"""Playing: a generator of decisions for evaluation and an endless stream of steps for training; others consume them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, cast

import gymnasium as gym
import numpy as np
import torch as th
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork, State
from snn_rl.core.observed import check_observed
from snn_rl.tasks import rewards
from snn_rl.tasks.environments import begin, make_env
from snn_rl.tasks.partial import FULL
from snn_rl.tasks.recipes import ATARI_STARTS, Recipe


class Start(NamedTuple):
    """Where an episode begins: its seed and, on Atari, the number of no-op steps."""

    seed: int
    start: int | None


@dataclass
class Decision:
    """One decision of each running environment (rows).

    ``episode[r]`` is the index of row r's episode in the starts, ``layers[l]`` the output of layer l at the T timesteps,
    ``(T, rows, *neurons)``, ``state`` the membranes after the decision, ``infos[r]`` what the environment said beside row r's
    observation.
    """

    episode: list[int]
    observation: NDArray[Any]
    q: Tensor
    action: NDArray[np.int64]
    reward: NDArray[np.float64]
    done: NDArray[np.bool_]
    layers: list[Tensor]
    state: State = ()
    infos: Sequence[dict[str, Any]] = ()


def starts(recipe: Recipe, episodes: int, seed: int) -> list[Start]:
    """The episodes of an evaluation, the same for every agent: seeds from ``seed`` on; on Atari every no-op start in turn."""
    if episodes < 1:
        raise UserError(f"--episodes must be at least 1, got {episodes}")
    atari = recipe.atari
    return [Start(seed + n, 1 + n % ATARI_STARTS if atari else None) for n in range(episodes)]


def make_envs(recipe: Recipe, episodes: int, *, frames: int, sticky: float | None = None) -> list[gym.Env[NDArray[Any], int]]:
    """Environments to play that many episodes in, several at a time: small networks like larger batches. ``sticky`` is that of
    :func:`~snn_rl.tasks.environments.make_env`."""
    return [make_env(recipe, frames=frames, sticky=sticky) for _ in range(min(episodes, 30 if recipe.atari else 100))]


def play(
    network: QNetwork,
    envs: Sequence[gym.Env[NDArray[Any], int]],
    starts: Sequence[Start],
    epsilon: float = 0.0,
) -> Iterator[Decision]:
    """Plays every start once, several environments at a time; membranes are carried per environment.

    The random actions of an episode come from its own generator, seeded by its start: they do not depend on how many
    environments play at a time.

    Args:
        network: the agent; spiking or not.
        envs: as many as shall play at a time.
        starts: the episodes.
        epsilon: probability of a random action.

    Raises:
        UserError: if an observation does not fit the network or is not finite, or a Q-value is not.
    """
    if not 0 <= epsilon <= 1:
        raise UserError(f"--epsilon must lie in [0, 1], got {epsilon}")
    waiting = list(enumerate(starts))[::-1]
    games = [_Game(env, *waiting.pop()) for env in envs[: len(starts)]]
    shape = games[0].observation.shape
    check_fits(network, shape, games[0].env.action_space)
    state = network.initial_state(len(games), shape)
    episode_start = np.ones(len(games), dtype=np.bool_)
    while games:
        episode, infos = [game.episode for game in games], [game.info for game in games]
        observation = np.stack([game.observation for game in games])
        q, state, layers = _decide(network, observation, state, episode_start)
        action, reward = q.argmax(1).numpy(), np.zeros(len(games))
        done = np.zeros(len(games), dtype=np.bool_)
        for r, game in enumerate(games):
            if epsilon and game.rng.random() < epsilon:
                action[r] = game.rng.integers(q.shape[1])
            reward[r], done[r] = game.step(int(action[r]))
        yield Decision(episode, observation, q, action, reward, done, layers, state, infos)
        going = []
        for r, game in enumerate(games):
            if done[r] and not waiting:
                continue
            if done[r]:
                games[r] = _Game(game.env, *waiting.pop())
            going.append(r)
        episode_start = done[going]
        if len(going) < len(games):
            state = tuple(v[going] for v in state)
            games = [games[r] for r in going]


class _Game:
    """An environment and the episode that is played in it: its index, its random actions, what it shows now."""

    def __init__(self, env: gym.Env[NDArray[Any], int], episode: int, start: Start) -> None:
        self.env, self.episode, self.rng = env, episode, random_actions(start)
        self.observation, self.info = begin(env, *start)

    def step(self, action: int) -> tuple[float, bool]:
        """The reward, and whether the episode is over."""
        self.observation, reward, terminated, truncated, self.info = self.env.step(action)
        return rewards.checked(float(reward), self.env), terminated or truncated


def _decide(
    network: QNetwork, batch: NDArray[Any], state: State, episode_start: NDArray[np.bool_]
) -> tuple[Tensor, State, list[Tensor]]:
    """Q-values ``(rows, actions)``, the membranes after the decision, and each layer's output, see :class:`Decision`.

    Raises:
        UserError: if an observation or a Q-value is not finite.
    """
    device, layers = next(network.parameters()).device, list[Tensor]()
    observed = th.as_tensor(batch, device=device)
    check_observed(observed)
    with th.no_grad():
        q, state = network.unroll(observed[None], state, th.as_tensor(episode_start, device=device)[None], layers)
    q = q[0].cpu()
    if not bool(th.isfinite(q).all()):
        raise UserError("the agent's Q-values are not finite; its weights are damaged, so load or train it anew")
    return q, state, [layer[0] for layer in layers]


def random_actions(start: Start) -> np.random.Generator:
    """Generator of an episode's random actions: another stream than those from which the environment of the same seed draws
    its state and what it hides."""
    return np.random.default_rng([start.seed, 2])


def action_count(space: gym.Space[Any]) -> int:
    """Number of actions of a discrete space (``make_env`` lets no other through)."""
    return int(cast(gym.spaces.Discrete, space).n)


def check_fits(network: QNetwork, observation_shape: Sequence[int], action_space: gym.Space[Any]) -> None:
    """Raises UserError unless the network takes such observations and has one output per action."""
    try:
        network.shapes(observation_shape)
    except ValueError as error:
        raise UserError(f"{error}; is this the right --env, with the right --frames?") from error
    outputs = [layer for layer in network.spec if layer["type"] in ("Linear", "Conv2d")][-1].get("out_features")
    if outputs != action_count(action_space):
        raise UserError(f"the agent has {outputs} actions but the environment has {action_space}; is this the right --env?")


class Step(NamedTuple):
    """One step of every environment of an endless stream; arrays have one row per environment.

    ``full`` is what a teacher sees where it sees more than the agent (``info["full_observation"]``), else the observation.
    """

    observation: NDArray[Any]
    full: NDArray[Any]
    episode_start: NDArray[np.bool_]
    action: NDArray[np.int64]
    next_observation: NDArray[Any]
    reward: NDArray[np.float32]
    done: NDArray[np.bool_]
    infos: list[dict[str, Any]]


class Stream:
    """Plays for ever in a vectorised environment, membranes carried; the network may change between steps.

    Each environment draws its own random actions, and its membranes see every observation, random action or not. Nothing is
    played before the first step is asked for.

    Args:
        network: that acts.
        venv: where it plays; reset at the first step, unless :meth:`load_state_dict` said where play stands.
        epsilon: probability of a random action.
        rng: of the random actions.
        as_teacher: the network is a teacher, which acts on ``full``.

    Raises:
        UserError: at the first step, if the network does not fit the environment; at any, if an observation is not finite.
    """

    def __init__(
        self, network: QNetwork, venv: VecEnv, epsilon: float, rng: np.random.Generator, *, as_teacher: bool = False
    ) -> None:
        self.network, self.venv, self.epsilon, self.rng, self.as_teacher = network, venv, epsilon, rng, as_teacher
        self._membranes: State | None = None  # None: play has not begun
        self._observation: NDArray[Any] = np.empty(0)
        self._full = self._observation
        self._episode_start = np.ones(venv.num_envs, dtype=np.bool_)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Step:
        membranes = self._begin() if self._membranes is None else self._membranes
        observation, full, episode_start = self._observation, self._full, self._episode_start
        device = next(self.network.parameters()).device
        with th.no_grad():
            of_network = th.as_tensor(full if self.as_teacher else observation, device=device)
            q, self._membranes = self.network(of_network, membranes, th.as_tensor(episode_start, device=device))
        action = q.argmax(1).cpu().numpy()
        random = self.rng.random(self.venv.num_envs) < self.epsilon
        action[random] = self.rng.integers(q.shape[1], size=int(random.sum()))
        following, reward, done, infos = self.venv.step(action)
        rewards.check(reward, self.venv)
        self._observation, self._episode_start = cast(NDArray[Any], following), done.astype(np.bool_)
        latest = [self.venv.reset_infos[e] if done[e] else infos[e] for e in range(self.venv.num_envs)]
        self._full = _full(latest, self._observation)
        last = self._observation.copy()
        for e in np.flatnonzero(done):
            last[e] = infos[e]["terminal_observation"]
        return Step(observation, full, episode_start, action, last, reward, done, infos)

    def begin_episodes(self) -> None:
        """Makes the next step begin new episodes."""
        self._membranes = None
        self._episode_start[:] = True

    def _begin(self) -> State:
        """Resets the environments; returns membranes at rest."""
        self._observation = cast(NDArray[Any], self.venv.reset())
        self._full = _full(self.venv.reset_infos, self._observation)
        shape = (self._full if self.as_teacher else self._observation).shape[1:]
        check_fits(self.network, shape, self.venv.action_space)
        return self.network.initial_state(self.venv.num_envs, shape)

    def state_dict(self) -> dict[str, Any]:
        """Where play stands, as tensors and plain values; what the environments themselves know is not part of it."""
        return {
            "membranes": None if self._membranes is None else list(self._membranes),
            "observation": th.from_numpy(self._observation),
            "full": th.from_numpy(self._full),
            "episode_start": th.from_numpy(self._episode_start),
            "rng": dict(self.rng.bit_generator.state),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where a :meth:`state_dict` stood, in environments that stand there too."""
        device = next(self.network.parameters()).device
        membranes = state["membranes"]
        self._membranes = None if membranes is None else tuple(v.to(device) for v in membranes)
        self._observation, self._full = state["observation"].numpy(), state["full"].numpy()
        self._episode_start = state["episode_start"].numpy()
        self.rng.bit_generator.state = state["rng"]


def _full(infos: Sequence[dict[str, Any]], observation: NDArray[Any]) -> NDArray[Any]:
    """What a teacher sees: the environments' full observations, where their infos hold such, else the observations."""
    return np.stack([info[FULL] for info in infos]) if FULL in infos[0] else observation
