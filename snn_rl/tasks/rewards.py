"""Rewards, checked where they enter: one that is no number would stay in the replay, and spoil whatever learns from it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from snn_rl.core.errors import UserError


def checked(reward: float, env: gym.Env[Any, Any]) -> float:
    """The reward of a step.

    Raises:
        UserError: naming the environment, if it is NaN or infinite.
    """
    if not np.isfinite(reward):
        raise _told(reward, env.spec)
    return float(reward)


def check(rewards: NDArray[Any], venv: VecEnv) -> None:
    """Checks the rewards ``(n_envs,)`` of a step.

    Raises:
        UserError: naming the environment, if one is NaN or infinite.
    """
    finite = np.isfinite(rewards)
    if not finite.all():
        e = int(np.flatnonzero(~finite)[0])
        raise _told(float(rewards[e]), venv.get_attr("spec", e)[0])


def _told(reward: float, spec: Any) -> UserError:
    return UserError(
        f"the environment '{getattr(spec, 'id', 'without an id')}' gave the reward {reward}: it was not learnt from; mend the "
        "environment, then go on from what was saved before (train --resume)"
    )
