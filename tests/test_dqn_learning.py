"""SpikingDQN learning: from what it played, reproducibly, and what needs a memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import Pixels, Recall, counts, dqn, same
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize
from torch import Tensor

from snn_rl import SpikingDQN
from snn_rl.core.errors import UserError


def test_a_lost_life_does_not_end_the_episode() -> None:
    from snn_rl.tasks.environments import make_env
    from snn_rl.tasks.recipes import Recipe

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


@pytest.mark.parametrize(
    "wrong", [{"sequence_length": 0}, {"n_steps": 0}, {"burn_in": -1}, {"advantage_alpha": 1.0}, {"advantage_alpha": -0.1}]
)
def test_settings_out_of_range_are_an_error(wrong: dict[str, float]) -> None:
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
