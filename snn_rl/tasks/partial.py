"""Tasks that hide a part of the state: what a memoryless agent cannot solve and a membrane can.

``gymnasium.make("snn_rl.partial:CartPoleNoVel-v1")`` is CartPole without velocities (as in sb3-contrib's test of recurrent
agents), ``CartPoleFlicker-v1`` one whose observation is zeroed with probability 0.5 (Hausknecht & Stone 2015).
``PongFlickerNoFrameskip-v4`` is the emulator of Pong under a name of its own: what hides its frames stands behind the
preprocessing, in ``environments.make_env``.

Whatever is hidden stays in ``info["full_observation"]``: a teacher may see it, the agent never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

FULL = "full_observation"

Observation = NDArray[Any]


class PartialObservation(gym.Wrapper[Observation, int, Observation, int]):
    """Shows some components of a vector, or all or none of them.

    Args:
        env: an environment with a vector observation.
        observed: indices of the components that are shown; None for all.
        flicker: probability with which an observation is all zeros.
    """

    def __init__(self, env: gym.Env[Observation, int], observed: Sequence[int] | None = None, flicker: float = 0.0) -> None:
        super().__init__(env)
        box = cast(spaces.Box, env.observation_space)
        self.observed = tuple(range(len(box.low))) if observed is None else tuple(observed)
        self.flicker = flicker
        low, high = box.low[list(self.observed)], box.high[list(self.observed)]
        self.observation_space = spaces.Box(np.minimum(low, 0), np.maximum(high, 0), dtype=cast(Any, box.dtype))
        self._rng = np.random.default_rng()

    def _see(self, full: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        shown = full[list(self.observed)] * bool(self._rng.random() >= self.flicker)
        return shown, {**info, FULL: full}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng([seed, 1])  # not the stream that the hidden environment draws its state from
        return self._see(*self.env.reset(seed=seed, options=options))

    def step(self, action: int) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        shown, info = self._see(observation, info)
        return shown, reward, terminated, truncated, info


class PartialFrames(gym.Wrapper[Observation, int, Observation, int]):
    """Shows the newest ``frames`` of a stack of ``stacked`` (stacked along the first axis), and each frame perhaps not at all.

    Args:
        env: an environment whose observations are such stacks.
        frames: that are shown.
        stacked: that there are.
        flicker: probability with which a frame is all zeros, as long as it is in the stack.
    """

    def __init__(self, env: gym.Env[Observation, int], frames: int, stacked: int, flicker: float = 0.0) -> None:
        super().__init__(env)
        box = cast(spaces.Box, env.observation_space)
        self.frames, self.flicker = frames, flicker
        self.hidden = box.shape[0] // stacked * (stacked - frames)
        low, high = box.low[self.hidden :], box.high[self.hidden :]
        self.observation_space = spaces.Box(np.minimum(low, 0), np.maximum(high, 0), dtype=cast(Any, box.dtype))
        self._rng = np.random.default_rng()
        self._shown = [True] * frames

    def _see(self, full: Observation, info: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        shown = full[self.hidden :]
        if self.flicker:
            self._shown = [*self._shown[1:], bool(self._rng.random() >= self.flicker)]
            stack = shown.reshape(self.frames, -1) * np.array(self._shown, dtype=shown.dtype)[:, None]
            shown = stack.reshape(shown.shape)
        return shown, {**info, FULL: full}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng([seed, 1])  # as in PartialObservation
        return self._see(*self.env.reset(seed=seed, options=options))

    def step(self, action: int) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        full, reward, terminated, truncated, info = self.env.step(action)
        shown, info = self._see(full, info)
        return shown, reward, terminated, truncated, info


def cartpole(observed: Sequence[int] | None = None, flicker: float = 0.0, **kwargs: Any) -> gym.Env[Observation, int]:
    """Gymnasium's CartPole that shows a part of its state (position, velocity, angle, angular velocity)."""
    env: gym.Env[Observation, int] = gym.make("CartPole-v1", **kwargs).unwrapped  # the new id brings its own time limit
    return PartialObservation(env, observed, flicker)


def register() -> None:
    """Makes Gymnasium know the tasks of this module. Atari's ids have to be known already."""
    for env_id, hides in (("CartPoleNoVel-v1", {"observed": (0, 2)}), ("CartPoleFlicker-v1", {"flicker": 0.5})):
        gym.register(env_id, "snn_rl.tasks.partial:cartpole", kwargs=hides, max_episode_steps=500)
    pong = gym.spec("PongNoFrameskip-v4")
    gym.register(
        "PongFlickerNoFrameskip-v4", pong.entry_point, max_episode_steps=pong.max_episode_steps, kwargs=dict(pong.kwargs)
    )
