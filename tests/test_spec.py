"""Layers as text: what can be made spiking, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from conftest import conv_spec, mlp_spec
from torch import Tensor, nn

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError, analog, describe, rectified, spiking, split_at_neurons
from snn_rl.sb3.layers import Layers, leaves, read_layers


def test_a_description_is_rebuilt_as_the_same_layers() -> None:
    modules = [
        nn.Conv2d(2, 4, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2), groups=2, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2, stride=1, padding=1),
        nn.Flatten(),
        nn.Linear(100, 2),
    ]
    (first, second) = QNetwork(describe(named(*modules)), T=1).synapses
    assert [repr(layer) for layer in (*first, *second)] == [repr(m) for m in modules if not isinstance(m, nn.ReLU)]


def named(*modules: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(f"body.{n}", module) for n, module in enumerate(modules)]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (nn.MaxPool2d(2), "MaxPool2d"),
        (nn.Sigmoid(), "Sigmoid"),
        (nn.BatchNorm2d(4), "BatchNorm2d"),
        (nn.LSTM(4, 4), "LSTM"),
        (nn.LeakyReLU(), "LeakyReLU"),
        (nn.Dropout(), "Dropout"),
        (nn.AvgPool2d(2, ceil_mode=True), "ceil_mode=False"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), "AvgPool2d must divide"),
        (nn.AvgPool2d(2, divisor_override=3), "AvgPool2d must divide"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "padding_mode='zeros'"),
        (nn.Flatten(2), "Flatten must flatten all but the batch"),
    ],
)
def test_a_module_that_cannot_be_converted_is_named(bad: nn.Module, why: str) -> None:
    with pytest.raises(UnconvertibleError, match=r"'body\.2'.*") as error:
        describe(named(nn.Conv2d(1, 4, 3), nn.ReLU(), bad, nn.Flatten(), nn.Linear(4, 2)))
    assert why in str(error.value)


def test_a_subclass_of_a_convertible_module_is_not_trusted() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    with pytest.raises(UnconvertibleError, match="Doubled"):
        describe(named(Doubled(2, 2)))


@pytest.mark.parametrize(
    ("modules", "where"),
    [
        ((nn.ReLU(), nn.Linear(2, 2)), "before ReLU number 1"),
        ((nn.Linear(2, 2), nn.ReLU()), "after the last ReLU"),
        ((nn.Linear(2, 2), nn.ReLU(), nn.Flatten(), nn.ReLU(), nn.Linear(2, 2)), "before ReLU number 2"),
        ((nn.Flatten(),), "after the last ReLU"),
        ((), "after the last ReLU"),
    ],
)
def test_an_order_that_cannot_spike_is_an_error(modules: tuple[nn.Module, ...], where: str) -> None:
    with pytest.raises(UnconvertibleError, match=where):
        describe(named(*modules))


def test_identities_are_dropped_and_relu_twice_is_relu() -> None:
    spec = describe(named(nn.Identity(), nn.Linear(2, 3), nn.ReLU(), nn.ReLU(), nn.Linear(3, 1, bias=False)))
    assert [layer["type"] for layer in spec] == ["Linear", "ReLU", "Linear"]
    assert [layer["bias"] for layer in spec if layer["type"] == "Linear"] == [True, False]


@pytest.mark.parametrize("layer", [{"type": "Sigmoid"}, {"type": "Linear", "in_features": 2, "evil": 1}])
def test_a_spec_that_is_no_network_is_an_error(layer: dict[str, Any]) -> None:
    with pytest.raises(UnconvertibleError, match="not a layer"):
        QNetwork([layer, *mlp_spec(2, 2)], T=1)


def test_an_activation_object_that_is_used_twice_counts_twice() -> None:
    relu = nn.ReLU()
    layers = nn.Sequential(nn.Linear(2, 3), relu, nn.Linear(3, 3), relu, nn.Linear(3, 2))
    network = read_layers(Layers(list(leaves("body", layers))), T=0, input_scale=1.0)
    x = th.randn(50, 2)
    assert th.allclose(network(x)[0], layers(x), atol=1e-6)


def test_a_spiking_network_calls_its_neurons_lif_and_an_ann_relu_whatever_they_were_called() -> None:
    own, relu = {"decays": 5, "recurrent": 5}, mlp_spec(4, 5, 2)
    for written in ({"type": "ReLU"}, {"type": "LIF"}, {"type": "ReLU", **own}, {"type": "LIF", **own}):
        given = [relu[0], written, relu[2]]
        assert QNetwork(given, T=0).spec == relu
        assert QNetwork(given, T=2).spec == [relu[0], {**written, "type": "LIF"}, relu[2]]
        assert given[1] is written  # what was given stays as it is


def test_a_description_from_before_the_name_lif_is_the_same_network() -> None:
    """Of cards and zips that call the neurons of spiking networks ReLU."""
    new = spiking(conv_spec(), decays=True, recurrent=True)
    old = [{**layer, "type": "ReLU"} if layer["type"] == "LIF" else layer for layer in new]
    assert [layer.get("decays") for layer in new if layer["type"] == "LIF"] == [4, 5, 6]
    one, other = QNetwork(old, T=2), QNetwork(new, T=2)
    assert one.spec == other.spec == new
    other.load_state_dict(one.state_dict())
    x = th.rand(3, 2, 1, 8, 8)
    assert th.equal(one.unroll(x)[0], other.unroll(x)[0])


def test_spiking_and_analog_are_each_others_inverse_and_keep_the_synapses() -> None:
    ann = conv_spec()
    marked = spiking(ann, decays=True, recurrent=True)
    assert analog(marked) == analog(spiking(ann)) == ann
    assert spiking(marked) == marked  # what neurons say of themselves stays
    assert [layer["type"] for layer in spiking(ann) if layer["type"] in ("ReLU", "LIF")] == ["LIF"] * 3
    assert split_at_neurons(marked)[0] == split_at_neurons(ann)[0]
    assert [layer.get("recurrent") for layer in split_at_neurons(marked)[1]] == [None, None, 6]  # within dense layers


def test_neurons_that_say_something_unknown_are_an_error() -> None:
    spec = mlp_spec(2, 3, 2)
    spec[1] = {"type": "LIF", "adapts": 3}
    with pytest.raises(UnconvertibleError, match=r"not a layer of neurons: .*adapts"):
        QNetwork(spec, T=1)


def test_a_tanh_stays_a_tanh_in_an_ann_and_becomes_a_lif_in_a_spiking_network() -> None:
    spec = describe(named(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    assert [layer["type"] for layer in analog(spec)] == ["Linear", "Tanh", "Linear", "ReLU", "Linear"]
    assert [layer["type"] for layer in spiking(spec)] == ["Linear", "LIF", "Linear", "LIF", "Linear"]
    assert [layer["type"] for layer in analog(spiking(spec))] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert (rectified(spec), rectified(mlp_spec(2, 3, 2))) == (False, True)
    assert QNetwork(spec, T=0).spec == spec


def test_a_network_of_tanhs_computes_them() -> None:
    layers = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    network = read_layers(Layers(list(leaves("body", layers))), T=0, input_scale=1.0)
    x, recorded = th.randn(5, 1, 2), list[Tensor]()
    q, state = network.unroll(x, record=recorded)
    assert th.allclose(q, layers(x), atol=1e-6)
    assert state == ()
    assert not network.spiking
    assert bool((recorded[0] < 0).any())


def test_a_spiking_policy_has_no_tanhs_in_whose_place_lifs_would_stand() -> None:
    with pytest.raises(UnconvertibleError, match=r"'body\.1' \(Tanh\): LIF neurons take the place of ReLUs; name ReLU"):
        read_layers(Layers(named(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))), T=1, input_scale=1.0)
    with pytest.raises(UnconvertibleError, match="no Conv2d or Linear before Tanh number 2"):
        describe(named(nn.Linear(2, 3), nn.Tanh(), nn.Tanh(), nn.Linear(3, 2)))
