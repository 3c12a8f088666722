"""SpikingDQN: each trap that Stable-Baselines3 lays for a network with a memory (DESIGN, section 5), and its learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import Count, Pixels, Recall
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize
from torch import Tensor

from snn_rl import SpikingDQN
from snn_rl.errors import UserError
from snn_rl.replay import Returns, SequenceReplayBuffer, Sequences, n_step_returns


def counts(*lengths: int, cut: bool = False) -> VecEnv:
    """One environment per length; its observation tells which it is and how far its episode got."""
    return DummyVecEnv([lambda n=n, e=e: Monitor(Count(n, cut, identity=float(e))) for e, n in enumerate(lengths)])


def dqn(env: VecEnv | gym.Env[Any, Any] | None = None, **kwargs: Any) -> SpikingDQN:
    settings = {
        "T": 2, "learning_starts": 40, "buffer_size": 2000, "batch_size": 4, "sequence_length": 3, "burn_in": 2,
        "target_update_interval": 20, "train_freq": 1, "seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [16]},
    }  # fmt: skip
    return SpikingDQN("MlpPolicy", counts(5, 7, 9) if env is None else env, **{**settings, **kwargs})


def same(a: Any, b: Any) -> bool:
    return all(th.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


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
    model = dqn(counts(*[5] * 400), target_update_interval=1000)
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


# 6, 10


def test_a_lost_life_does_not_end_the_episode() -> None:
    from snn_rl.environments import make_env
    from snn_rl.recipes import Recipe

    env = make_env(Recipe("BreakoutNoFrameskip-v4"))
    env.reset(seed=0)
    lives, over = {5}, False
    rng = np.random.default_rng(0)
    while not over:
        _, _, over, cut, _ = env.step(int(rng.integers(4)))
        left = env.unwrapped.ale.lives()
        lives.add(left)
        assert not cut
        assert over == (left == 0)
    assert lives == {5, 4, 3, 2, 1, 0}


def test_a_spiking_cnn_learns_convolutions_and_all() -> None:
    model = SpikingDQN(
        "CnnPolicy", make_vec_env(Pixels, 2), T=2, learning_starts=16, batch_size=2, sequence_length=2, burn_in=1,
        buffer_size=100, seed=0, device="cpu",
    )  # fmt: skip
    before = {key: value.clone() for key, value in model.q_net.state_dict().items()}
    model.learn(40)
    assert len(model.q_net.network.lifs) == 4
    assert all(not th.equal(value, before[key]) for key, value in model.q_net.state_dict().items())


# 8: saving and loading


def test_a_loaded_model_predicts_the_same_keeps_its_settings_and_learns_on(tmp_path: Path) -> None:
    model = dqn(T=3, n_steps=2, double_q=False, sequence_length=4, burn_in=1, replay_buffer_kwargs={"frame_stack": 1})
    model.learn(120)
    model.save(tmp_path / "model")
    env = counts(5, 7, 9)
    again = SpikingDQN.load(tmp_path / "model", env=env, device="cpu")
    for name in (
        "T",
        "carry",
        "n_steps",
        "double_q",
        "sequence_length",
        "burn_in",
        "num_timesteps",
        "exploration_rate",
    ):
        assert getattr(again, name) == getattr(model, name)
    assert (again.policy.q_net.network.T, again.policy.q_net.network.carry) == (3, True)
    observation, state, state_again = env.reset(), None, None
    for _ in range(5):
        action, state = model.predict(observation, state, deterministic=True)
        action_again, state_again = again.predict(observation, state_again, deterministic=True)
        assert (action == action_again).all()
        assert same(state, state_again)
        observation = env.step(action)[0]
    updates = again._n_updates
    assert isinstance(again.replay_buffer, SequenceReplayBuffer)
    again.learn(60, reset_num_timesteps=False)
    assert again.num_timesteps == 180
    assert again._n_updates > updates


def test_recurrent_layers_with_decays_of_their_own_learn_and_are_saved(tmp_path: Path) -> None:
    kwargs = {"net_arch": [8, 8], "decay": (0.1, 0.9), "recurrent": True}
    model = dqn(Recall(delay=2), policy_kwargs=kwargs, n_steps=1)
    model.learn(300)
    network, target = (q.network for q in (model.policy.q_net, model.policy.q_net_target))
    assert all(float(synapses.weight.detach().abs().sum()) > 0 for synapses in network.recurrent.values())  # they began at 0
    assert network.lifs[0].decay.shape == (8,)
    polyak = dict(target.named_parameters())
    assert {"recurrent.0.weight", "recurrent.1.weight"} <= polyak.keys()
    model.save(tmp_path / "model.zip")
    loaded = SpikingDQN.load(tmp_path / "model.zip", env=model.get_env())
    observation = np.asarray(model.observation_space.sample())[None]
    state_a = state_b = None
    for start in (True, False, False):
        a, state_a = model.predict(observation, state_a, np.array([start]), deterministic=True)
        b, state_b = loaded.predict(observation, state_b, np.array([start]), deterministic=True)
        assert a == b
    assert state_a is not None
    assert len(state_a) == 4  # two membranes, then the last spikes of the two layers
    assert all(same(x, y) for x, y in zip(state_a, state_b, strict=True))


def test_without_carry_is_saved_too(tmp_path: Path) -> None:
    model = dqn(carry=False)
    model.save(tmp_path / "model")
    again = SpikingDQN.load(tmp_path / "model", env=counts(5, 7, 9), device="cpu")
    assert again.carry is False
    assert again.policy.q_net.network.carry is False
    assert (again.sequence_length, again.burn_in) == (1, 0)
    again.learn(60)


def test_a_model_saved_in_the_middle_of_learning_can_be_saved_with_its_membranes_alive(tmp_path: Path) -> None:
    model = dqn()
    model.learn(31)
    assert model._last_states is not None
    model.save(tmp_path / "model")
    assert SpikingDQN.load(tmp_path / "model", env=counts(5, 7, 9), device="cpu")._last_states is None


# n-step returns and the loss


def sequences(rewards: list[float], terminated: list[int], acted: list[int], starts: list[int] | None = None) -> Sequences:
    def column(values: list[Any], dtype: th.dtype) -> Tensor:
        return th.tensor(values, dtype=dtype)[:, None]

    L = len(rewards)
    return Sequences(
        th.arange(L, dtype=th.float32)[:, None, None].expand(L, 1, 2), column(starts or [0] * L, th.bool),
        column(acted, th.bool), column([0] * L, th.int64), column(rewards, th.float32), column(terminated, th.bool), None,
    )  # fmt: skip


def rows(returns: Returns) -> list[tuple[float, float, int]]:
    return [(r.item(), d.item(), b.item()) for r, d, b in zip(*returns, strict=True)]


def test_one_step_returns_by_hand() -> None:
    batch = sequences([1, 2, 4, 8], [0, 1, 0, 0], [1, 1, 1, 1])
    returns = rows(n_step_returns(batch, 0, 3, n=1, gamma=0.5))
    assert returns[0] == (1, 0.5, 1)
    assert returns[1][:2] == (2, 0)  # terminated: nothing to bootstrap from
    assert returns[2] == (4, 0.5, 3)


def test_three_step_returns_by_hand() -> None:
    batch = sequences([1, 2, 4, 8, 16, 32], [0] * 6, [1] * 6)
    assert rows(n_step_returns(batch, 1, 2, n=3, gamma=0.5)) == [(2 + 2 + 2, 0.125, 4), (4 + 4 + 4, 0.125, 5)]


def test_a_termination_inside_the_steps_ends_the_sum_without_bootstrap() -> None:
    batch = sequences([1, 2, 4, 100, 100, 100], [0, 0, 1, 0, 0, 0], [1] * 6)
    returns = rows(n_step_returns(batch, 0, 3, n=3, gamma=0.5))
    assert [r[:2] for r in returns] == [(1 + 1 + 1, 0), (2 + 2, 0), (4, 0)]


def test_a_time_limit_inside_the_steps_bootstraps_from_the_observation_of_the_cut() -> None:
    # slot 2 is the observation at which the episode was cut off; slot 3 begins the next episode
    batch = sequences([1, 2, 100, 100, 100, 100], [0] * 6, [1, 1, 0, 1, 1, 1])
    returns = rows(n_step_returns(batch, 0, 2, n=3, gamma=0.5))
    assert returns == [(1 + 1, 0.25, 2), (2, 0.5, 2)]


def test_the_loss_learns_only_what_was_done_and_bootstraps_by_hand() -> None:
    """Double and plain DQN on networks whose Q-values are known."""
    model = dqn(counts(5), T=0, gamma=0.5, policy_kwargs={"net_arch": []}, double_q=True)

    def fill(network: th.nn.Module, weights: list[list[float]], bias: list[float]) -> None:
        with th.no_grad():
            network.synapses[0][1].weight.copy_(th.tensor(weights))  # after Flatten
            network.synapses[0][1].bias.copy_(th.tensor(bias))

    fill(model.q_net.network, [[0, 0], [0, 0]], [1.0, 2.0])  # online: action 1 looks best
    fill(model.q_net_target.network, [[0, 0], [0, 0]], [10.0, 3.0])  # target: action 0 is worth more
    batch = sequences([0.25, 0.0], [0, 0], [1, 1])
    # Q(s, 0) = 1. Double: 0.25 + 0.5 * 3 = 1.75, error 0.75. Plain: 0.25 + 0.5 * 10 = 5.25, error 4.25.
    assert model._td_loss(batch, []).item() == pytest.approx(0.5 * 0.75**2)
    model.double_q = False
    assert model._td_loss(batch, []).item() == pytest.approx(4.25 - 0.5)
    assert model._td_loss(batch._replace(terminated=th.tensor([[True], [False]])), []).item() == pytest.approx(
        0.5 * 0.75**2  # nothing but the reward: 0.25 - 1
    )


@pytest.mark.parametrize("double_q", [True, False])
def test_the_carried_loss_is_a_loop_of_single_decisions_each_network_with_its_own_membranes(double_q: bool) -> None:
    model = dqn(sequence_length=4, burn_in=3, n_steps=2, gamma=0.9, double_q=double_q)
    with th.no_grad():
        for parameter in model.q_net_target.network.synapses.parameters():
            parameter.add_(0.1 * th.randn_like(parameter))
    L = 3 + 4 + 2
    th.manual_seed(1)
    observations = th.randn(L, 2, 2)
    starts = th.zeros(L, 2, dtype=th.bool)
    starts[5, 0] = True
    terminated = th.zeros(L, 2, dtype=th.bool)
    terminated[4, 0] = True
    acted = th.ones(L, 2, dtype=th.bool)
    acted[6, 1] = False  # cut off: slot 6 is the last observation
    starts[7, 1] = True
    batch = Sequences(observations, starts, acted, th.randint(2, (L, 2)), th.randn(L, 2), terminated, None)

    def q_values(network: Any) -> Tensor:
        state, q_all = None, []
        for observation, start in zip(observations, starts, strict=True):
            q, state = network(observation, state, start)
            q_all.append(q)
        return th.stack(q_all).detach()

    online, target = q_values(model.q_net.network), q_values(model.q_net_target.network)
    errors = []
    for b in range(2):
        for slot in range(3, 7):
            if not acted[slot, b]:
                continue
            goal, factor, at = 0.0, 1.0, slot
            for _ in range(2):
                if not acted[at, b]:
                    break
                goal += factor * batch.rewards[at, b].item()
                factor *= 0.9
                at += 1
                if terminated[at - 1, b]:
                    factor = 0.0
                    break
            best = (online if double_q else target)[at, b].argmax()
            goal += factor * target[at, b, best].item()
            error = abs(online[slot, b, batch.actions[slot, b]].item() - goal)
            errors.append(0.5 * error**2 if error < 1 else error - 0.5)
    assert model._td_loss(batch, []).item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_burn_in_brings_the_membranes_in_but_is_not_learnt() -> None:
    model = dqn(sequence_length=2, burn_in=2, n_steps=1)
    L = 5
    observations = th.randn(L, 8, 2)
    nothing = th.zeros(L, 8, dtype=th.bool)
    batch = Sequences(observations, nothing, ~nothing, th.zeros(L, 8, dtype=th.int64), th.zeros(L, 8), nothing, None)
    loss = model._td_loss(batch, [])
    other_rewards = batch.rewards.clone()
    other_rewards[:2] = 100
    assert model._td_loss(batch._replace(rewards=other_rewards), []).item() == loss.item()
    other = observations.clone()
    other[:2] = 5 * th.randn(2, 8, 2)
    assert model._td_loss(batch._replace(observations=other), []).item() != loss.item()
    seen = observations.clone().requires_grad_()
    model._td_loss(batch._replace(observations=seen), []).backward()
    assert seen.grad is not None
    assert bool((seen.grad[:2] == 0).all())
    assert bool((seen.grad[2:4] != 0).any())


# Play and learning


def test_what_was_played_is_what_is_replayed() -> None:
    model = dqn(counts(4, 6, cut=True), learning_starts=10_000)
    model.learn(100)
    sequences = model.replay_buffer.sample_sequences(100, 5)
    observations = sequences.observations
    assert th.equal(observations[..., 1] == 0, sequences.starts)
    length = th.where(observations[..., 0] == 0, 4.0, 6.0)
    assert th.equal(sequences.acted, observations[..., 1] < length)  # the observation of the cut has a slot of its own
    assert not sequences.terminated.any()


def test_a_reset_between_two_learns_is_no_transition() -> None:
    model = dqn(counts(50), learning_starts=10_000, burn_in=0)
    model.learn(10)
    model.learn(10)
    clock = model.replay_buffer.frames[0, :20, 1]
    assert clock.tolist() == [*range(10), *range(10)]
    assert model.replay_buffer.acted[0, :20].tolist() == [True] * 9 + [False] + [True] * 10


def test_stacked_frames_are_found_and_stored_once() -> None:
    env = VecFrameStack(make_vec_env(Pixels, 2), 4, channels_order="last")
    model = SpikingDQN("CnnPolicy", env, buffer_size=60, learning_starts=10_000, seed=0, device="cpu")
    assert model.replay_buffer.frame_stack == 4
    assert model.replay_buffer.frames.shape == (2, 30, 1, 36, 36)
    model.learn(50)
    model.replay_buffer.sample_sequences(10, 5)


def test_normalised_observations_are_learnt_as_they_are_acted_on() -> None:
    """What the network sees in replay has to be what it saw in play: VecNormalize's observations."""
    model = dqn(VecNormalize(counts(5, 7), norm_reward=False), learning_starts=20)
    seen: list[Tensor] = []
    model.q_net.network.synapses[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    model.learn(100)
    assert max(float(x.abs().max()) for x in seen) < 5  # the raw clock goes to 7, the normalised one to about 2


def test_the_same_seed_twice_gives_the_same_agent_and_another_seed_another() -> None:
    def learnt(seed: int) -> list[float]:
        model = dqn(make_vec_env(lambda: Monitor(Recall(1)), 2, seed=seed), seed=seed)
        model.learn(200)
        return th.cat([p.detach().flatten() for p in model.q_net.parameters()]).tolist()

    first = learnt(3)
    assert learnt(3) == first
    assert learnt(4) != first


def test_spike_rates_are_logged() -> None:
    model = dqn(learning_starts=15, gradient_steps=2)
    model.set_logger(configure(None, []))
    recorded: dict[str, float] = {}
    real = model.logger.record
    model.logger.record = lambda key, value, exclude=None: (
        recorded.__setitem__(key, value),
        real(key, value, exclude),
    )[1]
    model.learn(300)
    assert 0 <= recorded["snn/spike_rate/fc1"] <= 1


def test_no_update_happens_before_there_is_a_sequence() -> None:
    model = dqn(counts(5), learning_starts=0, sequence_length=20, burn_in=10)
    model.learn(15)
    assert model._n_updates == 0
    model.learn(40, reset_num_timesteps=False)
    assert model._n_updates > 0


@pytest.mark.parametrize("wrong", [{"sequence_length": 0}, {"n_steps": 0}, {"burn_in": -1}])
def test_sequence_settings_out_of_range_are_an_error(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="at least"):
        dqn(**wrong)


@pytest.mark.parametrize("train_freq", [1, (1, "episode")])
def test_one_gym_environment_is_enough(train_freq: Any) -> None:
    model = SpikingDQN(
        "MlpPolicy", "CartPole-v1", learning_starts=30, batch_size=4, buffer_size=500, train_freq=train_freq, seed=0,
        device="cpu",
    )  # fmt: skip
    assert model.learn(120)._n_updates > 0


def test_bfloat16_is_only_a_wish() -> None:
    assert dqn(bfloat16=True).learn(60)._n_updates > 0


def recalls(**kwargs: Any) -> float:
    env = make_vec_env(lambda: Monitor(Recall(1)), 8, seed=0)
    model = dqn(
        env, learning_rate=5e-3, learning_starts=200, batch_size=32, sequence_length=3, burn_in=0, gamma=0.9,
        exploration_fraction=0.5, exploration_final_eps=0.05, target_update_interval=200,
        **{"T": 1, "policy_kwargs": {"net_arch": [32]}, **kwargs},
    )  # fmt: skip
    model.learn(6000)
    return float(evaluate_policy(model, make_vec_env(lambda: Monitor(Recall(1)), 4, seed=9), 60)[0])


def test_membranes_recall_a_cue_that_is_gone() -> None:
    """Two steps after a cue was shown, the action has to name it: chance is 0.5, and only the membrane can know."""
    assert recalls() > 0.95


def test_without_carried_membranes_a_cue_cannot_be_recalled() -> None:
    assert recalls(carry=False) < 0.75


def test_learning_that_a_callback_stopped_goes_on_with_new_episodes() -> None:
    """SB3 forgets the step at which a callback stops: membranes and sequences must not reach across that gap."""
    model = dqn(counts(5), learning_starts=1000)
    model.learn(50, callback=StopTrainingOnMaxEpisodes(1))
    model.learn(20, reset_num_timesteps=False)
    ages = model.replay_buffer.age[0, : int(model.replay_buffer.head[0])]
    assert ages.max() <= 4
    assert list(ages).count(0) >= 4


def test_t_is_not_lost_among_the_policys_arguments() -> None:
    with pytest.raises(UserError, match="to SpikingDQN itself"):
        dqn(counts(5), policy_kwargs={"T": 4})
    with pytest.raises(TypeError):
        SpikingDQN("MlpPolicy", counts(5), 1e-3)  # SB3's third argument is no T


def test_a_network_that_is_given_explores_as_told_from_the_first_step() -> None:
    model = dqn(counts(5), learning_starts=1000, exploration_initial_eps=0.0, exploration_final_eps=0.0)
    with th.no_grad():
        last = model.q_net.network.synapses[-1][0]
        last.weight.zero_()
        last.bias.copy_(th.tensor([0.0, 1.0]))
    model.learn(30)
    assert model.replay_buffer.action[0, :30].tolist() == [1] * 30


@pytest.mark.parametrize(("cut", "value"), [(True, 1 / (1 - 0.9)), (False, 1 / (1 - 0.9 * 0.8))])
def test_with_data_init_learning_begins_near_the_mean_return(cut: bool, value: float) -> None:
    """Each step gives 1. Ended for good after 5 steps, so that 4 of 5 steps go on, or only cut off, so that all do."""
    model = dqn(counts(5, cut=cut), data_init=True, gamma=0.9, learning_starts=400, learning_rate=1e-9, n_steps=1)
    first = model.q_net.network.synapses[0][-1].weight.detach().clone()
    model.learn(401)
    assert model._n_updates
    q, _ = model.q_net.network(th.as_tensor(model.replay_buffer.frames[0, :300]).float())
    assert q.mean().item() == pytest.approx(value, rel=0.1)
    assert not th.allclose(model.q_net.network.synapses[0][-1].weight, first)
    assert same(model.q_net.parameters(), model.q_net_target.parameters())
