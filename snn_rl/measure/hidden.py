"""What environments hide from an agent, and how a probe may read it.

To probe the agents of another environment, add a line to ``HIDDEN``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from snn_rl.tasks.partial import FULL, Observation

Values = NDArray[np.float64]
Env = gym.Env[Observation, int]
Info = dict[str, Any]  # Gymnasium's

KEY = "hidden_values"  # under which Reveal puts them into the info

PONG_BALL = {"horizontal": 49, "vertical": 54}  # bytes of the console's memory (Atari Annotated RAM Interface, 2019)
PONG_NO_BALL = 0  # the ball's vertical position while none is in play


@dataclass(frozen=True)
class Hidden:
    """What an environment hides.

    Args:
        names: of the quantities.
        read: gives their values ``(quantities,)`` at an environment step from the environment and the step's info; NaN where
            there is none.
        change: the quantities are how much these values changed since the step before; at an episode's first step NaN.
    """

    names: tuple[str, ...]
    read: Callable[[Env, Info], Values]
    change: bool = False

    def quantities(self, values: Values) -> Values:
        """The quantities ``(steps, quantities)`` of an episode, from the values that were read at its steps."""
        if not self.change:
            return values
        return np.diff(values, axis=0, prepend=np.full((1, values.shape[1]), np.nan))


def _cartpole_velocities(env: Env, info: Info) -> Values:
    """Of the newest frame: position, velocity, angle, angular velocity."""
    return np.asarray(info[FULL], dtype=np.float64)[-4:][[1, 3]]


def _pong_ball(env: Env, info: Info) -> Values:
    """Where the ball is, in pixels."""
    memory = cast(Any, env.unwrapped).ale.getRAM()
    ball = np.array([memory[byte] for byte in PONG_BALL.values()], dtype=np.float64)
    return ball if ball[1] != PONG_NO_BALL else np.full_like(ball, np.nan)


_CARTPOLE = Hidden(("cart velocity", "pole angular velocity"), _cartpole_velocities)
_PONG = Hidden(("ball velocity, horizontal", "ball velocity, vertical"), _pong_ball, change=True)

HIDDEN: dict[str, Hidden] = {
    "CartPoleNoVel-v1": _CARTPOLE,
    "CartPoleFlicker-v1": _CARTPOLE,
    "PongNoFrameskip-v4": _PONG,
    "PongFlickerNoFrameskip-v4": _PONG,
}
"""By environment id. Pong's velocity is in pixels per environment step, even a single frame hides it."""


class Reveal(gym.Wrapper[Observation, int, Observation, int]):
    """Puts what is hidden at each step into ``info["hidden_values"]``; the agent does not see the info."""

    def __init__(self, env: Env, hidden: Hidden) -> None:
        super().__init__(env)
        self.hidden = hidden

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, KEY: self.hidden.read(self.env, info)}

    def step(self, action: int) -> tuple[Observation, Any, bool, bool, Info]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, {**info, KEY: self.hidden.read(self.env, info)}
