"""What the tests share: one processor core, a fixed seed, and tiny environments that one can reason about."""

from __future__ import annotations

import dataclasses
import importlib
import os
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from snn_rl import SpikingDQN
from snn_rl.core.network import QNetwork
from snn_rl.store.agents import Agent
from snn_rl.store.card import Returns, Score
from snn_rl.tasks import environments
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.recipes import Recipe
from snn_rl.training.stages import train_ann

posix = pytest.mark.skipif(os.name != "posix", reason="pipes, links and signals between processes")
th.set_num_threads(1)

with warnings.catch_warnings():  # SWIG's types warn while they are made: as an error that ends the process (LunarLander)
    warnings.simplefilter("ignore")
    importlib.import_module("Box2D")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    th.manual_seed(0)
    environments._say.cache_clear()  # what was said in another test is said again
    np.random.seed(0)  # noqa: NPY002 (Stable-Baselines3 draws from the global generator)


@pytest.fixture
def recipe() -> Recipe:
    """CartPole's, shortened to a second of everything."""
    full = load_recipe("CartPole-v1")
    return dataclasses.replace(
        full,
        train=dataclasses.replace(
            full.train, total_timesteps=300, eval_freq=150, eval_episodes=2, learning_starts=50, net_arch=(16,)
        ),
        convert=dataclasses.replace(full.convert, observations=80),
        prune=dataclasses.replace(
            full.prune,
            start=5,
            gradient_steps=(6,),
            batch_size=16,
            n_envs=8,
            learning_starts=80,
            evaluations=2,
            eval_episodes=2,
            stop_at_share=0.0,
        ),
        td=dataclasses.replace(full.td, timesteps=1_100, batch_size=8, evaluations=2),
        evaluate=dataclasses.replace(full.evaluate, episodes=3),
    )


@pytest.fixture
def ann(recipe: Recipe, tmp_path: Path) -> Agent:
    """An ANN that the shortened recipe trained."""
    return train_ann(recipe, tmp_path / "ann", frames=1, seed=0, device=th.device("cpu"))


def mlp_spec(*sizes: int, bias: bool = True) -> list[dict[str, Any]]:
    """Linear layers of these sizes with ReLU between."""
    spec: list[dict[str, Any]] = []
    for wide, narrow in pairwise(sizes):
        spec += [{"type": "Linear", "in_features": wide, "out_features": narrow, "bias": bias}, {"type": "ReLU"}]
    return spec[:-1]


def conv_spec(channels: int = 1, actions: int = 3) -> list[dict[str, Any]]:
    """For 8x8 images: two convolutions and two dense layers."""
    return [
        {"type": "Conv2d", "in_channels": channels, "out_channels": 4, "kernel_size": [3, 3], "stride": [2, 2],
         "padding": [1, 1], "dilation": [1, 1], "groups": 1, "bias": True},
        {"type": "ReLU"},
        {"type": "Conv2d", "in_channels": 4, "out_channels": 5, "kernel_size": [3, 3], "stride": [1, 1],
         "padding": [0, 0], "dilation": [1, 1], "groups": 1, "bias": True},
        {"type": "ReLU"},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 20, "out_features": 6, "bias": True},
        {"type": "ReLU"},
        {"type": "Linear", "in_features": 6, "out_features": actions, "bias": True},
    ]  # fmt: skip


def lively(network: QNetwork, v_th: float = 0.2, decay: float = 0.8) -> QNetwork:
    """The same network with thresholds low enough that every layer of random weights spikes now and then."""
    for lif in network.lifs:
        lif.set(v_th=v_th, decay=decay)
    return network


def score(mean: float = 1.0, **fields: Any) -> Score:
    """Of an evaluation that nobody made."""
    returns = Returns(mean, std=0.0, iqm=mean, ci95=(mean, mean), min=mean, max=mean)
    usual = {"agent": "X/T1", "env": "X", "T": 1, "frames": 1, "carry": True, "epsilon": 0.0, "sticky": 0.0, "versions": {}}
    return Score(**{**usual, "returns": returns, **fields})


class Recall(gym.Env[np.ndarray, int]):
    """A cue is shown, then ``delay`` blank steps, then the action must name the cue: solvable only by remembering."""

    def __init__(self, delay: int = 0) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.delay, self.clock, self.cue = delay, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.clock, self.cue = 0, int(self.np_random.integers(2))
        return np.eye(3, dtype=np.float32)[self.cue], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.clock += 1
        over = self.clock == self.delay + 2
        return np.eye(3, dtype=np.float32)[2], float(over and action == self.cue), over, False, {}


class Count(gym.Env[np.ndarray, int]):
    """Observation ``(identity, steps so far)``; ends after ``length`` steps, as a termination or cut off by a time limit."""

    def __init__(self, length: int = 5, cut: bool = False, identity: float = 0.0) -> None:
        self.observation_space = spaces.Box(-1.0, 1000.0, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.length, self.cut, self.identity, self.clock = length, cut, identity, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.clock = 0
        return np.array([self.identity, 0], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.clock += 1
        over = self.clock == self.length
        return np.array([self.identity, self.clock], np.float32), 1.0, over and not self.cut, over and self.cut, {}


class Pixels(gym.Env[np.ndarray, int]):
    """Random images, channels last, of a size that NatureCNN accepts."""

    def __init__(self, size: int = 36, channels: int = 1, actions: int = 3) -> None:
        self.observation_space = spaces.Box(0, 255, (size, size, channels), np.uint8)
        self.action_space = spaces.Discrete(actions)
        self.clock = 0

    def _see(self) -> np.ndarray:
        return self.np_random.integers(0, 256, self.observation_space.shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.clock = 0
        return self._see(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.clock += 1
        return self._see(), 1.0, self.clock == 7, False, {}


PIXELS = "SnnRlPixels-v0"


@pytest.fixture
def pixels() -> Iterator[None]:
    """Registers :class:`Pixels` as an environment called ``PIXELS``."""
    gym.register(PIXELS, lambda **_: Pixels())
    yield
    gym.registry.pop(PIXELS)


def counts(*lengths: int, cut: bool = False) -> VecEnv:
    """One environment per length; its observation tells which it is and how far its episode got."""
    return DummyVecEnv([lambda n=n, e=e: Monitor(Count(n, cut, identity=float(e))) for e, n in enumerate(lengths)])


def dqn(env: VecEnv | gym.Env[Any, Any] | None = None, **kwargs: Any) -> SpikingDQN:
    settings = {
        "T": 2, "learning_starts": 40, "buffer_size": 2000, "batch_size": 4, "sequence_length": 3, "burn_in": 2,
        "target_update_interval": 20, "train_freq": 1, "seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [16]},
    }  # fmt: skip
    return SpikingDQN("MlpPolicy", counts(5, 7, 9) if env is None else env, **{**settings, **kwargs})


def same(a: Any, b: Any) -> bool:
    return all(th.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))
