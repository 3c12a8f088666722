"""Operations counted by hand, and against convolutions with ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec
from torch import nn

from snn_rl.core.counts import Counts
from snn_rl.core.network import QNetwork
from snn_rl.core.reach import fan_out
from snn_rl.core.spec import spiking
from snn_rl.core.synops import OperationCounter, analog_macs, dense_macs, fan_out_shares


def nature_cnn(frames: int, actions: int) -> list[dict]:
    def conv(wide: int, out: int, kernel: int, stride: int) -> dict:
        fields = {"kernel_size": kernel, "stride": stride, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
        return {"type": "Conv2d", "in_channels": wide, "out_channels": out, **fields}

    relu = {"type": "ReLU"}
    convolutions = [
        conv(frames, 32, 8, 4),
        relu,
        conv(32, 64, 4, 2),
        relu,
        conv(64, 64, 3, 1),
        relu,
        {"type": "Flatten"},
    ]
    return convolutions + mlp_spec(3136, 512, actions)


def test_nature_cnn_has_the_published_number_of_macs() -> None:
    four = [3_276_800, 2_654_208, 1_806_336, 1_605_632, 3_072]
    assert dense_macs(nature_cnn(4, 6), (4, 84, 84)) == four
    assert sum(four) == 9_346_048
    assert sum(dense_macs(nature_cnn(1, 6), (1, 84, 84))) == 6_888_448


def test_dense_macs_by_hand_with_pooling_groups_and_bias() -> None:
    spec = [
        {"type": "Conv2d", "in_channels": 2, "out_channels": 4, "kernel_size": 3, "padding": 1, "groups": 2},
        {"type": "ReLU"},
        {"type": "AvgPool2d", "kernel_size": 2},
        {"type": "Flatten"},
        *mlp_spec(4 * 2 * 2, 3),
    ]
    assert dense_macs(spec, (2, 4, 4)) == [4 * 16 * 9 * 1, 16 * 3]


@pytest.mark.parametrize(
    "synapse",
    [
        nn.Sequential(nn.Conv2d(3, 5, 3)),
        nn.Sequential(nn.Conv2d(3, 5, 4, stride=2, padding=1)),
        nn.Sequential(nn.Conv2d(3, 6, 3, stride=3, padding=2, groups=3)),
        nn.Sequential(nn.Conv2d(3, 5, 3, dilation=2)),
    ],
)
def test_operations_of_random_spikes_are_those_of_a_convolution_with_ones(synapse: nn.Sequential) -> None:
    spikes = (th.rand(10, 3, 9, 8) < 0.3).float()
    conv = synapse[0]
    ones = nn.functional.conv2d(spikes, th.ones_like(conv.weight), None, conv.stride, conv.padding, conv.dilation, conv.groups)
    assert float((spikes * fan_out(synapse, (3, 9, 8))).sum()) == float(ones.sum())


def test_fan_out_by_hand() -> None:
    assert fan_out(nn.Sequential(nn.Linear(3, 7)), (3,)).tolist() == [7, 7, 7]
    # 3 wide, kernel 2: the border neurons meet one position, the middle one two
    assert fan_out(nn.Sequential(nn.Conv2d(1, 1, (1, 2))), (1, 1, 3)).tolist() == [[[1, 2, 1]]]
    # a neuron behind no window (5 wide, pool of 2) has no synapse; the others reach the two weights of their window
    pooled = nn.Sequential(nn.AvgPool2d((1, 2)), nn.Flatten(), nn.Linear(2, 2))
    assert fan_out(pooled, (1, 1, 5)).tolist() == [[[2, 2, 2, 2, 0]]]


def test_operations_do_not_depend_on_the_weights_or_on_pooling_behind_them() -> None:
    plain = fan_out(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 6, 6))
    zero = nn.Sequential(nn.Conv2d(1, 2, 3))
    nn.init.zeros_(zero[0].weight)
    assert th.equal(fan_out(zero, (1, 6, 6)), plain)
    assert th.equal(fan_out(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2, stride=1)), (1, 6, 6)), plain)
    assert th.equal(fan_out(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(3)), (1, 6, 6)), plain)


def test_a_second_weighted_layer_without_neurons_between_costs_macs() -> None:
    synapse = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))
    assert fan_out(synapse, (4,)).tolist() == [5, 5, 5, 5]
    assert analog_macs(synapse, (4,)) == 15
    assert analog_macs(nn.Sequential(nn.Linear(4, 5)), (4,)) == 0


def test_the_shares_of_fan_out_are_a_spikes_part_in_all_synapses() -> None:
    shares = fan_out_shares(QNetwork(mlp_spec(4, 3, 5, 2), T=1), (4,))  # fan-outs 5 and 2: 3 * 5 + 5 * 2 synapses
    assert [share.tolist() for share in shares] == [pytest.approx([5 / 25] * 3), pytest.approx([2 / 25] * 5)]
    assert sum(float(share.sum()) for share in fan_out_shares(QNetwork(conv_spec(), T=1), (1, 8, 8))) == pytest.approx(1)


def counted(network: QNetwork, observations: list, *layers: list) -> Counts:
    """Of the network, after one batch of decisions in which its layers sent this on."""
    observations = th.tensor(observations)
    counter = OperationCounter(network, tuple(observations.shape[1:]))
    counter.update(observations, [th.tensor(layer, dtype=th.float32) for layer in layers])
    return counter.counts()


@pytest.mark.parametrize("carry", [True, False])
def test_counts_of_a_spiking_network_by_hand(carry: bool) -> None:
    """4 inputs, 3 neurons, 2 neurons, 2 actions; T = 2; two decisions with 4 and 3 spikes in the two layers."""
    counter = OperationCounter(QNetwork(mlp_spec(4, 3, 2, 2), T=2, carry=carry), (4,))
    # spikes (T, rows, neurons); first layer: 4 spikes, second: 3
    first_layer = th.tensor([[[1.0, 0, 1], [0, 0, 0]], [[0, 1, 0], [0, 0, 1]]])
    second_layer = th.tensor([[[1.0, 0], [0, 1]], [[1, 0], [0, 0]]])
    counter.update(np.array([[1, 2, 0, 0], [0, 0, 0, 1]], np.float32), [first_layer, second_layer])
    counts = counter.counts()
    assert counts == Counts(
        T=2,
        ann_macs=4 * 3 + 3 * 2 + 2 * 2,
        first_layer_macs=4 * 3,
        acs_by_layer={"fc2": 4 * 2 / 2, "fc3": 3 * 2 / 2},  # 4 spikes with 2 synapses each and 3 with 2, over 2 decisions
        neuron_updates=5 * 2,
        membrane_accesses=2 * 5 * 2 if carry else 2 * 5 * 1,
    )
    assert counts.acs == 7
    assert counts.spiking
    assert counter.rates() == pytest.approx({"fc1": 4 / 12, "fc2": 3 / 8})


def test_effective_macs_of_an_ann_by_hand() -> None:
    counts = counted(QNetwork(mlp_spec(4, 3, 2), T=0), [[1.0, 2, 0, 0], [0, 0, 0, 1]], [[[0.5, 0, 2.0], [0, 0, 0.1]]])
    # 3 non-zero inputs with 3 synapses and 3 activations with 2, over 2 decisions
    assert counts == Counts(T=0, ann_macs=12 + 6, effective_macs=(3 * 3 + 3 * 2) / 2)
    assert not counts.spiking


def test_decisions_add_up_whatever_the_batches() -> None:
    network = lively(QNetwork(conv_spec(), T=2))
    observation = th.randn(6, 1, 8, 8)
    found = []
    for chunks in (observation.split(6), observation.split(1)):
        counter = OperationCounter(network, (1, 8, 8))
        for chunk in chunks:
            layers: list[th.Tensor] = []
            with th.no_grad():
                network.unroll(chunk[None], record=layers)
            counter.update(chunk, [layer[0] for layer in layers])
        found.append((counter.counts(), counter.rates(), counter.decisions))
    assert found[0] == found[1]
    assert found[0][0].acs > 0


@pytest.mark.parametrize(("T", "first"), [(0, 2), (1, 4)])
def test_an_ann_multiplies_behind_its_pool_and_a_spike_reaches_all_weights_there(T: int, first: int) -> None:
    linear, last = ({"type": "Linear", "in_features": n, "out_features": 2, "bias": True} for n in (2, 2))
    conv = {"type": "Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1}
    pool = [{"type": "AvgPool2d", "kernel_size": [1, 2], "stride": [1, 2], "padding": 0}, {"type": "Flatten"}]
    network = QNetwork([conv, {"type": "ReLU"}, *pool, linear, {"type": "ReLU"}, last], T=T)
    sent = [[[[[1.0, 1.0, 0.0, 0.0]]]]]  # two neurons of one window
    counts = counted(network, [[[[0.0] * 4]]], sent, [[[0.0, 0.0]]])
    assert (counts.acs if T else counts.effective_macs) == first


def test_macs_of_analog_layers_are_counted_at_each_timestep() -> None:
    spec = mlp_spec(4, 3, 5, 2)
    del spec[3]  # no neurons between the last two layers: the last sees analog values
    counts = counted(QNetwork(spec, T=2), [[1.0] * 4], [[[1.0, 0, 0]], [[0.0, 0, 0]]])
    assert (counts.ann_macs, counts.first_layer_macs, counts.analog_macs) == (12 + 15 + 10, 12, 10 * 2)
    assert counts.acs_by_layer == {"fc2": 5}


def test_what_was_not_counted_is_an_error() -> None:
    counter = OperationCounter(QNetwork(mlp_spec(4, 3, 2), T=1), (4,))
    for ask in (counter.counts, counter.rates):
        with pytest.raises(ValueError, match="nothing was measured"):
            ask()


@pytest.mark.parametrize(("carry", "arriving"), [(True, 2), (False, 1)])
def test_recurrent_spikes_cost_what_they_reach(carry: bool, arriving: int) -> None:
    network = QNetwork(spiking(mlp_spec(4, 3, 5, 2), recurrent=True), T=2, carry=carry)
    ones, zeros = [[[1.0] * 3]] * 2, [[[0.0] * 5]] * 2  # each of the 3 neurons fires at both timesteps
    counts = counted(network, [[1.0] * 4], ones, zeros)
    # without carrying, the spikes of a decision's last timestep never arrive
    assert counts.acs_by_layer == {"fc2": 2 * 3 * 5, "fc3": 0, "fc1 recurrent": arriving * 3 * 3, "fc2 recurrent": 0}
    assert counts.acs == 2 * 3 * 5 + arriving * 3 * 3
    shares, total = fan_out_shares(network, (4,)), 3 * (5 + arriving / 2 * 3) + 5 * (2 + arriving / 2 * 5)
    assert shares[0].tolist() == pytest.approx([(5 + arriving / 2 * 3) / total] * 3)
