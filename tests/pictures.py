"""Environments that show an image beside numbers, and agents and models that see them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from conftest import lively
from gymnasium import spaces
from sb3_contrib import QRDQN
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import Spec
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.recipes import Recipe

ID = "Signs-v0"
PIXELS, NUMBERS = 36 * 40, 5


class Pictures(gym.Env[dict[str, Any], int]):
    """Shows an image between other parts by name: where it is brighter, how fast, and one of three words."""

    observation_space = spaces.Dict(
        {
            "ahead": spaces.Discrete(3),
            "image": spaces.Box(0, 255, (36, 40, 1), np.uint8),
            "speed": spaces.Box(-1, 1, (2,), np.float32),
        }
    )
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.clock = render_mode, 0
        self.observation_space = copy.deepcopy(self.observation_space)  # VecNormalize changes it in place

    def shown(self) -> dict[str, Any]:
        image = self.np_random.integers(0, 99, (36, 40, 1)).astype(np.uint8)
        self.left = bool(self.np_random.random() < 0.5)
        image[:, :20] += np.uint8(100 * self.left)
        self.fast = float(self.np_random.choice([-1, 1]))
        return {"ahead": np.int64(self.clock % 3), "image": image, "speed": np.array([self.fast, 0.5], np.float32)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.clock = 0
        return self.shown(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.clock += 1
        reward = float(action == (self.left == (self.fast > 0)))
        return self.shown(), reward, False, self.clock == 10, {}


class Boxes(Pictures):
    """The same as boxes alone, which is what VecFrameStack takes."""

    observation_space = spaces.Dict({**Pictures.observation_space.spaces, "ahead": spaces.Box(0, 2, (1,))})

    def shown(self) -> dict[str, Any]:
        return {**super().shown(), "ahead": np.array([self.clock % 3], np.float32)}


if ID not in gym.registry:
    gym.register(ID, Pictures)
    gym.register("SignsInBoxes-v0", Boxes)


class Shows(Pictures):
    """Shows something else."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        self.observation_space = space  # type: ignore[assignment]  # gymnasium's type is that of one space, this is any

    def shown(self) -> dict[str, Any]:
        self.left, self.fast = True, 1.0
        shown: dict[str, Any] = self.observation_space.sample()
        return shown


def stock(kind: type[BaseAlgorithm] = DQN, env: Any = None, **kwargs: Any) -> BaseAlgorithm:
    """A model of Stable-Baselines3 whose weights reach far enough that numbers and pixels both matter."""
    few: dict[str, Any] = {"n_steps": 8, "batch_size": 8} if kind is PPO else {"buffer_size": 100}
    make: Callable[..., BaseAlgorithm] = kind
    model = make("MultiInputPolicy", env or Pictures(), seed=0, device="cpu", **few, **kwargs)
    with th.no_grad():
        for weight in model.policy.parameters():
            weight.mul_(2)
    return model


def short() -> Recipe:
    """The environment's recipe, with fewer observations for a conversion."""
    recipe = load_recipe(ID)
    return dataclasses.replace(recipe, convert=dataclasses.replace(recipe.convert, observations=80))


def values(model: BaseAlgorithm, shown: dict[str, Any]) -> Tensor:
    """What the model's own network gives, ``(1, actions)``."""
    policy: Any = model.policy
    seen, _ = policy.obs_to_tensor(shown)
    with th.no_grad():
        if isinstance(model, PPO):
            logits: Tensor = policy.get_distribution(seen).distribution.logits
            return logits
        q: Tensor = policy.quantile_net(seen).mean(1) if isinstance(model, QRDQN) else policy.q_net(seen)
        return q


def tiny(T: int, carry: bool = True) -> QNetwork:
    """A pixel in parts of 255 and two numbers: the neuron's current is ``pixel / 255 + first``, and ``q`` is
    ``3 * spikes + 10 * second``."""
    spec: Spec = [
        {"type": "Image", "size": [1, 1, 1]},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 1, "out_features": 1, "bias": False, "beside": 2},
        {"type": "LIF"},
        {"type": "Linear", "in_features": 1, "out_features": 1, "bias": False, "beside": 2},
    ]
    network = QNetwork(spec, T, 1 / 255, carry)
    with th.no_grad():
        for weight, value in zip(network.synapses.parameters(), (1.0, 3.0), strict=True):
            weight.fill_(value)
        network.beside["0"].weight.copy_(th.tensor([[1.0, 0.0]]))  # type: ignore[operator]
        network.beside["1"].weight.copy_(th.tensor([[0.0, 10.0]]))  # type: ignore[operator]
    return network


def image_network(T: int = 1) -> QNetwork:
    spec: Spec = [
        {"type": "Image", "size": [2, 6, 5]},
        {"type": "Conv2d", "in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1,
         "groups": 1, "bias": True},
        {"type": "ReLU"},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 36, "out_features": 8, "bias": True, "beside": 4},
        {"type": "ReLU"},
        {"type": "Linear", "in_features": 8, "out_features": 2, "bias": True},
    ]  # fmt: skip
    return QNetwork(spec, T, 1 / 255)


def looks(n: int) -> Tensor:
    return th.cat([th.randint(0, 256, (n, 60)).float(), th.randn(n, 4)], 1)


def agent_of_images() -> Agent:
    return Agent("Unknown-v0", "T2", lively(image_network(T=2)), (64,))
