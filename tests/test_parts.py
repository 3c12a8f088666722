"""Observations in parts (a Dict, a Tuple, numbers) are one vector, as a stock DQN's network joins them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

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
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.parts import Joined, Parts
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


GOAL = {"goal": spaces.Discrete(4), "place": spaces.Box(-1, 1, (2,), np.float32)}  # in the order of their names


class Goals(gym.Env[dict[str, Any], int]):
    """Shows a goal, 0 to 3, and a place; the action that is the goal earns 1."""

    observation_space = spaces.Dict({"place": GOAL["place"], "goal": GOAL["goal"]})
    action_space = spaces.Discrete(4)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.goal, self.clock = render_mode, 0, 0

    def shown(self) -> dict[str, Any]:
        return {"place": np.array([self.clock / 10, -1], np.float32), "goal": np.int64(self.goal)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.goal, self.clock = int(self.np_random.integers(4)), 0
        return self.shown(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.clock += 1
        reward = float(action == self.goal)
        self.goal = int(self.np_random.integers(4))
        return self.shown(), reward, False, self.clock == 10, {}


class Pictures(Goals):
    observation_space = spaces.Dict({"image": spaces.Box(0, 255, (36, 36, 1), np.uint8), "speed": spaces.Box(-1, 1, (2,))})


if "Goals-v0" not in gym.registry:
    gym.register("Goals-v0", Goals)


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
        assert np.array_equal(Joined.of(space).parts.join(number), theirs.numpy())


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


def test_an_agent_sees_a_bare_number_as_its_environment_shows_it(tmp_path: Path) -> None:
    agent = load_agent(SpikingDQN("MlpPolicy", LAKE, buffer_size=1_000), LAKE)
    one_hot = [int(agent.predict(np.eye(16, dtype=np.float32)[number])[0]) for number in range(16)]
    assert [int(agent.predict(np.array(number))[0]) for number in range(16)] == one_hot
    assert agent.predict(np.arange(16))[0].tolist() == one_hot
    nowhere = Agent("Unknown-v0", "T1", agent.network, (16,))
    for number in (np.array(3), np.array([3])):
        with pytest.raises(UserError, match=r"shape \(16,\), got .*; numbers are seen one-hot, as gymnasium.wrappers.Flatten"):
            nowhere.predict(number)


def test_parts_are_joined_in_the_order_and_the_form_of_stable_baselines3() -> None:
    shown = {
        "b": spaces.MultiDiscrete([3, 2]),
        "a": spaces.Box(-2, 2, (2, 2), np.float64),
        "d": spaces.MultiBinary(3),
        "c": spaces.Discrete(3),
    }
    space = spaces.Dict(shown, seed=1)
    policy = DQN("MultiInputPolicy", _Shows(space), buffer_size=10).policy
    for _ in range(5):
        one = space.sample()
        batch = {key: th.as_tensor(np.asarray(part))[None] for key, part in one.items()}
        theirs = policy.q_net.extract_features(batch, policy.q_net.features_extractor)
        assert np.allclose(Joined.of(space).parts.join(one), theirs[0].numpy())
    joined = Joined.of(space)
    assert joined.low.tolist() == [-2] * 4 + [0] * 11
    assert Parts.from_json(joined.parts.to_json()) == joined.parts


class _Shows(Numbers):
    """An environment with these observations."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space = space  # type: ignore[assignment]


def test_numbers_that_do_not_begin_at_zero_and_parts_within_parts_are_seen() -> None:
    space = spaces.Dict({"inner": spaces.Dict({"n": spaces.Discrete(3, start=5)}), "pair": spaces.Tuple([spaces.Discrete(2)])})
    parts = Joined.of(space).parts
    assert parts.join({"inner": {"n": 6}, "pair": (1,)}).tolist() == [0, 1, 0, 0, 1]
    assert parts.join({"inner": {"n": np.array([5, 7])}, "pair": (np.array([0, 1]),)}).tolist() == [
        [1, 0, 0, 1, 0],
        [0, 0, 1, 0, 1],
    ]
    with pytest.raises(ValueError, match="numbers has 1, the part has 2"):
        Parts.from_json([{"path": [], "shape": [2], "numbers": [3]}])
    with pytest.raises(UserError, match=r"'inner\.n' holds .4., beyond its .3. numbers"):
        parts.join({"inner": {"n": 4}, "pair": (1,)})
    with pytest.raises(UserError, match=r"lacks the part 'pair\.0'"):
        parts.join({"inner": {"n": 6}})


