"""Play: every episode once, whatever runs beside it."""

from __future__ import annotations

import copy
from itertools import islice, pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import Count, lively, mlp_spec
from stable_baselines3.common.vec_env import DummyVecEnv

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.tasks.environments import make_env
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Start, Stream, play, starts

CARTPOLE = Recipe("CartPole-v1")


@pytest.fixture
def network() -> QNetwork:
    return lively(QNetwork(mlp_spec(4, 16, 2), T=2))


def returns(network: QNetwork, n_envs: int, episodes: int = 10, epsilon: float = 0.1, seed: int = 0) -> list[float]:
    total, ended = np.zeros(episodes), np.zeros(episodes, int)
    envs = [make_env(CARTPOLE) for _ in range(n_envs)]
    for decision in play(network, envs, starts(CARTPOLE, episodes, seed), epsilon):
        assert len(set(decision.episode)) == len(decision.episode) <= n_envs
        assert not ended[decision.episode].any()
        total[decision.episode] += decision.reward
        ended[decision.episode] += decision.done
    assert (ended == 1).all()
    return total.tolist()


def test_every_episode_is_played_exactly_once_whatever_the_number_of_environments(network: QNetwork) -> None:
    alone = returns(network, 1)
    assert len(set(alone)) > 1
    for n_envs in (3, 10, 12):
        assert returns(network, n_envs) == alone


def test_random_actions_belong_to_the_episode(network: QNetwork) -> None:
    assert returns(network, 3, epsilon=1.0) == returns(network, 2, epsilon=1.0)
    assert returns(network, 3, epsilon=1.0) != returns(network, 3, epsilon=1.0, seed=100)
    greedy = returns(network, 3, epsilon=0.0)
    assert greedy != returns(network, 3, epsilon=1.0)
    assert returns(network, 3, episodes=4, epsilon=0.0, seed=2) == greedy[2:6]  # seed n is the episode, not its place


@pytest.mark.parametrize("n_envs", [2, 5])  # five end one after the other: the others keep membranes of their own
def test_play_is_a_loop_of_single_decisions_with_carried_membranes(network: QNetwork, n_envs: int) -> None:
    decisions = list(play(network, [make_env(CARTPOLE) for _ in range(n_envs)], starts(CARTPOLE, 5, 0)))
    for episode in range(5):
        env = make_env(CARTPOLE)
        observation, state, over = env.reset(seed=episode)[0], None, False
        mine = [(d, d.episode.index(episode)) for d in decisions if episode in d.episode]
        for decision, r in mine:
            assert not over
            assert np.array_equal(decision.observation[r], observation)
            q, state = network(th.as_tensor(observation)[None], state)
            assert th.allclose(decision.q[r], q[0], atol=1e-5)
            assert decision.action[r] == int(q.argmax())
            assert decision.layers[0].shape[0] == 2  # T
            assert th.allclose(decision.state[0][r], state[0][0], atol=1e-5)
            observation, reward, terminated, truncated, _ = env.step(int(q.argmax()))
            over = terminated or truncated
            assert (decision.reward[r], decision.done[r]) == (reward, over)
        assert over


def test_the_layers_are_the_spikes_of_the_decision(network: QNetwork) -> None:
    for decision in play(network, [make_env(CARTPOLE) for _ in range(3)], starts(CARTPOLE, 3, 0)):
        rows = len(decision.episode)
        assert [tuple(layer.shape) for layer in decision.layers] == [(2, rows, 16)]
        assert set(decision.layers[0].unique().tolist()) <= {0.0, 1.0}
        assert th.allclose(network.synapses[-1](decision.layers[-1].mean(0)), decision.q, atol=1e-5)


def test_an_observation_comes_with_its_own_info() -> None:
    recipe = Recipe("CartPoleNoVel-v1")
    envs = [make_env(recipe) for _ in range(2)]
    for decision in play(lively(QNetwork(mlp_spec(2, 8, 2), T=1)), envs, starts(recipe, 4, 0)):
        for seen, info in zip(decision.observation, decision.infos, strict=True):
            assert seen.tolist() == info["full_observation"][[0, 2]].tolist()


def test_the_starts_of_atari_are_its_no_op_steps_in_turn() -> None:
    pong = starts(Recipe("PongNoFrameskip-v4"), 32, 100)
    assert [s.start for s in pong] == [*range(1, 31), 1, 2]
    assert [s.seed for s in pong] == list(range(100, 132))
    assert starts(CARTPOLE, 2, 7) == [Start(7, None), Start(8, None)]


@pytest.mark.parametrize("episodes", [0, -3])
def test_no_episodes_are_an_error(episodes: int) -> None:
    with pytest.raises(UserError, match="--episodes must be at least 1"):
        starts(CARTPOLE, episodes, 0)


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan")])
def test_an_epsilon_out_of_range_is_an_error(network: QNetwork, epsilon: float) -> None:
    with pytest.raises(UserError, match="--epsilon must lie in"):
        next(play(network, [make_env(CARTPOLE)], starts(CARTPOLE, 1, 0), epsilon))


