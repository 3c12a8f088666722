"""The network: one decision, many decisions, and what flows between them."""

from __future__ import annotations

import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec
from torch import Tensor, nn

from snn_rl.core.network import QNetwork, mixed_precision
from snn_rl.core.spec import spiking
from snn_rl.sb3.layers import Layers, read_layers


def drive(steps: int = 6, batch: int = 3, size: int = 8) -> Tensor:
    return th.randn(steps, batch, 1, size, size)


@pytest.fixture
def network() -> QNetwork:
    return lively(QNetwork(conv_spec(), T=3))


def test_at_one_timestep_from_rest_it_is_the_network_of_step_functions() -> None:
    network = lively(QNetwork(conv_spec(), T=1), v_th=0.1)
    x = drive(1, 16)[0]
    q, _ = network(x)
    with th.no_grad():
        for synapse, lif in zip(network.synapses, network.lifs, strict=False):
            x = (synapse(x) > lif.v_th).float()
            assert 0 < x.mean() < 1
        assert th.allclose(q, network.synapses[-1](x), atol=1e-6)


def test_two_timesteps_of_one_neuron_by_hand() -> None:
    network = QNetwork(mlp_spec(1, 1, 1), T=2)
    with th.no_grad():
        for synapse, weight, bias in zip(network.synapses, (0.5, 3.0), (0.25, -1.0), strict=True):
            synapse[0].weight.fill_(weight)
            synapse[0].bias.fill_(bias)
    network.lifs[0].set(v_th=1.0, decay=0.5)
    # current 0.5 * 1 + 0.25 = 0.75; v: 0.75 | 1.125, fires, 0.125; mean spike 0.5; q = 3 * 0.5 - 1
    q, state = network(th.ones(1, 1))
    assert (q.item(), state[0].item()) == (0.5, 0.125)
    # carried: 0.8125 | 1.15625, fires, 0.15625
    q, state = network(th.ones(1, 1), state)
    assert (q.item(), state[0].item()) == (0.5, 0.15625)


def test_input_scale_multiplies_the_observation() -> None:
    network = QNetwork(mlp_spec(4, 5, 2), T=0, input_scale=1 / 255)
    x = th.randint(0, 256, (7, 4), dtype=th.uint8)
    expected = network.synapses[1](network.synapses[0](x.float() / 255).relu())
    assert th.allclose(network(x)[0], expected, atol=1e-6)


def test_in_mixed_precision_the_q_values_are_not_rounded() -> None:
    network = QNetwork(mlp_spec(1, 1, 1), T=1)
    with th.no_grad():
        network.synapses[0][0].weight.fill_(2.0)
        network.synapses[1][0].weight.fill_(1.001)  # bfloat16 knows 1 and 1.0078, nothing between
        network.synapses[1][0].bias.zero_()
    with th.autocast("cpu", th.bfloat16):
        q, _ = network(th.ones(1, 1))
    assert q.dtype == th.float32
    assert q.item() == pytest.approx(1.001, abs=1e-6)


def test_in_mixed_precision_what_ran_without_gradients_takes_none_from_what_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(th.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    one, cleared = lively(QNetwork(mlp_spec(3, 8, 8, 2), T=2)), []
    with mixed_precision(th.device("cpu")):
        monkeypatch.setattr(th, "clear_autocast_cache", lambda: cleared.append(True))  # older PyTorch needs it
        state = one.burn_in(th.randn(4, 5, 3), th.zeros(4, 5, dtype=th.bool))
        assert cleared
        q, _ = one.unroll(th.randn(4, 5, 3), state)
    assert not any(v.requires_grad for v in state)
    q.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in one.parameters())


def test_decisions_one_by_one_are_one_long_unroll_with_episode_starts_in_the_middle(network: QNetwork) -> None:
    observations = drive()
    starts = th.zeros(6, 3, dtype=th.bool)
    starts[0], starts[2, 1], starts[4, 0], starts[4, 2] = True, True, True, True
    q_long, state_long = network.unroll(observations, None, starts)
    state, q_short = network.initial_state(3, (1, 8, 8)), []
    for observation, start in zip(observations, starts, strict=True):
        q, state = network(observation, state, start)
        q_short.append(q)
    assert th.allclose(th.stack(q_short), q_long, atol=1e-6)
    for ours, theirs in zip(state, state_long, strict=True):
        assert th.allclose(ours, theirs, atol=1e-6)


