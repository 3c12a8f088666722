"""An agent's decisions, by Stable-Baselines3's contract."""

import re

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from snn_rl import SpikingCnnPolicy
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store import agents
from snn_rl.store.agents import Agent


def small() -> Agent:
    return Agent("CartPole-v1", "T2", lively(QNetwork(conv_spec(), T=2), decay=0.7), (1, 8, 8))


def test_an_agent_predicts_by_sb3s_contract() -> None:
    agent = agents.load("CartPole-v1/T1")
    mean, _ = evaluate_policy(agent, make_vec_env("CartPole-v1", 2, seed=0), n_eval_episodes=2)
    assert mean == 500


def test_only_the_environment_whose_episode_starts_begins_at_rest() -> None:
    agent = small()
    first, second = th.randn(2, 3, 1, 8, 8).numpy()
    _, state = agent.predict(first)
    _, carried = agent.predict(second, state)
    _, fresh = agent.predict(second)
    _, mixed = agent.predict(second, state, np.array([False, True, False]))
    for kept, rest, both in zip(carried, fresh, mixed, strict=True):
        assert th.equal(both[1], rest[1])
        assert th.equal(both[[0, 2]], kept[[0, 2]])
    assert not th.equal(carried[0][1], fresh[0][1])


def test_an_agent_decides_on_any_device() -> None:
    agent = small()
    batch = th.randn(3, 1, 8, 8, dtype=th.float64).numpy()
    expected, _ = agent.predict(batch)
    moved: list[th.device] = []

    def elsewhere(network: th.nn.Module, args: tuple[th.Tensor, ...]) -> None:
        moved.extend(value.device for value in args if isinstance(value, th.Tensor))

    agent.network.to("meta").register_forward_pre_hook(elsewhere)
    agent.network.forward = lambda seen, state, starts: (th.eye(3)[expected], (seen, starts))  # type: ignore[method-assign]
    actions, _ = agent.predict(batch, None, np.zeros(3, bool))
    assert {device.type for device in moved} == {"meta"}
    assert isinstance(actions, np.ndarray)
    assert (actions == expected).all()


def test_an_agent_and_a_policy_refuse_in_the_same_words() -> None:
    agent = small()
    policy = SpikingCnnPolicy(spaces.Box(0, 255, (1, 36, 36), np.uint8), spaces.Discrete(3), lambda _: 0.0, T=2)
    for one, who in ((agent, "CartPole-v1/T2"), (policy, "the policy")):
        shape = tuple(agent.observation_shape if one is agent else policy.observation_space.shape)
        seen = np.zeros((2, *shape), np.float32)
        with pytest.raises(
            UserError, match="predict\\(\\) takes an observation, not the \\(observation, info\\) tuple that reset"
        ):
            one.predict((seen, {}))
        for wrong in (seen[..., 1:], seen[0, 0], seen[None]):
            got = wrong.shape[1:] if wrong.ndim != len(shape) else wrong.shape
            words = f"{who} takes observations of shape {shape}, got {got}; images have their channels first"
            with pytest.raises(UserError, match=re.escape(words)):
                one.predict(wrong)
        with pytest.raises(UserError, match="the state is for 2 environments but 1"):
            one.predict(seen[0], one.predict(seen)[1])
        with pytest.raises(UserError, match="episode_start is for 3 environments but 2"):
            one.predict(seen, None, np.zeros(3, bool))
        with pytest.raises(UserError, match="holds NaN or infinity"):
            one.predict(seen * float("nan"))


def test_an_agent_takes_one_observation_too_and_refuses_what_does_not_fit() -> None:
    agent = small()
    batch = th.randn(3, 1, 8, 8).numpy()
    actions, state = agent.predict(batch)
    assert agent.predict(batch[1])[0] == actions[1]
    with pytest.raises(UserError, match=r"takes observations of shape \(1, 8, 8\), got \(1, 8, 9\)"):
        agent.predict(th.randn(3, 1, 8, 9).numpy())
    with pytest.raises(UserError, match="state is for 3 environments but 1"):
        agent.predict(batch[:1], state)
    for value in (float("nan"), float("inf")):  # a membrane would never forget it
        batch[1, 0, 2, 3] = value
        with pytest.raises(UserError, match="holds NaN or infinity"):
            agent.predict(batch)
