"""Numbers as observations are seen one-hot, as by a stock DQN's network; observations in parts have a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.vec_env import DummyVecEnv

from snn_rl import SpikingDQN, SpikingMlpPolicy, load_agent, to_sb3
from snn_rl.core.errors import UserError
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe, make_env, one_hot
from snn_rl.training.conversion import convert

LAKE = "FrozenLake-v1"


class Numbers(gym.Env[np.ndarray, int]):
    """Shows two numbers; ends after three steps."""

    observation_space = spaces.MultiDiscrete([3, 2])
    action_space = spaces.Discrete(2)
    clock = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.clock = 0
        return np.array([0, 1]), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.clock += 1
        return np.array([min(self.clock, 2), 0]), 1.0, self.clock == 3, False, {}


class Parts(Numbers):
    observation_space = spaces.Dict({"image": spaces.Box(0, 255, (36, 36, 1), np.uint8), "speed": spaces.Box(-1, 1, (2,))})


def play(agent: Agent, observations: list[int], size: int) -> list[int]:
    actions, state = [], None
    for number in observations:
        action, state = agent.predict(np.eye(size, dtype=np.float32)[number], state)
        actions.append(int(action))
    return actions


def test_numbers_are_what_stable_baselines3_shows_to_its_network() -> None:
    for space in (spaces.Discrete(5), spaces.MultiDiscrete([3, 2])):
        space.seed(0)
        number = space.sample()
        theirs = preprocess_obs(th.as_tensor(np.array(number))[None], space)[0]
        assert np.array_equal(one_hot(space, number), theirs.numpy())


def test_an_environment_of_numbers_gives_vectors() -> None:
    env = make_env(load_recipe(LAKE), frames=2)
    assert env.observation_space.shape == (32,)
    observation, _ = env.reset(seed=0)
    assert observation.tolist() == [0.0] * 16 + [1.0] + [0.0] * 15
    assert env.observation_space.contains(env.step(1)[0])
    taxi = next(env_id for env_id in gym.registry if env_id.startswith("Taxi-"))
    assert make_env(load_recipe(taxi)).observation_space.shape == (500,)


def test_a_stock_dqn_of_numbers_is_read_from_its_zip_and_live(tmp_path: Path) -> None:
    model = DQN("MlpPolicy", LAKE, seed=0, buffer_size=100)
    model.save(tmp_path / "lake.zip")
    theirs = [int(model.predict(np.array(number), deterministic=True)[0]) for number in range(16)]
    for agent in (load_agent(tmp_path / "lake.zip", LAKE), load_agent(model, LAKE)):
        assert (agent.observation_shape, agent.frames) == ((16,), 1)
        assert play(agent, list(range(16)), 16) == theirs
    spiking = convert(load_agent(model, LAKE), load_recipe(LAKE), 5)
    assert (spiking.network.T, spiking.observation_shape) == (5, (16,))


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_spiking_dqn_learns_from_numbers(vectorized: bool, tmp_path: Path) -> None:
    env = DummyVecEnv([Numbers, Numbers]) if vectorized else Numbers()
    model = SpikingDQN("MlpPolicy", env, T=2, learning_starts=10, buffer_size=200, batch_size=4, seed=0)
    model.learn(80)
    assert model.observation_space.shape == (5,)
    returns, _ = evaluate_policy(model, model.get_env(), 3, warn=False)
    assert returns == 3.0
    model.save(tmp_path / "model.zip")
    again = SpikingDQN.load(tmp_path / "model.zip", env=Numbers())
    again.learn(20)


def test_an_agent_of_numbers_goes_on_learning() -> None:
    model = SpikingDQN("MlpPolicy", LAKE, T=1, buffer_size=1_000)
    agent = load_agent(model, LAKE)
    assert agent.observation_shape == (16,)
    assert to_sb3(agent, LAKE, buffer_size=1_000).observation_space.shape == (16,)


def test_who_is_shown_a_bare_number_is_told_how_it_is_seen() -> None:
    agent = load_agent(SpikingDQN("MlpPolicy", LAKE, buffer_size=1_000), LAKE)
    for number in (np.array(3), np.array([3])):
        with pytest.raises(UserError, match=r"shape \(16,\), got .*; numbers are seen one-hot, as gymnasium.wrappers.Flatten"):
            agent.predict(number)


def test_the_way_out_of_parts_leads_out_and_not_in_a_circle() -> None:
    for policy in ("MlpPolicy", "CnnPolicy", "MultiInputPolicy"):
        with pytest.raises(UserError, match=r"one vector or image.*FlattenObservation\(env\) makes one vector.*Transform"):
            SpikingDQN(policy, Parts())
    with pytest.raises(UserError, match=r"use SpikingDQN, which takes numbers too, or wrap the environment: gymnasium"):
        DQN(SpikingMlpPolicy, LAKE, buffer_size=100)
    taken = gym.wrappers.TransformObservation(Parts(), lambda seen: seen["image"], Parts.observation_space["image"])
    assert SpikingDQN("CnnPolicy", taken, buffer_size=100).observation_space.shape == (1, 36, 36)
    flat = gym.wrappers.FlattenObservation(gym.make("Blackjack-v1"))
    assert SpikingDQN("MlpPolicy", flat, buffer_size=100).observation_space.shape == (45,)
    assert DQN(SpikingMlpPolicy, gym.wrappers.FlattenObservation(gym.make(LAKE)), buffer_size=100).q_net is not None
