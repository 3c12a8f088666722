"""An agent's decisions, by Stable-Baselines3's contract."""

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

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