def test_frames_of_parts_are_stacked_part_by_part_as_by_vec_frame_stack() -> None:
    space = spaces.Dict({"a": spaces.Box(0, 9, (1,)), "b": spaces.Box(0, 9, (2,))})
    parts = Joined.of(space).parts
    assert parts.in_stack(np.array([[1, 2, 3], [4, 5, 6]])).tolist() == [1, 4, 2, 3, 5, 6]
    env = make_env(load_recipe("Goals-v0"), frames=2)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (12,)
    assert observation[:4].tolist() == [0.0] * 4
    assert observation[8:].tolist() == [0.0, 0.0, 0.0, -1.0]
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("policy", ["MultiInputPolicy", "MlpPolicy"])
def test_a_spiking_dqn_learns_from_a_dict_is_saved_and_goes_on(policy: str, tmp_path: Path) -> None:
    model = SpikingDQN(policy, Goals(), T=1, learning_starts=10, buffer_size=200, batch_size=4, seed=0)
    model.learn(60)
    evaluate_policy(model, Goals(), 1, warn=False)  # which shows it the Dict as it is
    model.save(tmp_path / "model.zip")
    again = SpikingDQN.load(tmp_path / "model.zip", env=Goals())
    again.learn(20)
    agent = load_agent(tmp_path / "model.zip", "Goals-v0")
    shown = Goals().reset(seed=3)[0]
    assert int(agent.predict(shown)[0]) == int(model.predict(shown, deterministic=True)[0])
    assert int(SpikingDQN.load(tmp_path / "model.zip").predict(shown, deterministic=True)[0]) == int(agent.predict(shown)[0])


def test_a_stock_multi_input_dqn_is_read_from_its_zip_and_live(tmp_path: Path) -> None:
    model = DQN("MultiInputPolicy", Goals(), seed=0, buffer_size=100)
    model.save(tmp_path / "goals.zip")
    env = make_env("Goals-v0")
    for agent in (load_agent(tmp_path / "goals.zip", "Goals-v0"), load_agent(model, "Goals-v0")):
        assert agent.observation_shape == (6,)
        joined, _ = env.reset(seed=1)
        for action in range(4):
            shown = cast(Any, env.unwrapped).shown()
            theirs = int(model.predict(shown, deterministic=True)[0])
            assert theirs == int(agent.predict(joined)[0]) == int(agent.predict(shown)[0])
            joined, *_ = env.step(action)
    spiking = convert(load_agent(model, "Goals-v0"), load_recipe("Goals-v0"), 2)
    assert spiking.observation_shape == (6,)
    assert SpikingDQN.from_sb3(model, Goals(), T=1, buffer_size=100).observation_space.shape == (6,)


def test_what_no_network_sees_is_said_and_the_way_out_leads_out() -> None:
    with pytest.raises(UserError, match=r"the part 'word' is a Text; a network sees vectors, images and whole numbers"):
        SpikingDQN("MultiInputPolicy", _Shows(spaces.Dict({"word": spaces.Text(5)})))
    with pytest.raises(UserError, match=r"does not see an image beside other parts: use MultiInputPolicy"):
        SpikingDQN("MlpPolicy", Pictures(), buffer_size=100)
    assert SpikingDQN("MultiInputPolicy", Pictures(), buffer_size=100).observation_space.shape == (36 * 36 + 2,)
    with pytest.raises(UserError, match=r"sees one vector or image, got .*: use SpikingDQN, which joins the parts, or gymn"):
        DQN(SpikingMlpPolicy, LAKE, buffer_size=100)
    taken = gym.wrappers.TransformObservation(Pictures(), lambda seen: seen["image"], Pictures.observation_space["image"])
    assert SpikingDQN("CnnPolicy", taken, buffer_size=100).observation_space.shape == (1, 36, 36)
    flat = gym.wrappers.FlattenObservation(gym.make("Blackjack-v1"))
    assert SpikingDQN("MlpPolicy", flat, buffer_size=100).observation_space.shape == (45,)
    assert SpikingDQN("MlpPolicy", "Blackjack-v1", buffer_size=100).observation_space.shape == (45,)
    assert DQN(SpikingMlpPolicy, gym.wrappers.FlattenObservation(gym.make(LAKE)), buffer_size=100).q_net is not None
