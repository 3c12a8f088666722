"""Environments whose observations are numbers, as a network sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from snn_rl.core.errors import UserError
from snn_rl.tasks.environments import JOINED, NUMBERS, one_hot


class VecOneHot(VecEnvWrapper):
    """Numbers (``Discrete``, ``MultiDiscrete``) as one-hot vectors, as the network of a stock ``MlpPolicy`` sees them."""

    def __init__(self, venv: VecEnv) -> None:
        self.numbers = venv.observation_space
        super().__init__(venv, spaces.Box(0, 1, (spaces.flatdim(self.numbers),), np.float32))

    def _seen(self, observations: NDArray[Any]) -> NDArray[Any]:
        return np.stack([one_hot(self.numbers, observation) for observation in observations])

    def reset(self) -> NDArray[Any]:
        return self._seen(np.asarray(self.venv.reset()))

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = one_hot(self.numbers, info["terminal_observation"])
        return self._seen(np.asarray(observations)), rewards, dones, infos


def as_vectors(venv: VecEnv) -> VecEnv:
    """The environments with numbers one-hot; others as they are.

    Raises:
        UserError: for observations of several parts, saying how they are joined.
    """
    space = venv.observation_space
    if isinstance(space, spaces.Dict | spaces.Tuple):
        raise UserError(f"a spiking network sees one vector or image, the environment gives {space}: {JOINED}")
    return VecOneHot(venv) if isinstance(space, NUMBERS) else venv
