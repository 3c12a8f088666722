"""Networks whose neurons have decays of their own or recurrent synapses, and networks of plain operations."""

from __future__ import annotations

import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError, spiking


def test_a_decay_per_channel_is_one_per_neuron_of_a_dense_layer() -> None:
    spec = spiking(conv_spec(), decays=True)
    network = QNetwork(spec, T=2)
    assert {lif.decay.dim() for lif in network.lifs} == {1, 3}
    assert [lif.decay.numel() for lif in network.lifs] == [
        layer.get("out_channels", layer.get("out_features")) for layer in spec if layer["type"] in ("Conv2d", "Linear")
    ][:-1]
    assert QNetwork(spec, T=0).state_dict().keys() == QNetwork(conv_spec(), T=0).state_dict().keys()  # the ANN has none


def test_equal_decays_per_channel_are_the_decay_per_layer() -> None:
    observations = th.rand(5, 2, 1, 8, 8)
    one, many = lively(QNetwork(conv_spec(), T=2)), QNetwork(spiking(conv_spec(), decays=True), T=2)
    many.load_state_dict({**many.state_dict(), **{k: v for k, v in one.state_dict().items() if "raw_decay" not in k}})
    for lif in many.lifs:
        lif.set(decay=0.8)
    assert th.equal(many.unroll(observations)[0], one.unroll(observations)[0])


def test_a_decay_per_channel_needs_channels() -> None:
    conv, linear, out = conv_spec()[0], {"type": "Linear", "in_features": 1, "out_features": 1}, {"type": "Flatten"}
    with pytest.raises(UnconvertibleError, match="before their Flatten"):
        QNetwork(spiking([conv, out, {"type": "ReLU"}, linear], decays=True), T=1)


def chatty(T: int) -> QNetwork:
    """A network whose dense layers have recurrent synapses of random weights."""
    network = lively(QNetwork(spiking(conv_spec(), decays=True, recurrent=True), T))
    for synapses in network.recurrent.values():
        th.nn.init.normal_(synapses.weight)
    return network


def test_recurrent_synapses_are_within_dense_layers_and_silent_at_first() -> None:
    plain, recurrent = lively(QNetwork(conv_spec(), T=2)), QNetwork(spiking(conv_spec(), recurrent=True), T=2)
    recurrent.load_state_dict({**recurrent.state_dict(), **plain.state_dict()})
    assert list(recurrent.recurrent) == ["2"]  # conv, conv, dense, readout
    observations = th.rand(4, 3, 1, 8, 8)
    assert th.equal(recurrent.unroll(observations)[0], plain.unroll(observations)[0])
    assert not QNetwork(spiking(conv_spec(), recurrent=True), T=0).recurrent


def test_a_recurrent_spike_arrives_one_timestep_later() -> None:
    network = QNetwork(spiking(mlp_spec(1, 2, 1, bias=False), recurrent=True), T=1)
    network.lifs[0].set(v_th=1.0, decay=0.001)
    with th.no_grad():
        network.synapses[0][0].weight.copy_(th.tensor([[2.0], [0.0]]))  # only the first neuron is driven from outside
        network.recurrent["0"].weight.copy_(th.tensor([[0.0, 0.0], [3.0, 0.0]]))  # and it drives the second
    spikes: list[th.Tensor] = []
    _, state = network.unroll(th.tensor([1.0, 0.0, 0.0]).view(3, 1, 1), record=spikes)
    assert spikes[0].flatten(1).tolist() == [[1, 0], [0, 1], [0, 0]]
    assert [tuple(part.shape) for part in state] == [(1, 2), (1, 2)]  # the membrane and the last spikes
    assert state[1].tolist() == [[0, 0]]


@pytest.mark.parametrize("T", [1, 3])
def test_a_recurrent_network_stepped_with_its_state_is_one_long_unroll(T: int) -> None:
    network, observations = chatty(T), th.rand(6, 3, 1, 8, 8)
    starts = th.zeros(6, 3, dtype=th.bool)
    starts[0], starts[3, 1] = True, True
    whole, last = network.unroll(observations, None, starts)
    state = network.initial_state(3, (1, 8, 8))
    for step in range(6):
        q, state = network(observations[step], state, starts[step])
        assert th.allclose(q, whole[step], atol=1e-5)
    assert all(th.allclose(a, b, atol=1e-5) for a, b in zip(state, last, strict=True))
    fresh, _ = network.unroll(observations[3:, 1:2])  # what began anew knows nothing of what was before
    assert th.allclose(fresh, whole[3:, 1:2], atol=1e-5)


def test_a_network_of_plain_operations_is_the_same_network() -> None:
    network, observations = chatty(2), th.rand(6, 3, 1, 8, 8)
    q, state = network.unroll(observations)
    for lif in network.lifs:
        lif.plain = True
    q_plain, state_plain = network.unroll(observations)
    assert th.equal(q, q_plain)
    assert all(th.equal(a, b) for a, b in zip(state, state_plain, strict=True))
