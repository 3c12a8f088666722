"""Policies that are built from the description of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, mlp_spec, same
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from test_policy import VECTOR, mlp, seen
from torch import nn

from snn_rl import SpikingCnnPolicy, SpikingMlpPolicy
from snn_rl.core.errors import UserError
from snn_rl.core.spec import spiking
from snn_rl.sb3.policy import SpikingPolicy


def from_spec(spec: Any, **kwargs: Any) -> SpikingMlpPolicy:
    return SpikingMlpPolicy(VECTOR, spaces.Discrete(4), lambda _: 1e-3, spec=spec, **kwargs)


@pytest.mark.parametrize("kind", [SpikingMlpPolicy, SpikingCnnPolicy])
def test_a_spec_is_the_whole_network(kind: type[SpikingPolicy], tmp_path: Path) -> None:
    image, spec = spaces.Box(0, 255, (2, 8, 8), np.uint8), conv_spec(2)
    policy = kind(image, spaces.Discrete(3), lambda _: 1e-3, spec=spec, T=2, decay=0.7)
    network = policy.q_net.network
    assert (network.spec, network.T, network.input_scale) == (spiking(spec), 2, 1 / 255)
    assert [lif.decay.item() for lif in network.lifs] == pytest.approx([0.7] * 3)
    assert not any(isinstance(module, BaseFeaturesExtractor) for module in policy.modules())
    optimised = [p for group in policy.optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in optimised} == {id(p) for p in policy.q_net.parameters()}
    policy.save(str(tmp_path / "policy.pkl"))
    again = kind.load(str(tmp_path / "policy.pkl"))
    observation = seen(policy, 3)
    assert same(policy.predict(observation)[1], again.predict(observation)[1])
    assert kind(image, spaces.Discrete(3), lambda _: 1e-3, spec=spec, input_scale=0.5).q_net.network.input_scale == 0.5


def test_untrained_every_layer_of_a_spec_spikes() -> None:
    image = spaces.Box(0, 255, (2, 8, 8), np.uint8)
    policy = SpikingMlpPolicy(image, spaces.Discrete(3), lambda _: 1e-3, spec=conv_spec(2), T=2)
    record: list[th.Tensor] = []
    policy.q_net.network.unroll(th.as_tensor(seen(policy, 32))[None], record=record)
    assert all(0.01 < z.mean().item() < 0.9 for z in record)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"net_arch": [8]}, "net_arch"),
        ({"net_arch": []}, "net_arch"),
        ({"features_extractor_class": FlattenExtractor}, "features_extractor_class"),
        ({"features_extractor_kwargs": {"features_dim": 8}, "net_arch": [8]}, "net_arch, features_extractor_kwargs"),
        ({"activation_fn": nn.Tanh}, "activation_fn"),
        ({"recurrent": True}, "recurrent"),
    ],
)
def test_a_spec_and_what_it_takes_the_place_of_are_an_error(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=f"leave out {named}, or leave out spec"):
        from_spec(mlp_spec(5, 8, 4), **given)
    with pytest.raises(
        UserError, match="input_scale goes with spec: without one, normalize_images says whether pixels are scaled"
    ):
        mlp(input_scale=0.5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (mlp_spec(6, 8, 4), r"do not fit observations of shape \(5,\)"),
        (
            mlp_spec(5, 8, 3),
            "the layers of spec end with 3 outputs, the environment has 4 actions; give the last layer one output for",
        ),
        (conv_spec(), r"do not fit observations of shape \(5,\)"),
        ("MlpPolicy", r"does not describe a network \(.*\); see snn_rl\.core\.spec"),
        ([{"type": "Linear"}], "not a layer"),
        ([{}], "does not describe a network"),
        (mlp_spec(5, 8, 4)[1:], "no Conv2d or Linear"),
    ],
)
def test_a_spec_that_does_not_fit_is_an_error(spec: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        from_spec(spec)
    assert "\n" not in str(error.value)


def test_a_pair_of_decays_needs_a_spec_that_has_them() -> None:
    spec = mlp_spec(5, 8, 4)
    with pytest.raises(UserError, match='"decays" in every layer of neurons of spec; give one number, or name them'):
        from_spec(spec, decay=(0.1, 0.9))
    spec[1]["decays"] = 8
    assert from_spec(spec, decay=(0.1, 0.9)).q_net.network.lifs[0].decay.tolist()[::7] == pytest.approx([0.1, 0.9])
