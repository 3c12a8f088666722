"""Environments that can be brought back to where they stood: every episode follows from its seed and its actions, so these are
what a checkpoint holds, and are played again. Nothing is asked of an environment but that its seed decides."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any, NoReturn, SupportsFloat, TypedDict, cast

import gymnasium as gym
import numpy as np
import torch as th
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from snn_rl.core.errors import UserError

PACKAGE = Path(__file__).parents[1]
LOADED = 30  # seeds of Atari's emulator
TRIED = 20  # steps by which it is found out whether an environment repeats itself


class Stand(TypedDict):
    """Where an environment stands."""

    seeds: dict[str, Any]
    """Of the generator that gives the seeds of episodes."""
    seed: int
    """Of the present episode."""
    actions: Tensor
    """So far, int32."""
    seen: int
    """Checksum of all observations and rewards of the episode."""


Mark = tuple[dict[str, Any], int, list[int], int, int]


class Resumable(gym.Wrapper[NDArray[Any], int, NDArray[Any], int]):
    """Gives every episode a seed of its own, and remembers it with the actions since.

    The first episode's seed is the one that ``reset`` is given; from it follow those of the next.

    Args:
        env: the whole environment.
    """

    def __init__(self, env: gym.Env[NDArray[Any], int]) -> None:
        super().__init__(env)
        self._emulator: Any = getattr(env.unwrapped, "ale", None)
        self._loaded: dict[int, Any] = {}  # states of the emulator
        self._seeds: np.random.Generator | None = None
        self._seed, self._actions, self._seen = 0, list[int](), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begins an episode."""
        if seed is not None or self._seeds is None:
            seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
            self._seeds = np.random.default_rng([seed, 3])
        else:
            seed = int(self._seeds.integers(2**31))
        return self._begin(seed, options)

    def _begin(self, seed: int, options: dict[str, Any] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begins the episode of a seed."""
        try:
            if self._emulator is not None:
                self._load(seed)
            observation, info = self.env.reset(seed=None if self._emulator is not None else seed, options=options)
        except UserError:
            raise
        except Exception as error:
            blame(self, error)
        self._seed, self._actions, self._seen = seed, [], _sum(observation, 0.0, 0)
        return observation, info

    def _load(self, seed: int) -> None:
        """Seeds Atari's emulator, which takes a hundred times as long as resetting it: one of 30 seeds is taken, and the state
        after it kept. What the layers around it draw is of the episode's own seed."""
        start = seed % LOADED
        if start not in self._loaded:
            self.env.reset(seed=start)
            self._loaded[start] = self._emulator.cloneState(include_rng=True)
        self._emulator.restoreState(self._loaded[start])
        for n, generator in enumerate(_generators(self.env)):
            generator.bit_generator.state = np.random.default_rng([seed, n]).bit_generator.state

    def step(self, action: int) -> tuple[NDArray[Any], SupportsFloat, bool, bool, dict[str, Any]]:
        """As of the environment. What it raises is blamed on it."""
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except UserError:
            raise
        except Exception as error:
            blame(self, error)
        self._actions.append(int(action))
        self._seen = _sum(observation, float(reward), self._seen)
        return observation, reward, terminated, truncated, info

    def mark(self) -> Mark:
        """Where it stands, at no cost; :func:`stand` makes of it what can be stored."""
        assert self._seeds is not None
        return dict(self._seeds.bit_generator.state), self._seed, self._actions, len(self._actions), self._seen

    def restore(self, to: Stand) -> bool:
        """Plays the episode again up to there; whether it went as before."""
        self._seeds = self._seeds or np.random.default_rng()
        over = False
        try:
            self._begin(to["seed"])
            for action in to["actions"].tolist():
                if over:
                    break
                _, _, terminated, truncated, _ = self.step(action)
                over = terminated or truncated
        except UserError:  # it does not repeat itself, and does not take these actions now
            over = True
        self._seeds.bit_generator.state = to["seeds"]
        return not over and self._seen == to["seen"]


def _sum(observation: NDArray[Any], reward: float, before: int) -> int:
    return zlib.crc32(np.ascontiguousarray(observation).tobytes(), zlib.crc32(np.float64(reward).tobytes(), before))


def _generators(env: gym.Env[Any, Any]) -> list[np.random.Generator]:
    """The random generators that the layers of an environment hold."""
    found = [env.unwrapped.np_random]
    while True:
        found += [value for value in vars(env).values() if isinstance(value, np.random.Generator)]
        if not isinstance(env, gym.Wrapper):
            return list({id(one): one for one in found}.values())
        env = env.env


def stand(mark: Mark) -> Stand:
    """What :meth:`Resumable.mark` gave, as it can be stored."""
    seeds, seed, actions, n, seen = mark
    return Stand(seeds=seeds, seed=seed, actions=th.tensor(actions[:n], dtype=th.int32), seen=seen)


def marks(venv: VecEnv) -> list[Mark]:
    """Where the environments of ``make_vec_env(..., resumable=True)`` stand."""
    return cast(list[Mark], venv.env_method("mark"))


def restore(venv: VecEnv, stands: Sequence[Stand]) -> bool:
    """Brings environments back to where they stood; whether they all came there. Where not, it is said."""
    venv._reset_seeds()  # they belong to a first reset, which was long ago
    if all([venv.env_method("restore", to, indices=e)[0] for e, to in enumerate(stands)]):
        return True
    spec = venv.get_attr("spec", 0)[0]
    print(lost("the environment" if spec is None else f"'{spec.id}'"))
    return False


def repeats(one: Resumable, other: Resumable) -> bool:
    """Whether two environments that were built alike go the same way by the same seed and actions."""
    rng = np.random.default_rng(0)
    one.reset(seed=0)
    for _ in range(TRIED):
        action = int(rng.integers(cast(gym.spaces.Discrete, one.action_space).n))
        _, _, terminated, truncated, _ = one.step(action)
        if terminated or truncated:
            one.reset()
    return other.restore(stand(one.mark()))


def env_id(env: gym.Env[Any, Any]) -> str:
    """The id of an environment, or the name of its class."""
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def lost(name: str) -> str:
    """What is said of an environment that does not come back to where it stood."""
    return (
        f"{name} does not repeat itself by its seed and actions: after an interruption its episodes begin anew, so a resumed "
        "run differs from one that was not interrupted"
    )


@contextmanager
def blamed(name: str) -> Iterator[None]:
    """Blames on an environment what is raised while it is played, but for what this package or torch raises."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if extract_tb(error.__traceback__)[-1].filename.startswith((str(PACKAGE), os.path.dirname(th.__file__))):
            raise
        _blame(name, error)


def blame(env: gym.Env[Any, Any], error: Exception) -> NoReturn:
    """Raises UserError that names the environment for what it raised."""
    _blame(env_id(env), error)


def _blame(name: str, error: Exception) -> NoReturn:
    place = extract_tb(error.__traceback__)[-1]
    where = f" ({place.filename}, line {place.lineno})"
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    raise UserError(
        f"the environment '{name}' raised {said}{where}; mend the environment, then go on from what was saved before "
        "(train --resume)"
    ) from error
