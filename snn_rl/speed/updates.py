"""Gradient steps: Stable-Baselines3's DQN beside ``SpikingDQN``, with the same network and the same batch."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import DQN

from snn_rl.sb3.dqn import SpikingDQN
from snn_rl.speed.timing import Task

NAMES = {"stock_dqn": None, "ann": 0, "T1": 1, "T5": 5}
BATCH = 32  # transitions
PLAYED = 300  # environment steps in the replay buffer
Frame = NDArray[np.uint8]


class Replayed(gym.Env[NDArray[np.uint8], int]):
    """Shows recorded observations, whatever is done."""

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self.observation_space = gym.spaces.Box(0, 255, frames.shape[1:], np.uint8)
        self.action_space = cast(gym.Space[int], gym.spaces.Discrete(6))
        self._frames, self._at = frames, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        self._at = 0
        return self._frames[0], {}

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        self._at += 1
        last = self._at == len(self._frames) - 1
        return self._frames[self._at], float(self._at % 50 == 0), last, False, {}


def contestants(frames: NDArray[np.uint8], bfloat16: bool = True) -> dict[str, Task | str]:
    """One update each, from a batch of transitions, of NatureCNN. Membranes are zeroed at every decision, so that the batch of
    a spiking network holds no more than that of the ANN.

    Args:
        frames: observations for the replay buffer.
        bfloat16: ``SpikingDQN`` computes as the recipes for images do: in bfloat16 where the processor has it.
    """
    shared: dict[str, Any] = {"buffer_size": PLAYED, "learning_starts": 10 * PLAYED, "device": "cpu", "seed": 0}
    tasks: dict[str, Task | str] = {}
    for name, T in NAMES.items():
        env = Replayed(frames)
        model: DQN = (
            DQN("CnnPolicy", env, **shared)
            if T is None
            else SpikingDQN("CnnPolicy", env, T=T, carry=False, bfloat16=bfloat16, **shared)
        )
        model.learn(PLAYED - 10)
        tasks[name] = partial(model.train, 1, BATCH)
    return tasks
