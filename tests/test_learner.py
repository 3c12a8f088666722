"""An agent in Stable-Baselines3 is the same agent, and can learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import mlp_spec

from snn_rl import load_agent, to_sb3
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
    scaled = Agent("CartPole-v1", "T1", QNetwork(mlp_spec(4, 8, 2), 1, input_scale=0.5), (4,))
    with pytest.raises(UserError, match="are not those that the policy builds"):
        to_sb3(scaled, gym.make("CartPole-v1"))
