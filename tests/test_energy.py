"""Operations counted by hand, and against convolutions with ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec
from torch import nn

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import spiking
from snn_rl.core.synops import analog_macs, dense_macs, fan_out, fan_out_shares
from snn_rl.measure.energy import Meter, priced
from snn_rl.measure.technology import FP32, INT8, INT32
from snn_rl.tasks.rollout import Decision


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


def decision(observation: list[list[float]], *layers: list) -> Decision:
    rows = len(observation)
    nothing = np.zeros(rows)
    return Decision(
        list(range(rows)), np.array(observation, np.float32), th.zeros(rows, 2), nothing.astype(np.int64), nothing,
        nothing.astype(bool), [th.tensor(layer, dtype=th.float32) for layer in layers],
    )  # fmt: skip


@pytest.mark.parametrize("carry", [True, False])
def test_a_whole_report_by_hand(carry: bool) -> None:
    """4 inputs, 3 neurons, 2 neurons, 2 actions; T = 2; two decisions with 4 and 3 spikes in the two layers."""
    meter = Meter(QNetwork(mlp_spec(4, 3, 2, 2), T=2, carry=carry), (4,))
    # spikes (T, rows, neurons); first layer: 4 spikes, second: 3
    first_layer = [[[1, 0, 1], [0, 0, 0]], [[0, 1, 0], [0, 0, 1]]]
    second_layer = [[[1, 0], [0, 1]], [[1, 0], [0, 0]]]
    meter.update(decision([[1, 2, 0, 0], [0, 0, 0, 1]], first_layer, second_layer))
    report = meter.report()
    ann = (4 * 3 + 3 * 2 + 2 * 2) * 4.6e-6
    first = 12 * 4.6e-6
    acs = (4 * 2 + 3 * 2) / 2  # 4 spikes with 2 synapses each and 3 with 2, over 2 decisions
    neurons = 5 * 2 * 4.6e-6
    accesses = 2 * 5 * 2 if carry else 2 * 5 * 1
    total = first + acs * 0.9e-6 + neurons + accesses * 5e-6
    expected = {
        "ann_uj": ann,
        "macs": 12,
        "acs": acs,
        "neuron_updates": 10,
        "first_layer_uj": first,
        "accumulate_uj": acs * 0.9e-6,
        "neuron_uj": neurons,
        "membrane_uj": accesses * 5e-6,
        "snn_uj": total,
        "ratio": ann / total,
        "snn_synaptic_uj": first + acs * 0.9e-6,
        "ratio_synaptic": ann / (first + acs * 0.9e-6),
        "snn_first_layer_times_T_uj": total + first,
        "ratio_first_layer_times_T": ann / (total + first),
    }
    assert {key: report[key] for key in expected} == pytest.approx(expected)
    assert report["acs_by_layer"] == {"fc2": 4.0, "fc3": 3.0}
    assert meter.rates() == pytest.approx({"fc1": 4 / 12, "fc2": 3 / 8})
    assert set(report) == {*expected, "acs_by_layer", "technology", "convention"}


def test_decisions_add_up_whatever_the_batches() -> None:
    network = lively(QNetwork(conv_spec(), T=2))
    observation = th.randn(6, 1, 8, 8)
    reports = []
    for chunks in (observation.split(6), observation.split(1)):
        meter = Meter(network, (1, 8, 8))
        for chunk in chunks:
            layers: list[th.Tensor] = []
            with th.no_grad():
                network.unroll(chunk[None], record=layers)
            step = decision(chunk.tolist())
            step.layers = [layer[0] for layer in layers]
            meter.update(step)
        reports.append(meter.report())
    assert reports[0] == reports[1]
    assert reports[0]["acs"] > 0


def test_effective_macs_of_an_ann_by_hand() -> None:
    meter = Meter(QNetwork(mlp_spec(4, 3, 2), T=0), (4,))
    meter.update(decision([[1, 2, 0, 0], [0, 0, 0, 1]], [[[0.5, 0, 2.0], [0, 0, 0.1]]]))
    report = meter.report()
    assert report["macs"] == 12 + 6
    assert report["effective_macs"] == (3 * 3 + 3 * 2) / 2  # 3 non-zero inputs with 3 synapses, 3 activations with 2
    assert report["ann_uj"] == pytest.approx(18 * 4.6e-6)
    assert report["ann_effective_uj"] == pytest.approx(7.5 * 4.6e-6)
    assert "snn_uj" not in report


def test_an_ann_multiplies_behind_its_pool_and_a_spike_reaches_all_weights_there() -> None:
    linear, last = ({"type": "Linear", "in_features": n, "out_features": 2, "bias": True} for n in (2, 2))
    spec = [{"type": "AvgPool2d", "kernel_size": [1, 2], "stride": [1, 2], "padding": 0}, {"type": "Flatten"}, linear]
    spec += [{"type": "ReLU"}, last]
    seen = np.array([[[[1.0, 1.0, 0.0, 0.0]]]], dtype=np.float32)  # two inputs in one window
    for T, first in ((0, 2), (1, 4)):
        meter = Meter(QNetwork(spec, T=T), (1, 1, 4))
        meter.update(Decision([0], seen, th.zeros(1, 2), np.zeros(1), np.zeros(1), np.zeros(1, bool), [th.zeros(1, 1, 2)]))
        assert meter.effective == [first, 0]


@pytest.mark.parametrize(("technology", "mac"), [(FP32, 4.6), (INT32, 3.2), (INT8, 0.23)])
def test_energy_is_that_of_the_technology_and_says_so(technology, mac) -> None:
    meter = Meter(QNetwork(mlp_spec(10, 100), T=0), (10,))
    meter.update(decision([[1.0] * 10]))
    report = priced(meter.report(), 0, technology)
    assert report["ann_uj"] == pytest.approx(1000 * mac * 1e-6)
    assert report["ann_effective_uj"] == pytest.approx(1000 * mac * 1e-6)
    assert report["technology"] == technology.name
    assert "Horowitz" in report["technology"]
    assert "per decision" in report["convention"]


def test_in_int8_membrane_traffic_outweighs_what_spikes_save() -> None:
    meter = Meter(QNetwork(mlp_spec(10, 20, 5), T=1), (10,))
    meter.update(decision([[1.0] * 10], [[[1.0] * 2 + [0.0] * 18]]))  # 2 spikes with 5 synapses each
    in_fp32, in_int8 = meter.report(), priced(meter.report(), 1, INT8)
    assert priced(in_fp32, 1, FP32) == in_fp32
    assert in_int8["acs"] == in_fp32["acs"] == 10
    assert in_int8["snn_synaptic_uj"] == pytest.approx((200 * 0.23 + 10 * 0.03) * 1e-6)
    assert in_int8["snn_uj"] == pytest.approx((200 * 0.23 + 10 * 0.03 + 20 * 3.2 + 40 * 5) * 1e-6)
    assert in_int8["ratio"] == pytest.approx(300 * 0.23 * 1e-6 / in_int8["snn_uj"])
    assert in_int8["ratio"] < 1 < in_fp32["ratio"]


def test_what_was_not_measured_is_an_error() -> None:
    meter = Meter(QNetwork(mlp_spec(4, 3, 2), T=1), (4,))
    for ask in (meter.report, meter.rates):
        with pytest.raises(ValueError, match="nothing was measured"):
            ask()


def test_the_shares_of_fan_out_are_a_spikes_part_in_all_synapses() -> None:
    shares = fan_out_shares(QNetwork(mlp_spec(4, 3, 5, 2), T=1), (4,))  # fan-outs 5 and 2: 3 * 5 + 5 * 2 synapses
    assert [share.tolist() for share in shares] == [pytest.approx([5 / 25] * 3), pytest.approx([2 / 25] * 5)]
    assert sum(float(share.sum()) for share in fan_out_shares(QNetwork(conv_spec(), T=1), (1, 8, 8))) == pytest.approx(1)


@pytest.mark.parametrize(("carry", "arriving"), [(True, 2), (False, 1)])
def test_recurrent_spikes_cost_what_they_reach(carry: bool, arriving: int) -> None:
    spec = spiking(mlp_spec(4, 3, 5, 2), recurrent=True)
    network = QNetwork(spec, T=2, carry=carry)
    spikes = [th.ones(2, 1, 3), th.zeros(2, 1, 5)]  # each of the 3 neurons fires at both timesteps
    meter = Meter(network, (4,))
    nothing = np.zeros(1)
    meter.update(Decision([0], np.ones((1, 4)), th.zeros(1, 2), nothing.astype(int), nothing, nothing > 0, spikes))
    by_layer = meter.report()["acs_by_layer"]
    # without carrying, the spikes of a decision's last timestep never arrive
    assert by_layer == {"fc2": 2 * 3 * 5, "fc3": 0, "fc1 recurrent": arriving * 3 * 3, "fc2 recurrent": 0}
    assert meter.report()["acs"] == 2 * 3 * 5 + arriving * 3 * 3
    shares, total = fan_out_shares(network, (4,)), 3 * (5 + arriving / 2 * 3) + 5 * (2 + arriving / 2 * 5)
    assert shares[0].tolist() == pytest.approx([(5 + arriving / 2 * 3) / total] * 3)
