"""Thresholds, currents and first values fitted to observations."""

from __future__ import annotations

import pytest
import torch as th
from conftest import conv_spec, mlp_spec
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.initialise import balance_thresholds, initialize, standardize
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError


def test_balanced_with_many_timesteps_it_approaches_its_ann() -> None:
    ann = QNetwork(mlp_spec(6, 16, 16, 3), T=0)
    x = th.randn(200, 6)
    errors = {}
    for T in (5, 50, 400):
        snn = QNetwork(ann.spec, T=T, carry=False)
        snn.load_state_dict({**snn.state_dict(), **ann.state_dict()})
        balance_thresholds(snn, x, percentile=100.0)
        with th.no_grad():
            errors[T] = float((snn(x)[0] - ann(x)[0]).abs().max() / ann(x)[0].abs().max())
    assert errors[400] < 0.02
    assert errors[400] < errors[50] / 3 < errors[5]


def test_balancing_sets_the_percentile_and_folds_the_amplitude_into_the_next_weights() -> None:
    network = QNetwork(mlp_spec(1, 1, 1, bias=False), T=1)
    with th.no_grad():
        network.synapses[0][0].weight.fill_(2.0)
        network.synapses[1][0].weight.fill_(3.0)
    balance_thresholds(network, th.arange(1.0, 11.0)[:, None], percentile=90.0, decay=0.75)  # currents 2, 4, ..., 20
    assert network.lifs[0].v_th.item() == pytest.approx(18.0)
    assert network.lifs[0].decay.item() == pytest.approx(0.75)
    assert network.synapses[1][0].weight.item() == pytest.approx(54.0)
    assert network(th.tensor([[10.0], [9.0]]))[0].flatten().tolist() == pytest.approx([54.0, 0.0])


@pytest.mark.parametrize("percentile", [0.0, -5.0, 100.1, float("nan")])
def test_a_percentile_out_of_range_is_an_error(percentile: float) -> None:
    with pytest.raises(UserError, match="percentile"):
        balance_thresholds(QNetwork(mlp_spec(2, 2, 2), T=1), th.zeros(4, 2), percentile)


def test_balancing_falls_back_on_the_driven_neurons_and_refuses_a_dead_layer() -> None:
    network = QNetwork(mlp_spec(1, 1, 1, bias=False), T=1)
    with th.no_grad():
        network.synapses[0][0].weight.fill_(1.0)
    balance_thresholds(network, th.tensor([[-1.0]] * 9 + [[0.5]]), percentile=50.0)  # the median is negative
    assert network.lifs[0].v_th.item() == pytest.approx(0.5)
    with pytest.raises(
        UserError, match="layer fc1 never gets a positive current, so nothing in it can spike; train the ANN anew, or give"
    ):
        balance_thresholds(network, th.full((5, 1), -1.0), percentile=99.0)


@pytest.mark.parametrize("spec", [conv_spec(), mlp_spec(3, 5, 2)], ids=["per channel", "per neuron"])
def test_standardized_currents_have_mean_0_and_deviation_1(spec: list) -> None:
    image = spec[0]["type"] == "Conv2d"
    observations = th.rand(50, 1, 8, 8) if image else 7 + 0.01 * th.randn(50, 3)
    network = QNetwork(spec, T=1)
    standardize(network, observations, layers=1)
    i = network.synapses[0](observations).detach()
    axes = (0, 2, 3) if image else (0,)
    assert th.allclose(i.mean(axes), th.zeros(i.shape[1]), atol=1e-3)
    assert th.allclose(i.std(axes), th.ones(i.shape[1]), rtol=1e-2)


@pytest.mark.parametrize("T", [0, 1, 3])
def test_an_initialized_network_is_driven_everywhere_and_answers_with_the_mean_return(T: int) -> None:
    network, observations = QNetwork(conv_spec(), T), 200 + 10 * th.rand(60, 1, 8, 8)  # a bright background
    for lif in network.lifs:
        lif.set(v_th=5.0)  # as a conversion may leave it
    initialize(network, observations, -2.0)
    record: list[Tensor] = []
    q, _ = network.unroll(observations.unsqueeze(0), record=record)
    for sent in record:
        assert (sent.transpose(0, 3).flatten(1).amax(1) > 0).float().mean() > 0.8  # of the channels, of the dense neurons
        assert 0.1 < (sent > 0).float().mean() < 0.6  # 0.5 of currents around 0 are positive, 0.16 above a threshold of 1
    assert (q + 2).abs().max() < 0.3
    assert q.std() > 0


def test_what_cannot_be_standardized_is_said() -> None:
    without_bias = QNetwork(mlp_spec(3, 5, 2, bias=False), T=1)
    conv, linear = conv_spec()[0], {"type": "Linear", "in_features": 64, "out_features": 3}
    flattened = QNetwork([conv, {"type": "Flatten"}, {"type": "ReLU"}, linear], T=1)
    for network, shape in ((without_bias, (3,)), (flattened, (1, 8, 8))):
        with pytest.raises(
            UnconvertibleError,
            match=r"cannot be standardised: that needs one Conv2d .* with a bias .*; train without \(standardize and",
        ):
            standardize(network, th.rand(4, *shape))
