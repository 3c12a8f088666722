"""Batch norm goes into the convolution before it, and dropout silences the same neurons at every timestep."""

from __future__ import annotations

import pytest
import torch as th

from snn_rl.core.fold import folded
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import Spec, UnconvertibleError, check_layers

NORM = {"type": "BatchNorm2d", "num_features": 1}
CONV = {"type": "Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1, "bias": False}


def network(*layers: dict[str, object]) -> QNetwork:
    spec: Spec = [*layers, {"type": "Flatten"}, {"type": "Linear", "in_features": 4, "out_features": 2, "bias": True}]
    return QNetwork(spec, 0, carry=False)


def test_the_weight_and_the_bias_are_those_of_the_formula() -> None:
    ann = network(CONV, NORM, {"type": "ReLU"})
    conv, norm = ann.synapses[0]
    with th.no_grad():
        conv.weight.fill_(3.0)
        norm.weight.fill_(2.0)
        norm.bias.fill_(0.5)
        norm.running_mean.fill_(6.0)
        norm.running_var.fill_(16.0 - norm.eps)
    (plain,) = folded(ann).synapses[0]
    assert plain.weight.item() == pytest.approx(3 * 2 / 4)
    assert plain.bias.item() == pytest.approx((0 - 6) * 2 / 4 + 0.5)


@pytest.mark.parametrize("bias", [False, True])
def test_a_folded_network_computes_the_same(bias: bool) -> None:
    pool = {"type": "AvgPool2d", "kernel_size": 1, "stride": 1, "padding": 0}
    ann = network({**CONV, "bias": bias}, NORM, {"type": "ReLU"}, pool, CONV, NORM, {"type": "ReLU"})
    for _ in range(20):  # running statistics
        ann(th.randn(8, 1, 2, 2))
    before = {key: value.clone() for key, value in ann.state_dict().items()}
    images = th.randn(8, 1, 2, 2)
    plain = folded(ann)
    th.testing.assert_close(plain(images)[0], ann.eval()(images)[0])
    assert all(layer["type"] != "BatchNorm2d" for layer in plain.spec)
    assert all(bool((before[key] == value).all()) for key, value in ann.state_dict().items())


def test_batch_norm_elsewhere_is_refused() -> None:
    pool = {"type": "AvgPool2d", "kernel_size": 1, "stride": 1, "padding": 0}
    with pytest.raises(UnconvertibleError, match="right before it"):
        folded(network(CONV, pool, NORM, {"type": "ReLU"}))
    with pytest.raises(UnconvertibleError, match="fold it into the weights"):
        QNetwork(network(CONV, NORM, {"type": "ReLU"}).spec, 1)
    with pytest.raises(UnconvertibleError, match="no layer of a network"):
        check_layers([CONV, NORM])  # nor in a file


def test_dropout_silences_the_same_neurons_at_every_timestep() -> None:
    spec: Spec = [
        {"type": "Linear", "in_features": 1, "out_features": 100, "bias": False},
        {"type": "LIF"},
        {"type": "Linear", "in_features": 100, "out_features": 1, "bias": False},
    ]
    net = QNetwork(spec, 4, carry=False)
    with th.no_grad():
        net.synapses[0][0].weight.fill_(1.0)
        net.synapses[1][0].weight.fill_(1.0)
    net.dropout = 0.5
    ones = th.full((1, 1, 1), 2.0)  # each neuron fires at each timestep
    q = net.unroll(ones)[0].item()
    kept = q / 2  # a kept spike counts twice
    assert kept == pytest.approx(round(kept))  # neurons that are silent at some timesteps would add fractions
    assert 0 < kept < 100
    assert net.unroll(ones)[0].item() != q
    assert net.eval().unroll(ones)[0].item() == 100