def test_an_episode_start_in_the_middle_is_a_network_at_rest_from_there(network: QNetwork) -> None:
    observations, starts = drive(), th.zeros(6, 3, dtype=th.bool)
    starts[3] = True
    q, state = network.unroll(observations, None, starts)
    q_fresh, state_fresh = network.unroll(observations[3:])
    assert th.allclose(q[3:], q_fresh, atol=1e-6)
    assert all(th.allclose(a, b, atol=1e-6) for a, b in zip(state, state_fresh, strict=True))
    assert not th.allclose(network.unroll(observations)[0][3:], q_fresh, atol=1e-3)  # the membrane does matter


def test_a_batch_is_a_loop_over_environments(network: QNetwork) -> None:
    observations = drive()
    q, state = network.unroll(observations)
    for e in range(3):
        q_e, state_e = network.unroll(observations[:, e : e + 1])
        assert th.allclose(q[:, e : e + 1], q_e, atol=1e-6)
        assert all(th.allclose(v[e : e + 1], v_e, atol=1e-6) for v, v_e in zip(state, state_e, strict=True))


def test_the_state_of_one_environment_never_reaches_another(network: QNetwork) -> None:
    observations, starts = drive(), th.zeros(6, 3, dtype=th.bool)
    q, state = network.unroll(observations, None, starts)
    disturbed, disturbed_starts = observations.clone(), starts.clone()
    disturbed[:, 1] += 5
    disturbed_starts[2, 1] = True
    begin = network.initial_state(3, (1, 8, 8))
    for v in begin:
        v[1] = 7.0
    q_other, state_other = network.unroll(disturbed, begin, disturbed_starts)
    assert th.equal(q[:, [0, 2]], q_other[:, [0, 2]])
    assert all(th.equal(a[[0, 2]], b[[0, 2]]) for a, b in zip(state, state_other, strict=True))
    assert not th.allclose(q[:, 1], q_other[:, 1])


def test_calls_leave_nothing_behind_in_the_network(network: QNetwork) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first = network.unroll(drive())
    th.manual_seed(0)
    observations = drive()
    assert th.equal(network.unroll(observations)[0], network.unroll(observations)[0])
    assert len(first[1]) == 3
    assert {k: v.tolist() for k, v in network.state_dict().items()} == {k: v.tolist() for k, v in before.items()}


def test_the_state_that_comes_in_is_not_written_to(network: QNetwork) -> None:
    state = network.initial_state(3, (1, 8, 8))
    network(drive()[0], state)
    assert all(bool((v == 0).all()) for v in state)


def test_gradients_reach_weights_thresholds_and_decays_of_all_layers(network: QNetwork) -> None:
    network.unroll(drive(4, 16))[0].square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_gradients_flow_back_through_a_carried_membrane_and_stop_at_an_episode_start(network: QNetwork) -> None:
    observations = drive(2, 4).requires_grad_()
    network.unroll(observations)[0][1].sum().backward()  # only the second decision
    assert observations.grad is not None
    assert bool((observations.grad[0] != 0).any())
    observations.grad = None
    starts = th.zeros(2, 4, dtype=th.bool)
    starts[1] = True
    network.unroll(observations, None, starts)[0][1].sum().backward()
    assert bool((observations.grad[0] == 0).all())
    assert bool((observations.grad[1] != 0).any())


def test_without_carry_every_decision_starts_from_rest() -> None:
    network = lively(QNetwork(conv_spec(), T=2, carry=False))
    observations = drive()
    state = tuple(v + 3 for v in network.initial_state(3, (1, 8, 8)))
    q = network.unroll(observations, state)[0]
    assert th.equal(q, network.unroll(observations)[0])
    assert th.equal(q, network.unroll(observations, state, th.zeros(6, 3, dtype=th.bool))[0])
    assert th.allclose(q, th.stack([network(o)[0] for o in observations]), atol=1e-6)


