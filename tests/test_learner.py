"""An agent in Stable-Baselines3 is the same agent, and can learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import PIXELS, lively, mlp_spec

from snn_rl import SpikingDQN, load_agent, to_sb3
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store.agents import Agent, fingerprint
from snn_rl.tasks.environments import load_recipe, make_vec_env

PONG = "PongNoFrameskip-v4"


def env_of(name: str) -> Any:
    env = name.split("/")[0]
    if env == PONG:
        return make_vec_env(load_recipe(env), 1, seed=0, frames=load_agent(name).frames)
    return f"snn_rl.partial:{env}" if "Vel" in env else env


@pytest.mark.parametrize("name", ["CartPole-v1/T2", "CartPole-v1/ann", "CartPoleNoVel-v1/T1", f"{PONG}/T1-frames1"])
def test_it_plays_the_same_and_its_zip_is_the_agent(name: str, tmp_path: Path) -> None:
    agent = load_agent(name)
    model = to_sb3(agent, env_of(name), buffer_size=1_000)
    rng, shape = np.random.default_rng(0), (4, *agent.observation_shape)
    seen = rng.integers(0, 256, shape, np.uint8) if len(shape) == 4 else rng.normal(size=shape).astype(np.float32)
    ours, theirs = agent.predict(seen), model.predict(seen)
    assert np.array_equal(ours[0], theirs[0])
    assert all(th.equal(a, b) for a, b in zip(ours[1], theirs[1], strict=True))
    assert (model.exploration_initial_eps, model.warm_up_eps) == (0.05, 0.05)
    model.save(tmp_path / "model.zip")
    again = load_agent(tmp_path / "model.zip", agent.env)
    assert fingerprint(again.network) == fingerprint(agent.network)
    assert again.network.carry == agent.network.carry


def test_it_goes_on_learning_from_there() -> None:
    agent = load_agent("CartPoleNoVel-v1/T1")
    model = to_sb3("CartPoleNoVel-v1/T1", "snn_rl.partial:CartPoleNoVel-v1", learning_starts=50, seed=0)
    model.learn(120)
    after, before = model.policy.q_net.network.state_dict(), agent.network.state_dict()
    assert not all(th.equal(after[key], before[key]) for key in before)
    assert all(th.allclose(after[key], before[key], atol=0.05) for key in before)


def test_another_environment_or_other_layers_are_an_error() -> None:
    with pytest.raises(UserError, match=r"takes observations of shape \(4,\), the environment gives \(6,\)"):
        to_sb3(load_agent("CartPole-v1/T1"), "Acrobot-v1")
    agent = load_agent(f"{PONG}/T1-frames1")
    with pytest.raises(UserError, match=r"the environment gives \(4,\); is it the agent's environment"):
        to_sb3(agent, "CartPole-v1")
    with pytest.raises(UserError, match="as many stacked frames as the agent sees"):
        to_sb3(agent, make_vec_env(load_recipe(PONG), 1, seed=0, frames=2), buffer_size=1_000)
    with pytest.raises(UserError, match="T and carry are those of CartPole-v1/T2"):
        to_sb3("CartPole-v1/T2", "CartPole-v1", T=1)
    with pytest.raises(UserError, match="spec says which layers a policy has: leave out net_arch"):
        to_sb3("CartPole-v1/T2", "CartPole-v1", policy_kwargs={"net_arch": [8]})


POOLED = [
    {"type": "AvgPool2d", "kernel_size": 4, "stride": 4, "padding": 0},
    {"type": "Conv2d", "in_channels": 1, "out_channels": 4, "kernel_size": 3, "bias": False},
    {"type": "LIF", "decays": 4},
    {"type": "AvgPool2d", "kernel_size": 7, "stride": 7, "padding": 0},
    {"type": "Flatten"},
    {"type": "Linear", "in_features": 4, "out_features": 6, "bias": True},
    {"type": "LIF", "recurrent": 6},
    {"type": "Linear", "in_features": 6, "out_features": 5, "bias": True},
    {"type": "Linear", "in_features": 5, "out_features": 3, "bias": True},
]


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize("scale", [1 / 255, 0.01])
def test_any_agent_becomes_a_learner_and_its_zip_is_the_agent(scale: float, tmp_path: Path) -> None:
    network = lively(QNetwork(POOLED, 2, scale))
    agent = Agent(PIXELS, "T2", network, (1, 36, 36))
    model = to_sb3(agent, PIXELS, learning_starts=10, batch_size=4, buffer_size=200)
    built = model.policy.q_net.network
    assert (built.spec, built.input_scale, built.T) == (POOLED, scale, 2)
    seen = np.random.default_rng(0).integers(0, 256, (3, 1, 36, 36), np.uint8)
    assert all(th.equal(a, b) for a, b in zip(agent.predict(seen)[1], model.predict(seen)[1], strict=True))
    model.learn(40)
    model.save(tmp_path / "model.zip")
    again = load_agent(tmp_path / "model.zip", PIXELS)
    assert fingerprint(again.network) == fingerprint(built) != fingerprint(network)
    loaded = SpikingDQN.load(tmp_path / "model.zip", device="cpu")
    assert fingerprint(loaded.policy.q_net.network) == fingerprint(built)


def test_an_agent_whose_input_is_scaled_in_its_own_way_becomes_a_learner() -> None:
    scaled = Agent("CartPole-v1", "T1", QNetwork(mlp_spec(4, 8, 2), 1, input_scale=0.5), (4,))
    model = to_sb3(scaled, gym.make("CartPole-v1"))
    assert model.policy.q_net.network.input_scale == 0.5
