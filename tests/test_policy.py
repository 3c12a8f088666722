"""The spiking policies: what Stable-Baselines3 may expect of ``predict``, and life inside its own DQN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import Count, Pixels, Recall, same
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from snn_rl import SpikingCnnPolicy, SpikingMlpPolicy
from snn_rl.core.errors import UserError
from snn_rl.core.lif import LIF
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.policy import SpikingPolicy

VECTOR = spaces.Box(-1.0, 1.0, (5,), np.float32)
IMAGE = spaces.Box(0, 255, (2, 36, 36), np.uint8)


def mlp(**kwargs: Any) -> SpikingMlpPolicy:
    return SpikingMlpPolicy(
        VECTOR, spaces.Discrete(4), lambda _: 1e-3, **{"net_arch": [32, 16], "T": 2, "carry": True, **kwargs}
    )


def cnn(**kwargs: Any) -> SpikingCnnPolicy:
    return SpikingCnnPolicy(IMAGE, spaces.Discrete(3), lambda _: 1e-3, **{"T": 2, "carry": True, **kwargs})


def seen(policy: SpikingPolicy, *batch: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if policy.observation_space.dtype == np.uint8:
        return rng.integers(0, 256, (*batch, *policy.observation_space.shape), np.uint8)
    return rng.uniform(-1, 1, (*batch, *policy.observation_space.shape)).astype(np.float32)


@pytest.fixture(params=[mlp, cnn])
def policy(request: pytest.FixtureRequest) -> SpikingPolicy:
    return request.param()


def test_predicting_a_batch_is_predicting_each_alone(policy: SpikingPolicy) -> None:
    steps, state, singles = seen(policy, 4, 3), None, [None] * 3
    for observation in steps:
        action, state = policy.predict(observation, state, np.zeros(3, bool))
        assert action.shape == (3,)
        for e in range(3):
            alone, singles[e] = policy.predict(observation[e], singles[e], np.zeros(1, bool))
            assert np.shape(alone) == ()
            assert alone == action[e]
            assert same(singles[e], [v[e : e + 1] for v in state])


def test_no_state_is_a_state_at_rest(policy: SpikingPolicy) -> None:
    observation = seen(policy, 3)
    action, state = policy.predict(observation)
    rest = policy.initial_state(3)
    assert all(bool((v == 0).all()) for v in rest)
    action_at_rest, state_at_rest = policy.predict(observation, rest)
    assert (action == action_at_rest).all()
    assert same(state, state_at_rest)


def test_an_episode_start_is_a_fresh_state_for_that_environment_alone(policy: SpikingPolicy) -> None:
    first, second = seen(policy, 2, 3)
    _, state = policy.predict(first)
    _, mixed = policy.predict(second, state, np.array([False, True, False]))
    _, fresh = policy.predict(second)
    _, carried = policy.predict(second, state)
    for v, v_fresh, v_carried in zip(mixed, fresh, carried, strict=True):
        assert th.equal(v[1], v_fresh[1])
        assert th.equal(v[[0, 2]], v_carried[[0, 2]])
    assert not same(fresh, carried)


def test_a_single_observation_may_come_without_its_batch(policy: SpikingPolicy) -> None:
    observation = seen(policy)
    action, state = policy.predict(observation)
    assert policy.action_space.contains(int(action))
    assert all(len(v) == 1 for v in state)
    action_start, state_start = policy.predict(observation, state, np.array([True]))
    assert action_start == action
    assert same(state, state_start)
    policy.predict(observation, state, True)  # a bare boolean, as in a loop over one Gym environment


def test_images_may_come_channels_last() -> None:
    policy = cnn()
    observation = seen(policy, 3)
    action, state = policy.predict(observation)
    action_last, state_last = policy.predict(observation.transpose(0, 2, 3, 1))
    assert (action == action_last).all()
    assert same(state, state_last)


def test_the_tuple_of_a_gym_reset_is_an_error(policy: SpikingPolicy) -> None:
    with pytest.raises(ValueError, match="not the \\(observation, info\\) tuple"):
        policy.predict((seen(policy), {}))


def test_a_state_of_another_number_of_environments_is_an_error(policy: SpikingPolicy) -> None:
    with pytest.raises(UserError, match="state is for 2 environments but 3 observations"):
        policy.predict(seen(policy, 3), policy.initial_state(2))


def test_a_state_of_another_network_is_an_error(policy: SpikingPolicy) -> None:
    with pytest.raises(UserError, match="the state has 1 tensors where this network's has"):
        policy.predict(seen(policy, 2), policy.initial_state(2)[:1])


def test_episode_starts_of_another_number_of_environments_are_an_error(policy: SpikingPolicy) -> None:
    with pytest.raises(UserError, match="episode_start is for 3 environments but 2"):
        policy.predict(np.zeros((2, *policy.observation_space.shape), np.float32), None, np.ones(3, dtype=bool))


def test_without_carry_the_state_changes_nothing() -> None:
    policy = mlp(carry=False)
    first, second = seen(policy, 2, 3)
    _, state = policy.predict(first)
    assert same(policy.predict(second, state)[1], policy.predict(second)[1])


def test_the_timesteps_surround_the_convolutions_too() -> None:
    network = cnn().q_net.network
    assert network.layer_names == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    assert len(network.lifs) == 4
    policy = cnn()
    assert not any(isinstance(module, (nn.ReLU, BaseFeaturesExtractor)) for module in policy.modules())
    assert len([m for m in policy.q_net.modules() if isinstance(m, LIF)]) == 4


def test_untrained_every_layer_spikes() -> None:
    for policy in (mlp(), cnn()):
        record: list[th.Tensor] = []
        observation = th.as_tensor(seen(policy, 32))
        policy.q_net.network.unroll(observation[None], record=record)
        assert all(0.01 < z.mean().item() < 0.9 for z in record)


def test_a_tiny_network_can_be_built_whatever_its_random_weights() -> None:
    for seed in range(60):
        th.manual_seed(seed)
        mlp(net_arch=[4, 4])


def test_pixels_are_scaled_unless_normalize_images_is_off() -> None:
    assert cnn().q_net.network.input_scale == 1 / 255
    assert cnn(normalize_images=False).q_net.network.input_scale == 1
    assert mlp().q_net.network.input_scale == 1


def test_the_optimiser_and_the_target_hold_every_parameter_of_the_network(policy: SpikingPolicy) -> None:
    optimised = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    assert optimised >= {id(p) for p in policy.q_net.network.parameters()}
    ours, theirs = policy.q_net.state_dict(), policy.q_net_target.state_dict()
    assert any("v_th" in key for key in ours)
    assert any("decay" in key for key in ours)
    assert all(th.equal(ours[key], theirs[key]) for key in ours)
    assert len(list(policy.q_net.parameters())) == len(ours)  # SB3's target update copies parameters only


@pytest.mark.parametrize("space", [spaces.Dict({"a": VECTOR}), spaces.Discrete(4)])
def test_other_observation_spaces_are_an_error(space: spaces.Space[Any]) -> None:
    with pytest.raises(UserError, match="one vector or image"):
        SpikingMlpPolicy(space, spaces.Discrete(2), lambda _: 1e-3)


def test_an_activation_without_spiking_counterpart_is_an_error() -> None:
    with pytest.raises(UnconvertibleError, match=r"q_net\.1.*Tanh"):
        mlp(activation_fn=nn.Tanh)


def test_negative_timesteps_are_an_error() -> None:
    with pytest.raises(UserError, match="T must be at least 1"):
        mlp(T=-1)


@pytest.mark.parametrize("decay", [0.0, 1.5, [0.5], (0.1, 0.2, 0.3), (0.5, 2.0)])
def test_a_decay_out_of_range_is_an_error(decay: Any) -> None:
    with pytest.raises(UserError, match="decay must be a number in"):
        mlp(decay=decay)


class Residual(BaseFeaturesExtractor):
    """Its forward is not its layers in a row."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 5)
        self.layer = nn.Sequential(nn.Linear(5, 5), nn.ReLU())

    def forward(self, x: th.Tensor) -> th.Tensor:
        return x + self.layer(x)


