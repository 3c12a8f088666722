"""Stable-Baselines3 zips of spiking agents: the same play, from what a SpikingDQN says of its network or from its tensors."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import PIXELS, Pixels, conv_spec, mlp_spec
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack
from test_zips import Tiny, changed, rewrite, zipped

from snn_rl import SpikingDQN, SpikingMlpPolicy
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.sb3.described import Description
from snn_rl.sb3.zips import load_agent, load_zip
from snn_rl.store import agents

pytestmark = pytest.mark.usefixtures("pixels")


def older(path: Path) -> Path:
    """A zip as it was saved before it described its network."""
    return rewrite(path, "data", changed(lambda data: data.pop("network_description")))


def spiking(env: Any = "CartPole-v1", policy: str = "MlpPolicy", **settings: Any) -> SpikingDQN:
    return SpikingDQN(policy, env, buffer_size=100, seed=0, device="cpu", **settings)


def assert_same_play(model: DQN, agent: agents.Agent, steps: int = 20) -> None:
    """The same actions and membranes as the model, from rest and carried."""
    model.observation_space.seed(0)
    mine, theirs, start = None, None, np.ones(1, dtype=bool)
    for _ in range(steps):
        observation = model.observation_space.sample()[None]
        if observation.dtype != np.uint8:
            observation = observation.clip(-3, 3)
        expected, theirs = model.predict(observation, theirs, start, deterministic=True)
        action, mine = agent.predict(observation, mine, start)
        assert np.array_equal(action, expected)
        assert all(th.allclose(a, b) for a, b in zip(mine, theirs, strict=True))
        start = np.zeros(1, dtype=bool)
    assert mine[-1].abs().sum() > 0


@pytest.mark.parametrize(
    "policy_kwargs", [{}, {"net_arch": [12, 7]}, {"decay": (0.1, 0.9), "recurrent": True, "net_arch": [9]}]
)
@pytest.mark.parametrize("carry", [True, False])
def test_a_spiking_dqn_plays_the_same_from_its_zip(tmp_path: Path, policy_kwargs: dict[str, Any], carry: bool) -> None:
    model = spiking(T=2, carry=carry, policy_kwargs=policy_kwargs)
    agent = load_agent(zipped(model, tmp_path), "CartPole-v1")
    assert (agent.name, agent.network.T, agent.network.carry) == ("T2", 2, carry)
    assert_same_play(model, agent)


def test_a_spiking_cnn_plays_the_same_from_its_zip(tmp_path: Path) -> None:
    model = spiking(VecFrameStack(make_vec_env(Pixels, 1), 4), "CnnPolicy", T=1, policy_kwargs={"net_arch": [11]})
    agent = load_zip(zipped(model, tmp_path), PIXELS)
    assert (agent.name, agent.frames, agent.network.layer_names[:3]) == ("T1", 4, ["conv1", "conv2", "conv3"])
    assert agent.network.input_scale == 1 / 255
    assert_same_play(model, agent)


def test_a_stock_dqn_with_a_spiking_policy_is_read(tmp_path: Path) -> None:
    model = DQN(SpikingMlpPolicy, "CartPole-v1", buffer_size=10, policy_kwargs={"T": 3, "carry": False}, device="cpu")
    agent = load_zip(zipped(model, tmp_path), "CartPole-v1")
    assert (agent.network.T, agent.network.carry) == (3, False)
    assert_same_play(model, agent)


def test_a_spiking_dqn_without_timesteps_is_an_ann(tmp_path: Path) -> None:
    model = spiking(T=0)
    agent = load_zip(zipped(model, tmp_path), "CartPole-v1")
    assert (agent.name, agent.network.T) == ("ann", 0)
    observations = th.randn(8, 4)
    with th.no_grad():
        assert th.equal(model.q_net(observations), agent.network(observations)[0])


@pytest.mark.parametrize("policy_kwargs", [{}, {"decay": (0.1, 0.9), "recurrent": True}])
def test_a_spiking_dqn_with_a_custom_extractor_describes_its_network_itself(
    tmp_path: Path, policy_kwargs: dict[str, Any]
) -> None:
    kwargs = {"features_extractor_class": Tiny, "features_extractor_kwargs": {"width": 13}, "net_arch": [6]}
    path = zipped(model := spiking(T=1, policy_kwargs=kwargs | policy_kwargs), tmp_path)
    assert_same_play(model, load_zip(path, "CartPole-v1"))
    assert_same_play(model, load_zip(path, "CartPole-v1", "test_zips:Tiny"))  # as older versions had to be told


def test_an_older_spiking_dqn_with_a_custom_extractor_needs_its_name(tmp_path: Path) -> None:
    kwargs = {"features_extractor_class": Tiny, "features_extractor_kwargs": {"width": 13}, "net_arch": [6]}
    path = older(zipped(model := spiking(T=1, policy_kwargs=kwargs), tmp_path))
    with pytest.raises(UserError, match=r"custom feature extractor .*--extractor module:Class"):
        load_zip(path, "CartPole-v1")
    assert_same_play(model, load_zip(path, "CartPole-v1", "test_zips:Tiny"))


@pytest.mark.parametrize("policy_kwargs", [{}, {"decay": (0.1, 0.9), "recurrent": True, "net_arch": [9]}])
def test_an_older_zip_plays_the_same(tmp_path: Path, policy_kwargs: dict[str, Any]) -> None:
    path = older(zipped(model := spiking(T=2, policy_kwargs=policy_kwargs), tmp_path))
    assert_same_play(model, load_zip(path, "CartPole-v1"))
    again = SpikingDQN.load(path, device="cpu")
    assert all(th.equal(value, again.policy.state_dict()[key]) for key, value in model.policy.state_dict().items())


@pytest.mark.parametrize("stock", [True, False])
def test_a_policy_that_was_built_from_a_spec_plays_the_same_from_its_zip(tmp_path: Path, stock: bool) -> None:
    pooled = [{"type": "AvgPool2d", "kernel_size": 8, "stride": 4, "padding": 0}, *conv_spec(2)]
    kwargs = {"spec": pooled, "T": 2}
    venv = VecFrameStack(make_vec_env(Pixels, 1), 2)
    if stock:
        model = DQN(SpikingMlpPolicy, venv, buffer_size=10, policy_kwargs=kwargs, device="cpu")
    else:
        model = spiking(venv, T=kwargs.pop("T"), policy_kwargs=kwargs)
    agent = load_agent(zipped(model, tmp_path), PIXELS)
    assert (agent.frames, agent.network.input_scale, agent.network.spec) == (2, 1 / 255, QNetwork(pooled, 2).spec)
    assert_same_play(model, agent)


@pytest.mark.parametrize(
    ("key", "value"), [("T", -1), ("T", "2"), ("T", 0), ("decay", 7), ("decay", [1]), ("decay", "x"), ("recurrent", True)]
)
def test_policy_arguments_that_do_not_fit_the_tensors_are_an_error(tmp_path: Path, key: str, value: Any) -> None:
    path = older(zipped(spiking(T=2), tmp_path))
    rewrite(path, "data", changed(lambda data: data["policy_kwargs"].update({key: value})))
    with pytest.raises(UserError) as error:
        load_zip(path, "CartPole-v1")
    assert "\n" not in str(error.value)


# What a SpikingDQN wrote about its network, changed by a stranger


def told(path: Path, **change: Any) -> Path:
    return rewrite(path, "data", changed(lambda data: data["network_description"].update(change)))


@pytest.mark.parametrize(
    "change",
    [
        {"T": -1}, {"T": "2"}, {"T": 0}, {"T": True}, {"T": 10**9}, {"carry": 1}, {"input_scale": "x"},
        {"input_scale": float("nan")}, {"observation_shape": 4}, {"observation_shape": []}, {"observation_shape": [0]},
        {"observation_shape": [4, 4]}, {"observation_shape": [10**12]}, {"network": []}, {"network": 3}, {"network": ["x"]},
        {"network": [{}]}, {"network": [{"type": "Linear"}]}, {"network": [{"type": "LayerNorm"}]},
        {"network": [{"type": "Linear", "in_features": 10**9, "out_features": 10**9, "bias": True}]},
        {"network": [{"type": "Flatten"}] * 10**6},
        {"network": [{"type": "Linear", "in_features": 4, "out_features": 2, "bias": True, "device": "cpu"}]},
        {"network": mlp_spec(4, 64, 64, 3)}, {"network": mlp_spec(4, 64, 2)},
        {"network": mlp_spec(4, 64, 64, 2), "T": None},
    ],
)  # fmt: skip
def test_a_description_that_is_none_or_does_not_fit_the_tensors_is_an_error(tmp_path: Path, change: dict[str, Any]) -> None:
    path = told(zipped(SpikingDQN("MlpPolicy", "CartPole-v1", T=2, buffer_size=100, device="cpu"), tmp_path), **change)
    with pytest.raises(UserError, match=r"model\.zip") as error:
        load_zip(path, "CartPole-v1")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("content", [None, 3, "x", []])
def test_a_description_that_is_no_object_is_an_error(tmp_path: Path, content: Any) -> None:
    model = SpikingDQN("MlpPolicy", "CartPole-v1", buffer_size=100, device="cpu")
    path = rewrite(
        zipped(model, tmp_path),
        "data",
        changed(lambda data: data.update({"network_description": content, "policy_kwargs": 1})),
    )
    if content is None:  # as older versions had it
        assert load_zip(path, "CartPole-v1").network.T == 1
        return
    with pytest.raises(UserError, match="is damaged"):
        load_zip(path, "CartPole-v1")


def test_layers_that_would_fill_the_memory_are_refused_before_they_do(tmp_path: Path) -> None:
    spec = [
        {"type": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3, "bias": True}, {"type": "LIF"},
        {"type": "AvgPool2d", "kernel_size": 4, "stride": 4}, {"type": "Flatten"},
        {"type": "Linear", "in_features": 128, "out_features": 3, "bias": True},
    ]  # fmt: skip
    model = SpikingDQN("MlpPolicy", make_vec_env(Pixels, 1), buffer_size=100, device="cpu", policy_kwargs={"spec": spec})
    path = zipped(model, tmp_path)
    assert load_zip(path, PIXELS).network.spec == spec
    wide = {**spec[0], "padding": 100_000}  # the same weights, 80 billion neurons
    pool = {**spec[2], "kernel_size": 25_004, "stride": 25_004}
    with pytest.raises(UserError, match=r"more than 10,000,000 neurons"):
        load_zip(told(path, network=[wide, spec[1], pool, *spec[3:]]), PIXELS)


def test_a_spiking_zip_of_another_environment_is_told(tmp_path: Path) -> None:
    path = zipped(SpikingDQN("MlpPolicy", "CartPole-v1", buffer_size=100, device="cpu"), tmp_path)
    with pytest.raises(UserError, match="takes observations of 4 but 'Acrobot-v1' gives 6; is this the right --env"):
        load_zip(path, "Acrobot-v1")
    other = zipped(SpikingDQN("MlpPolicy", "MountainCar-v0", buffer_size=100, device="cpu"), tmp_path)
    with pytest.raises(UserError, match="takes observations of 2 but 'CartPole-v1' gives 4"):
        load_zip(other, "CartPole-v1")


def test_no_change_of_a_description_does_more_than_be_refused() -> None:
    spec = [{"type": "AvgPool2d", "kernel_size": 2, "stride": 2, "padding": 0}, *conv_spec(2)]
    spec[2] = {"type": "LIF", "decays": 4}
    network = QNetwork(spec, 2)
    description, weights = Description.of(network, (2, 16, 16)).to_json(), network.state_dict()
    assert Description.read(description, "model.zip").build(weights, "model.zip").spec == network.spec
    values = [0, -1, 2, 10**4, 10**9, 10**30, True, None, "same", "x", [], [0, 0], [1, 2, 3], [10**8, 10**8], {}, 1.5, 1e308]
    keys = ["kernel_size", "stride", "padding", "dilation", "groups", "out_channels", "in_features", "decays", "x"]
    rng = random.Random(0)
    for _ in range(300):
        layer, key = rng.randrange(len(network.spec)), rng.choice(keys)
        layers = [{**other, key: rng.choice(values)} if n == layer else other for n, other in enumerate(network.spec)]
        with contextlib.suppress(UserError):
            built = Description.read({**description, "network": layers}, "model.zip").build(weights, "model.zip")
            assert built.state_dict().keys() == weights.keys()