def test_without_timesteps_it_is_the_relu_network() -> None:
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)
    )
    network = read_layers(Layers(list(layers.named_children())), T=0, input_scale=1.0)
    x = drive(1, 10)[0]
    q, state = network(x)
    assert state == ()
    assert network.initial_state(10, (1, 8, 8)) == ()
    assert network.lifs == []
    assert th.allclose(q, layers(x), atol=1e-6)


@pytest.mark.parametrize("T", [1, 5])
def test_the_current_of_the_first_layer_is_computed_once_per_decision(T: int) -> None:
    network = lively(QNetwork(conv_spec(), T=T))
    rows: dict[str, list[int]] = {"first": [], "second": []}
    network.synapses[0].register_forward_hook(lambda _, args, __: rows["first"].append(len(args[0])))
    network.synapses[1].register_forward_hook(lambda _, args, __: rows["second"].append(len(args[0])))
    network.unroll(drive(6, 3))
    assert rows == {"first": [6 * 3], "second": [6 * 3 * T]}


@pytest.mark.parametrize("T", [0, 2])
def test_the_record_holds_what_each_layer_sent_on(T: int) -> None:
    network, record = lively(QNetwork(conv_spec(), T=T)), []
    q, _ = network.unroll(drive(), record=record)
    assert [tuple(r.shape) for r in record] == [(6, max(T, 1), 3, *s) for s in [(4, 4, 4), (5, 2, 2), (6,)]]
    assert th.allclose(network.synapses[-1](record[-1].mean(1)), q, atol=1e-6)
    if T:
        assert all(set(r.unique().tolist()) == {0.0, 1.0} for r in record)


def test_layers_are_named_by_what_they_are() -> None:
    assert QNetwork(conv_spec(), T=1).layer_names == ["conv1", "conv2", "fc1", "fc2"]


def test_shapes_are_those_of_the_neurons_and_a_wrong_observation_is_an_error() -> None:
    network = QNetwork(conv_spec(), T=1)
    assert network.shapes((1, 8, 8)) == [(4, 4, 4), (5, 2, 2), (6,)]
    assert [tuple(v.shape) for v in network.initial_state(7, (1, 8, 8))] == [(7, 4, 4, 4), (7, 5, 2, 2), (7, 6)]
    with pytest.raises(ValueError, match="does not fit observations of shape 1x9x12"):
        network.shapes((1, 9, 12))
    with pytest.raises(ValueError, match="does not fit observations of shape 4"):
        network.shapes((4,))


def test_negative_timesteps_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        QNetwork(mlp_spec(2, 2), T=-1)


def test_only_a_spiking_network_that_carries_its_membranes_remembers() -> None:
    asked = {(T, carry): QNetwork(mlp_spec(2, 3, 2), T, carry=carry) for T in (0, 1) for carry in (True, False)}
    assert {key for key, network in asked.items() if network.spiking} == {(1, True), (1, False)}
    assert {key for key, network in asked.items() if network.remembers} == {(1, True)}


@pytest.mark.parametrize("T", [0, 1, 3])
@pytest.mark.parametrize("recurrent", [False, True])
def test_values_alone_are_those_of_unroll(T: int, recurrent: bool) -> None:
    spec = spiking(conv_spec(), recurrent=recurrent) if T else conv_spec()
    network, observations = lively(QNetwork(spec, T=T)), drive()
    q, state = network.unroll(observations[:2])
    assert th.equal(network.values(observations[:2]), q)
    assert th.equal(network.values(observations[2:], state), network.unroll(observations[2:], state)[0])


def test_bytes_are_scaled_in_half_precision_as_in_full() -> None:
    network = QNetwork(conv_spec(), T=1, input_scale=1 / 255)
    pixels = th.arange(256, dtype=th.uint8)
    with th.autocast("cpu", th.bfloat16):
        assert th.equal(network.scaled(pixels), network.scaled(pixels.float()).bfloat16())
        assert network.scaled(pixels.float()).dtype == network.scaled(pixels.int()).dtype == th.float32  # which hold more
    assert network.scaled(pixels).dtype == th.float32