class Shared(BaseFeaturesExtractor):
    """One activation object in two places."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 6)
        relu = nn.ReLU()
        self.layers = nn.Sequential(nn.Linear(5, 6), relu, nn.Linear(6, 6), relu)

    def forward(self, x: th.Tensor) -> th.Tensor:
        return self.layers(x)


def test_an_extractor_that_is_no_list_of_layers_is_an_error() -> None:
    with pytest.raises(UnconvertibleError, match="Residual"):
        mlp(features_extractor_class=Residual)


def test_an_activation_shared_by_two_layers_makes_two_layers_of_neurons() -> None:
    assert len(mlp(features_extractor_class=Shared, net_arch=[4]).q_net.network.lifs) == 3


def test_policy_alone_is_saved_and_loaded(policy: SpikingPolicy, tmp_path: Path) -> None:
    policy.save(str(tmp_path / "policy.pkl"))
    again = type(policy).load(str(tmp_path / "policy.pkl"))
    assert (again.q_net.network.T, again.q_net.network.carry) == (2, True)
    first, second = seen(policy, 2, 3)
    _, state = policy.predict(first)
    _, state_again = again.predict(first)
    assert same(policy.predict(second, state)[1], again.predict(second, state_again)[1])


def test_the_q_network_alone_is_saved_and_loaded(policy: SpikingPolicy, tmp_path: Path) -> None:
    policy.q_net.save(str(tmp_path / "q_net.pkl"))
    again = type(policy.q_net).load(str(tmp_path / "q_net.pkl"))
    observation = th.as_tensor(seen(policy, 3))
    assert th.equal(policy.q_net(observation), again(observation))


# Stock DQN


def test_in_stock_dqn_a_policy_plays_without_memory_as_it_learns(tmp_path: Path) -> None:
    model = DQN(SpikingMlpPolicy, make_vec_env(Count, 1), policy_kwargs={"T": 1}, buffer_size=100)
    assert not model.policy.q_net.network.carry
    first, second = np.ones((2, 1, 2), np.float32) * [[[1.0]], [[3.0]]]
    _, state = model.policy.predict(first)
    assert same(model.policy.predict(second, state)[1], model.policy.predict(second)[1])


@pytest.mark.parametrize("T", [1, 3])
def test_stock_dqn_learns_with_a_spiking_policy(T: int, tmp_path: Path) -> None:
    env = make_vec_env(Count, 2)
    model = DQN(
        SpikingMlpPolicy, env, policy_kwargs={"T": T, "net_arch": [16]}, learning_starts=20, batch_size=8,
        buffer_size=500, target_update_interval=20, seed=0, device="cpu",
    )  # fmt: skip
    before = {key: value.clone() for key, value in model.q_net.state_dict().items()}
    model.learn(120)
    changed = {key for key, value in model.q_net.state_dict().items() if not th.equal(value, before[key])}
    # at T = 1 and from rest there is nothing to leak
    assert changed == {key for key in before if T > 1 or "decay" not in key}
    model.save(tmp_path / "model")
    again = DQN.load(tmp_path / "model", env=env, device="cpu")
    observation = env.reset()
    assert again.q_net.network.T == T
    assert th.equal(model.q_net(th.as_tensor(observation)), again.q_net(th.as_tensor(observation)))
    again.learn(40, reset_num_timesteps=False)


def test_stock_dqn_learns_images_with_a_spiking_policy() -> None:
    model = DQN(
        SpikingCnnPolicy, make_vec_env(Pixels, 1), policy_kwargs={"T": 1}, learning_starts=10, batch_size=4,
        buffer_size=50, seed=0, device="cpu",
    )  # fmt: skip
    assert model.learn(20)._n_updates > 0


def test_stock_dqn_learns_a_task_without_memory() -> None:
    env = make_vec_env(Visible, 4, seed=0)
    model = DQN(
        SpikingMlpPolicy, env, policy_kwargs={"T": 1, "net_arch": [32]}, learning_rate=5e-3, learning_starts=50,
        batch_size=32, buffer_size=2000, target_update_interval=50, exploration_fraction=0.5, gamma=0.0, seed=0,
        device="cpu",
    )  # fmt: skip
    model.learn(1000)
    action, _ = model.predict(np.eye(3, dtype=np.float32)[:2], deterministic=True)
    assert action.tolist() == [0, 1]


class Visible(Recall):
    """One step: name the cue that is shown."""

    def __init__(self) -> None:
        super().__init__(delay=-1)
