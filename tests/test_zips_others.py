"""Zips and live models of other algorithms than DQN: the same values, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import PIXELS, Pixels
from gymnasium import spaces
from sb3_contrib import QRDQN, TRPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecFrameStack
from test_zips import Tiny, rewrite, tensors, zipped
from torch import nn

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.layers import mean_over_quantiles
from snn_rl.sb3.zips import load_agent, load_zip
from snn_rl.store import agents
from snn_rl.store.agents import fingerprint

pytestmark = pytest.mark.usefixtures("pixels")

CARTPOLE = "CartPole-v1"
LOGITS = "; its values are logits of its policy, no Q-values"


def teacher(kind: type[BaseAlgorithm], env: Any = CARTPOLE, policy: str = "MlpPolicy", **policy_kwargs: Any) -> Any:
    """A model whose last layer has weights of an ordinary size (PPO's begin near 0)."""
    settings = {"buffer_size": 10} if kind in (DQN, QRDQN) else {}
    model = kind(policy, env, policy_kwargs=policy_kwargs, seed=0, device="cpu", **settings)
    for name, weight in model.policy.named_parameters():
        if name.startswith("action_net"):
            nn.init.normal_(weight)
    return model


def values(model: Any, observations: th.Tensor) -> th.Tensor:
    """Q-values, or normalised logits, as the model itself computes them."""
    with th.no_grad():
        if isinstance(model, QRDQN):
            return model.policy.quantile_net(observations).mean(1)
        if isinstance(model, DQN):
            return model.q_net(observations)
        return model.policy.get_distribution(observations).distribution.logits


def assert_same(model: Any, network: QNetwork) -> None:
    """Its values to rounding, and its greedy actions."""
    space = model.observation_space
    box = space if space.dtype == np.uint8 else spaces.Box(-3, 3, space.shape, np.float32, seed=0)
    box.seed(0)
    observations = th.as_tensor(np.stack([box.sample() for _ in range(64)]))
    theirs = values(model, observations)
    with th.no_grad():
        ours = network(observations)[0]
    if not isinstance(model, DQN | QRDQN):
        ours = ours.log_softmax(-1)
    assert th.allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert theirs.std() > 1e-3
    assert np.array_equal(model.predict(observations.numpy(), deterministic=True)[0], ours.argmax(-1).numpy())


def types(network: QNetwork) -> list[str]:
    return [layer["type"] for layer in network.spec]


# The same values


@pytest.mark.parametrize("policy_kwargs", [{}, {"net_arch": [9, 5], "n_quantiles": 7}, {"activation_fn": nn.Tanh}])
def test_the_mean_over_quantiles_is_folded_into_the_last_layer(tmp_path: Path, policy_kwargs: dict[str, Any]) -> None:
    model = teacher(QRDQN, **policy_kwargs)
    agent = load_agent(zipped(model, tmp_path), CARTPOLE)
    assert [layer["out_features"] for layer in agent.network.spec if layer["type"] == "Linear"][-1] == 2
    assert_same(model, agent.network)
    assert fingerprint(load_agent(model, CARTPOLE).network) == fingerprint(agent.network)
    assert agent.made.how == "read from the Stable-Baselines3 file model.zip; its Q-values are the means of its quantiles"
    assert agent.made.logits is None


def test_the_fold_is_exact_to_rounding() -> None:
    quantiles = nn.Linear(6, 50 * 3).double()
    folded = mean_over_quantiles(quantiles, 50)
    x = th.randn(100, 6).double()
    with th.no_grad():
        exact = quantiles(x).view(-1, 50, 3).mean(1)
        assert th.allclose(folded.double()(x), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [PPO, A2C, TRPO])
@pytest.mark.parametrize(
    "policy_kwargs",
    [
        {},
        {"net_arch": [8, 6]},
        {"net_arch": {"pi": [7], "vf": [3, 3]}},
        {"net_arch": {"vf": [3]}},
        {"net_arch": []},
        {"activation_fn": nn.ReLU, "share_features_extractor": False},
    ],
)
def test_logits_are_the_values_of_an_actor(tmp_path: Path, kind: type[BaseAlgorithm], policy_kwargs: dict[str, Any]) -> None:
    model = teacher(kind, **policy_kwargs)
    agent = load_agent(zipped(model, tmp_path), CARTPOLE)
    assert_same(model, agent.network)
    assert fingerprint(load_agent(model, CARTPOLE).network) == fingerprint(agent.network)
    relu = policy_kwargs.get("activation_fn") is nn.ReLU
    assert set(types(agent.network)) - {"Flatten", "Linear"} <= {"ReLU" if relu else "Tanh"}
    assert agent.made.how == f"read from the Stable-Baselines3 file model.zip{LOGITS}"
    assert agent.made.logits is True
    assert (load_agent(model, CARTPOLE).made.how or "").endswith(f"{kind.__name__}{LOGITS}")
    again = agents.load(agents.save(agent, tmp_path / "ann"))  # a folder says it too
    assert again.made.logits is True
    assert_same(model, again.network)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("net_arch", [None, [11]])
@pytest.mark.parametrize("stack", [1, 2])
def test_an_actor_that_sees_images_is_read(tmp_path: Path, share: bool, net_arch: list[int] | None, stack: int) -> None:
    env = make_vec_env(Pixels, 1)
    env = VecFrameStack(env, stack) if stack > 1 else env
    model = teacher(PPO, env, "CnnPolicy", share_features_extractor=share, net_arch=net_arch)
    agent = load_agent(zipped(model, tmp_path), PIXELS)
    assert (agent.frames, agent.network.input_scale) == (stack, 1 / 255)
    assert [kind for kind in types(agent.network) if kind in ("ReLU", "Tanh")] == ["ReLU"] * 4 + ["Tanh"] * bool(net_arch)
    assert_same(model, agent.network)
    assert fingerprint(load_agent(model, PIXELS).network) == fingerprint(agent.network)


def test_quantiles_of_images_are_read(tmp_path: Path) -> None:
    model = teacher(QRDQN, make_vec_env(Pixels, 1), "CnnPolicy", n_quantiles=4)
    agent = load_agent(zipped(model, tmp_path), PIXELS)
    assert_same(model, agent.network)
    assert fingerprint(load_agent(model, PIXELS).network) == fingerprint(agent.network)


@pytest.mark.parametrize("kind", [PPO, QRDQN])
def test_numbers_are_seen_one_hot(tmp_path: Path, kind: type[BaseAlgorithm]) -> None:
    model = teacher(kind, "FrozenLake-v1", net_arch=[6])
    agent = load_agent(zipped(model, tmp_path), "FrozenLake-v1")
    assert agent.observation_shape == (16,)
    assert fingerprint(load_agent(model, "FrozenLake-v1").network) == fingerprint(agent.network)
    with th.no_grad():
        ours, theirs = agent.network(th.eye(16))[0], values(model, th.arange(16))
    assert th.allclose(ours.log_softmax(-1), theirs.log_softmax(-1), atol=1e-5)


def test_a_dqn_may_have_tanhs(tmp_path: Path) -> None:
    model = teacher(DQN, activation_fn=nn.Tanh)
    agent = load_agent(zipped(model, tmp_path), CARTPOLE)
    assert types(agent.network).count("Tanh") == 2
    assert_same(model, agent.network)
    assert agent.made.logits is None


def test_the_custom_extractor_of_an_actor_has_to_be_named(tmp_path: Path) -> None:
    model = teacher(PPO, features_extractor_class=Tiny, features_extractor_kwargs={"width": 13}, net_arch=[6])
    path = zipped(model, tmp_path)
    with pytest.raises(UserError, match=r"custom feature extractor \(.*Tiny.*--extractor module:Class"):
        load_zip(path, CARTPOLE)
    assert_same(model, load_zip(path, CARTPOLE, "test_zips:Tiny").network)
    assert_same(model, load_agent(model, CARTPOLE).network)


def test_layers_that_actor_and_critic_shared_before_version_1_8_are_read(tmp_path: Path) -> None:
    model = teacher(PPO, net_arch=[8, 6])

    def share(state: dict[str, th.Tensor]) -> None:
        for kind in ("weight", "bias"):
            state[f"mlp_extractor.shared_net.0.{kind}"] = state.pop(f"mlp_extractor.policy_net.0.{kind}")
            state[f"mlp_extractor.policy_net.0.{kind}"] = state.pop(f"mlp_extractor.policy_net.2.{kind}")

    assert_same(model, load_zip(rewrite(zipped(model, tmp_path), "policy.pth", tensors(share)), CARTPOLE).network)


# Activations that have to be named


class Own(ActorCriticPolicy):
    """A policy whose zip does not tell its activation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "activation_fn": nn.ReLU})


def test_the_activation_of_an_own_policy_class_has_to_be_named(tmp_path: Path) -> None:
    model = teacher(PPO, policy=Own)  # type: ignore[arg-type]
    path = zipped(model, tmp_path)
    with pytest.raises(
        UserError, match=r"a policy class of its own \(in test_zips_others\).*; name it with --activation ReLU or Tanh"
    ):
        load_zip(path, CARTPOLE)
    assert_same(model, load_zip(path, CARTPOLE, activation="ReLU").network)
    assert_same(model, load_agent(model, CARTPOLE).network)  # a live model tells


def test_an_activation_that_the_zip_tells_need_not_be_named(tmp_path: Path) -> None:
    model = teacher(PPO, activation_fn=nn.ReLU)
    path = zipped(model, tmp_path)
    assert_same(model, load_zip(path, CARTPOLE, activation="ReLU").network)
    with pytest.raises(UserError, match=r"--activation Tanh: '.*' says ReLU"):
        load_zip(path, CARTPOLE, activation="Tanh")
    with pytest.raises(UserError, match="--activation ELU: choose from ReLU, Tanh"):
        load_zip(path, CARTPOLE, activation="ELU")
    with pytest.raises(UserError, match="--activation is for an SB3 zip; 'CartPole-v1/ann' is none"):
        load_agent("CartPole-v1/ann", activation="ReLU")


def test_an_activation_under_another_name_may_be_named(tmp_path: Path) -> None:
    class Rectified(nn.ReLU):
        pass

    model = teacher(A2C, activation_fn=Rectified)
    path = zipped(model, tmp_path)
    with pytest.raises(
        UnconvertibleError,
        match=r"activation Rectified has no spiking counterpart.* ReLU or a Tanh under another name, say so with --activation",
    ):
        load_zip(path, CARTPOLE)
    assert_same(model, load_zip(path, CARTPOLE, activation="ReLU").network)