@pytest.mark.parametrize(("sizes", "message"), [((6, 8, 2), "right --frames"), ((4, 8, 3), "has 3 actions")])
def test_an_agent_of_another_environment_is_an_error(sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        next(play(QNetwork(mlp_spec(*sizes), T=1), [make_env(CARTPOLE)], starts(CARTPOLE, 1, 0)))
    venv = DummyVecEnv([lambda: make_env(CARTPOLE)])
    with pytest.raises(UserError, match=message):
        next(Stream(QNetwork(mlp_spec(*sizes), T=1), venv, 0.0, np.random.default_rng(0)))


def test_weights_that_are_not_finite_are_an_error(network: QNetwork) -> None:
    with th.no_grad():
        network.synapses[-1][0].weight[0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        list(play(network, [make_env(CARTPOLE)], starts(CARTPOLE, 1, 0)))


class Broken(Count):
    """A sensor fails at the third step."""

    def step(self, action):
        observation, *rest = super().step(action)
        return np.where(self.clock == 3, np.nan, observation).astype(np.float32), *rest


def test_an_observation_that_is_not_finite_is_an_error() -> None:
    small = QNetwork(mlp_spec(2, 4, 2), T=1)
    with pytest.raises(UserError, match="an observation holds NaN or infinity"):
        list(play(small, [Broken(5)], [Start(0, None)]))
    steps = Stream(small, DummyVecEnv([lambda: Broken(5)]), 0.0, np.random.default_rng(0))
    assert len(list(islice(steps, 3))) == 3
    with pytest.raises(UserError, match="an observation holds NaN or infinity"):
        next(steps)


# The endless stream


def counts(*lengths: int) -> DummyVecEnv:
    def make(length: int, identity: int):
        return lambda: Count(length, identity=float(identity))

    return DummyVecEnv([make(length, e) for e, length in enumerate(lengths)])


def test_the_stream_marks_where_episodes_start_and_keeps_the_last_observation() -> None:
    network = lively(QNetwork(mlp_spec(2, 8, 2), T=1))
    steps = list(islice(Stream(network, counts(3, 5), 0.2, np.random.default_rng(0)), 20))
    for t, step in enumerate(steps):
        assert step.observation[:, 0].tolist() == [0, 1]
        assert step.observation[:, 1].tolist() == [t % 3, t % 5]
        assert step.episode_start.tolist() == [t % 3 == 0, t % 5 == 0]
        assert step.next_observation[:, 1].tolist() == [t % 3 + 1, t % 5 + 1]  # not the first of the next episode
        assert step.done.tolist() == [t % 3 == 2, t % 5 == 4]


def test_the_stream_carries_membranes_through_random_actions_and_zeroes_them_per_environment() -> None:
    network = lively(QNetwork(mlp_spec(2, 8, 2), T=1), v_th=1.0)
    seen = []
    real = network.forward

    def spy(observation, state, starts):
        seen.append((observation, state, starts, real(observation, state, starts)))
        return seen[-1][-1]

    network.forward = spy
    list(islice(Stream(network, counts(3, 5), 1.0, np.random.default_rng(0)), 12))
    for before, after in pairwise(seen):
        assert after[1] is before[3][1]
    assert [s[2].tolist() for s in seen] == [[t % 3 == 0, t % 5 == 0] for t in range(12)]


def test_the_stream_goes_on_from_its_state_in_environments_that_stand_there(tmp_path: Path) -> None:
    network, venv = lively(QNetwork(mlp_spec(2, 8, 2), T=2)), counts(3, 5)
    first = Stream(network, venv, 0.5, np.random.default_rng(0))
    list(islice(first, 4))
    th.save(first.state_dict(), tmp_path / "state")
    second = Stream(network, copy.deepcopy(venv), 0.5, np.random.default_rng(1))
    second.load_state_dict(th.load(tmp_path / "state", weights_only=True))
    for one, other in islice(zip(first, second, strict=True), 12):
        assert all(np.array_equal(a, b) for a, b in zip(one[:-1], other[:-1], strict=True))
    assert all(th.equal(a, b) for a, b in zip(*(s.state_dict()["membranes"] for s in (first, second)), strict=True))


def test_a_stream_that_has_not_begun_has_a_state_too() -> None:
    network = QNetwork(mlp_spec(2, 8, 2), T=1)
    first, second = (Stream(network, counts(3), 0.0, np.random.default_rng(seed)) for seed in (0, 1))
    second.load_state_dict(first.state_dict())
    assert next(second).observation[0].tolist() == [0, 0]


def test_the_stream_has_a_coin_for_each_environment() -> None:
    network = QNetwork(mlp_spec(2, 8, 2), T=1)
    steps = list(islice(Stream(network, counts(*[5] * 200), 0.5, np.random.default_rng(0)), 2))
    greedy = [int(network(th.as_tensor(o)[None])[0].argmax()) for o in steps[0].observation]
    assert 0.15 < np.mean(steps[0].action != greedy) < 0.35


def test_a_gym_environment_that_is_cut_off_ends_its_episode(network: QNetwork) -> None:
    envs = [gym.wrappers.TimeLimit(Count(1000), 4)]
    small = QNetwork(mlp_spec(2, 4, 2), T=1)
    assert len(list(play(small, envs, [Start(0, None), Start(1, None)]))) == 8
