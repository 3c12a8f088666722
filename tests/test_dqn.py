"""SpikingDQN acting, evaluated and interrupted: the traps that Stable-Baselines3 lays for a network with a memory (DESIGN,
section 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import Count, counts, dqn, same
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

from snn_rl import SpikingDQN
from snn_rl.core.errors import UserError


class Spy:
    """Remembers what goes in and out of ``policy.advance``."""

    def __init__(self, model: SpikingDQN, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        real = model.policy.advance

        def advance(observation: Any, state: Any, episode_start: Any) -> Any:
            q, new, vectorized = real(observation, state, episode_start)
            self.calls.append((observation.copy(), state, None if episode_start is None else episode_start.copy(), new))
            return q, new, vectorized

        monkeypatch.setattr(model.policy, "advance", advance)


# 1, 2, 3: acting


def test_acting_carries_the_state_and_says_where_episodes_start(monkeypatch: pytest.MonkeyPatch) -> None:
    model = dqn()
    spy = Spy(model, monkeypatch)
    model.learn(90)
    assert len(spy.calls) == 30  # every step, the random ones of the warm-up included
    for before, after in zip(spy.calls, spy.calls[1:], strict=False):
        assert after[1] is before[3]
    for observation, _, start, _ in spy.calls:
        assert (start == (observation[:, 1] == 0)).all()  # exactly where the episode's clock stands at 0
    assert 0 < np.mean([start for _, _, start, _ in spy.calls]) < 0.5


def test_only_the_membrane_of_the_environment_that_ended_is_zeroed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = dqn(learning_starts=10_000)
    spy = Spy(model, monkeypatch)
    model.learn(90)
    network = model.q_net.network
    for observation, state, start, new in spy.calls[1:]:
        for e in range(3):
            alone = None if start[e] else tuple(v[e : e + 1] for v in state)
            expected = network(th.as_tensor(observation[e : e + 1]), alone)[1]
            assert same([v[e : e + 1] for v in new], expected)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_membranes_advance_whether_the_action_is_random_or_not(epsilon: float) -> None:
    model = dqn()
    model.exploration_rate = epsilon
    observation = model.env.reset()
    state, greedy_state = None, None
    for _ in range(4):
        _, state = model.predict(observation, state)
        _, greedy_state = model.predict(observation, greedy_state, deterministic=True)
    assert same(state, greedy_state)
    assert any(bool((v != 0).any()) for v in state)


def test_each_environment_has_a_coin_of_its_own() -> None:
    model = dqn(counts(*[5] * 400), buffer_size=2400, target_update_interval=1000)
    model.exploration_rate = 0.5
    observation = np.tile(np.float32([0.3, 0.2]), (400, 1))  # the greedy action is the same everywhere
    greedy, _ = model.predict(observation, deterministic=True)
    assert len(set(greedy)) == 1
    action, _ = model.predict(observation)
    assert 0.15 < (action != greedy[0]).mean() < 0.35  # half of them random, and half of those differ
    again, _ = model.predict(observation)
    assert (action != again).any()
    model.exploration_rate = 0.0
    assert (model.predict(observation)[0] == greedy).all()


def test_exploration_draws_every_action() -> None:
    model = dqn(counts(*[5] * 50), target_update_interval=1000)
    model.exploration_rate = 1.0
    action, _ = model.predict(np.zeros((50, 2), np.float32))
    assert set(action.tolist()) == {0, 1}


def test_a_second_learn_goes_on_with_the_membranes_or_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    model = dqn()
    model.learn(60)
    last = model._last_states
    spy = Spy(model, monkeypatch)
    model.learn(30, reset_num_timesteps=False)
    assert spy.calls[0][1] is last
    spy.calls.clear()
    model.learn(30)  # the environments are reset
    assert spy.calls[0][1] is None
    assert spy.calls[0][2].all()
    model.set_env(counts(5, 7, 9))
    spy.calls.clear()
    model.learn(30, reset_num_timesteps=False)
    assert spy.calls[0][1] is None
    assert spy.calls[0][2].all()


# 4, 5: target network, optimiser


def test_an_observation_at_a_time_limit_that_is_not_finite_is_an_error() -> None:
    """It is bootstrapped from, though no decision is made there."""

    class Broken(Count):
        def step(self, action: int) -> Any:
            observation, *rest = super().step(action)
            return (np.full(2, np.nan, np.float32) if self.clock == self.length else observation), *rest

    with pytest.raises(UserError, match="holds NaN or infinity"):
        dqn(Broken(7, cut=True)).learn(20)


def test_a_replay_buffer_that_is_loaded_does_not_lead_to_what_is_played_next(tmp_path: Path) -> None:
    model = dqn(counts(100), learning_starts=1000)
    model.learn(10)
    model.save_replay_buffer(tmp_path / "buffer")
    model.learn(7, reset_num_timesteps=False)
    model.load_replay_buffer(tmp_path / "buffer")
    model.learn(5, reset_num_timesteps=False)
    buffer = model.replay_buffer
    assert buffer.frames[0, :15, 1].tolist() == [*range(10), *range(5)]
    assert buffer.age[0, :15].tolist() == [*range(10), *range(5)]
    assert buffer.acted[0, :15].tolist() == [True] * 9 + [False] + [True] * 5


def test_the_target_update_copies_thresholds_and_decays() -> None:
    model = dqn(target_update_interval=1000)
    with th.no_grad():
        for lif in model.q_net.network.lifs:
            lif.set(v_th=0.123, decay=0.77)
    model.set_logger(configure(None, []))
    model._n_calls = 1000 // 3 - 1
    model._on_step()
    for lif in model.q_net_target.network.lifs:
        assert (lif.v_th.item(), lif.decay.item()) == pytest.approx((0.123, 0.77))
    assert all(th.equal(a, b) for a, b in zip(model.q_net.parameters(), model.q_net_target.parameters(), strict=True))


def test_weights_that_are_filled_in_later_are_the_ones_that_are_learnt() -> None:
    model = dqn()
    network = model.policy.q_net.network
    network.load_state_dict({key: value + 0.01 for key, value in network.state_dict().items()})
    before = {key: value.clone() for key, value in network.state_dict().items()}
    model.learn(60)
    assert all(not th.equal(value, before[key]) for key, value in model.policy.q_net.network.state_dict().items())


def test_everything_is_learnt_by_learn_and_the_target_follows() -> None:
    model = dqn(T=1)
    before = {key: value.clone() for key, value in model.q_net.state_dict().items()}
    target = {key: value.clone() for key, value in model.q_net_target.state_dict().items()}
    model.learn(150)
    assert all(not th.equal(value, before[key]) for key, value in model.q_net.state_dict().items())
    assert all(not th.equal(value, target[key]) for key, value in model.q_net_target.state_dict().items())


# 7, 9: evaluation and callbacks


def own_evaluation(model: SpikingDQN, env: VecEnv, episodes: int, carry: bool) -> list[float]:
    returns, state, start, total = [], None, np.ones(1, bool), 0.0
    observation = env.reset()
    while len(returns) < episodes:
        action, state = model.predict(observation, state if carry else None, start, deterministic=True)
        observation, reward, start, _ = env.step(action)
        total += float(reward[0])
        if start[0]:
            returns.append(total)
            total = 0.0
    return returns


def test_evaluate_policy_carries_the_membranes() -> None:
    env = make_vec_env("CartPole-v1", 1, seed=5)
    model = dqn(env, T=1, seed=4, policy_kwargs={"net_arch": [16], "decay": 0.95})
    env.seed(7)
    returns, _ = evaluate_policy(model, env, 10, return_episode_rewards=True)
    env.seed(7)
    assert returns == own_evaluation(model, env, 10, carry=True)
    env.seed(7)
    assert returns != own_evaluation(model, env, 10, carry=False)  # so the comparison can tell


def test_callbacks_evaluate_and_checkpoint(tmp_path: Path) -> None:
    model = dqn()
    callbacks = [
        EvalCallback(
            counts(6),
            eval_freq=10,
            n_eval_episodes=2,
            best_model_save_path=str(tmp_path),
            log_path=str(tmp_path),
            verbose=0,
        ),
        CheckpointCallback(10, str(tmp_path), save_replay_buffer=True),
    ]
    model.learn(90, callback=callbacks)
    assert callbacks[0].best_mean_reward == 6
    assert np.load(tmp_path / "evaluations.npz")["ep_lengths"].tolist() == [[6, 6]] * 3
    for name in ("best_model", "rl_model_30_steps", "rl_model_90_steps"):
        assert SpikingDQN.load(tmp_path / name, device="cpu").T == 2
    model.load_replay_buffer(tmp_path / "rl_model_replay_buffer_60_steps.pkl")
    assert model.replay_buffer.size() == 57  # SB3 calls back before it stores the step


def test_evaluation_in_the_midst_of_learning_leaves_no_trace_in_it() -> None:
    """Neither its membranes nor its episodes' ends reach those that are learnt from."""
    alone, watched = dqn(), dqn()
    alone.learn(91)
    watched.learn(91, callback=EvalCallback(counts(6), eval_freq=7, n_eval_episodes=2, verbose=0))
    assert alone._last_states is not None
    assert watched._last_states is not None
    assert any(float(v.abs().sum()) > 0 for v in alone._last_states)
    assert same(alone._last_states, watched._last_states)
    assert same(alone.q_net.state_dict().values(), watched.q_net.state_dict().values())


