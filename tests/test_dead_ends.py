"""What users try first and cannot have is said in a sentence of ours, not in a traceback of somebody else's library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.torch_layers import CombinedExtractor

from snn_rl import SpikingDQN, SpikingMlpPolicy, evaluate, load_agent, make_env, play, record
from snn_rl.core.errors import UserError
from snn_rl.tasks.recipes import Recipe

CARTPOLE = "CartPole-v1"


def shows(space: spaces.Space[Any], actions: spaces.Space[Any] | None = None) -> gym.Env[Any, Any]:
    """An environment with these observations and actions."""

    class Shown(gym.Env[Any, Any]):
        observation_space = space
        action_space = spaces.Discrete(2) if actions is None else actions

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            return space.sample(), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return space.sample(), 0.0, True, False, {}

    return Shown()


class OlderGym(gym.Env[Any, Any]):
    """Its reset takes nothing."""

    observation_space = spaces.Box(-1, 1, (3,))
    action_space = spaces.Discrete(2)

    def reset(self) -> Any:  # type: ignore[override]  # that is what is wrong with it
        return np.zeros(3, np.float32)


class Petting:
    """An environment of several agents, which is none of Gymnasium's."""


VECTOR = spaces.Box(-1, 1, (3,))
SMALL = spaces.Box(0, 255, (10, 10, 3), np.uint8)


@pytest.mark.parametrize(
    ("policy", "env", "said"),
    [
        ("MlpPolcy", CARTPOLE, "unknown policy 'MlpPolcy'; choose from MlpPolicy, CnnPolicy, MultiInputPolicy, such as 'MlpP"),
        ("LstmPolicy", CARTPOLE, "unknown policy 'LstmPolicy'; choose from"),
        (None, CARTPOLE, r"takes a spiking policy .*, or a SpikingPolicy\), got NoneType"),
        (DQN.policy_aliases["MlpPolicy"], CARTPOLE, "takes a spiking policy .*, got DQNPolicy"),
        ("MlpPolicy", "Cartpole-v1", "unknown environment 'Cartpole-v1'; did you mean 'CartPole-v1'"),
        ("MlpPolicy", "no.such.module:Own-v0", r"cannot import 'no\.such\.module'"),
        ("MlpPolicy", None, "needs an environment: the id of one, a gymnasium.Env or a VecEnv, got a NoneType"),
        ("MlpPolicy", Petting(), "needs an environment: .*, got a Petting; several at a time are made by .*make_vec_env"),
        (
            "MlpPolicy",
            OlderGym(),
            r"reset\(\) of OlderGym takes no seed, as in the older gym: in Gymnasium reset\(seed=None, options=None\) ret",
        ),
        ("CnnPolicy", CARTPOLE, r"NatureCNN does not take observations of shape \(4,\).*: CnnPolicy is for images, use MlpP"),
        ("CnnPolicy", shows(SMALL), "NatureCNN does not take observations.*it wants images of bytes .* 36 by 36 pixels"),
        ("CnnPolicy", shows(spaces.Box(0, 1, (84, 84, 3))), "'normalize_images': False} and their channels first"),
        ("MlpPolicy", shows(spaces.Text(3)), "the observation is a Text; a network sees vectors, images and whole numbers"),
        ("MlpPolicy", shows(VECTOR, spaces.Box(-1, 1, (2,))), "has actions Box.*; a DQN chooses one of several, Discrete fr"),
        ("MlpPolicy", shows(VECTOR, spaces.MultiDiscrete([2, 2])), r"has actions MultiDiscrete\(\[2 2\]\); a DQN chooses"),
        ("MlpPolicy", shows(VECTOR, spaces.MultiBinary(2)), r"has actions MultiBinary\(2\); a DQN chooses"),
        ("MlpPolicy", shows(VECTOR, spaces.Discrete(2, start=1)), r"has actions Discrete\(2, start=1\); a DQN chooses"),
    ],
)
def test_what_no_learner_can_be_made_of_is_said(policy: Any, env: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        SpikingDQN(policy, env, buffer_size=100)


class Dark(OlderGym):
    """It cannot be seen."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode


def test_an_environment_that_shows_no_pictures_is_not_filmed() -> None:
    gym.register("Dark-v0", Dark)
    with (
        pytest.warns(UserWarning, match="render_mode"),
        pytest.raises(
            UserError,
            match=r"'Dark-v0' cannot be filmed: its metadata have no 'rgb_array' among .*; add it, or leave --video out",
        ),
    ):
        make_env(Recipe("Dark-v0"), render_mode="rgb_array")


def test_an_environment_of_gymnasiums_own_vectors_is_none() -> None:
    with pytest.raises(UserError, match=r"got a CartPoleVectorEnv; several at a time are made by stable_baselines3"):
        SpikingDQN("MlpPolicy", gym.make_vec(CARTPOLE, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("space", [VECTOR, spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (3,), np.float64)])
@pytest.mark.parametrize("more", [spaces.Box(0, 9, (3,), np.int64), spaces.Box(-1, 1, (2, 3)), spaces.Box(-1, 1, ())])
def test_what_is_a_vector_in_any_form_simply_works(space: spaces.Box, more: spaces.Box) -> None:
    for one in (space, more, spaces.MultiBinary(3)):
        model = SpikingDQN("MlpPolicy", shows(one), buffer_size=100, learning_starts=5, batch_size=2, sequence_length=1)
        model.learn(8)
        assert model.predict(one.sample())[0] in (0, 1)


def test_arguments_that_no_policy_has_are_named() -> None:
    with pytest.raises(UserError, match="a spiking policy has no argument hidden"):
        SpikingDQN("MlpPolicy", CARTPOLE, policy_kwargs={"hidden": 1})
    with pytest.raises(
        UserError, match=r"CombinedExtractor does not take .*: give features_extractor_class another, or leave"
    ):
        SpikingDQN("MultiInputPolicy", CARTPOLE, policy_kwargs={"features_extractor_class": CombinedExtractor})
    with pytest.raises(UserError, match=r"has no argument use_sde.*a spiking policy is for DQN and SpikingDQN"):
        PPO(SpikingMlpPolicy, CARTPOLE)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda agent: agent.predict("left"), r"predict\(\) takes an array here, got a str"),
        (lambda agent: agent.predict({"pole": np.zeros(4)}), r"predict\(\) takes an array here, got a dict"),
        (lambda agent: agent.predict(np.zeros(4), state=3), "the state is a int; pass on what the previous call returned"),
        (lambda agent: record("nowhere/T1"), "no agent 'nowhere/T1'"),
        (lambda agent: play(3), r"load_agent\(\) takes a path, a name, or a model of Stable-Baselines3, got a int"),
        (lambda agent: evaluate(DQN("MlpPolicy", CARTPOLE, buffer_size=9)), "a live model does not say its environment: load"),
        (
            lambda agent: make_env(gym.make(CARTPOLE)),
            "give the id of the environment, 'CartPole-v1', not a TimeLimit: it is built as its recipe says",
        ),
    ],
)
def test_what_no_agent_can_be_asked_is_said(asked: Callable[[Any], object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asked(load_agent("CartPole-v1/T1"))