def test_the_warm_up_is_random_unless_it_shall_not_be() -> None:
    for warm_up, shares in ((1.0, (0.3, 0.7)), (0.0, (0.0, 0.0))):
        model = dqn(counts(5), learning_starts=10_000, exploration_initial_eps=0.05, warm_up_eps=warm_up)
        readout = model.policy.q_net.network.synapses[-1][0]
        with th.no_grad():
            readout.weight.zero_()
            readout.bias.copy_(th.tensor([1.0, 0.0]))  # the network always chooses action 0
        model.learn(200)
        assert shares[0] <= model.replay_buffer.action[0, :200].mean() <= shares[1]


def test_a_buffer_that_holds_no_sequence_is_an_error() -> None:
    dqn(counts(5, 7), buffer_size=12)  # 2 burnt in + 3 learnt + 1 for the return, in each of 2 environments
    with pytest.raises(
        UserError,
        match=r"of 11 is 5 steps in each of 2 environments and a sequence takes 6; use a buffer_size of at least 12",
    ):
        dqn(counts(5, 7), buffer_size=11)


def test_arguments_are_left_as_they_were_given() -> None:
    kwargs = {"verbose": 0}
    dqn(VecFrameStack(counts(5), 2), replay_buffer_kwargs=kwargs)
    assert kwargs == {"verbose": 0}


def test_a_replay_buffer_without_sequences_is_an_error() -> None:
    with pytest.raises(UserError, match="ReplayBuffer holds no sequences"):
        dqn(replay_buffer_class=ReplayBuffer)


def test_adam_takes_one_pass_over_the_weights_and_files_do_not_say_so() -> None:
    model = dqn()
    assert [group["fused"] for group in model.policy.optimizer.param_groups] == [True]
    assert model.policy.optimizer_kwargs == {}
    plain = dqn(policy_kwargs={"optimizer_kwargs": {"foreach": False}})
    assert not plain.policy.optimizer.param_groups[0]["fused"]
