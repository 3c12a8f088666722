"""Neurons at rest, which need no update."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec
from torch import Tensor

from snn_rl.core.counts import Counts
from snn_rl.core.lif import lif_step
from snn_rl.core.network import QNetwork
from snn_rl.core.resting import Resting, bits
from snn_rl.core.synops import OperationCounter
from snn_rl.measure.energy import Operations, energy, stored_counts
from snn_rl.measure.technology import FP32, Technology

PRICES = Technology("mine", mac_pj=2.0, ac_pj=0.5, update_pj=3.0, memory_pj=7.0, weight_pj=11.0, sum_pj=13.0)


def count(resting: Resting, v: float, spike: float, episode: int = 0) -> float:
    """Updates of the only neuron."""
    return resting([episode], (th.full((1, 1), v),), [th.full((1, 1, 1), spike)])[0]


def test_a_neuron_rests_once_an_update_has_left_it_as_it_was() -> None:
    resting = Resting(QNetwork(mlp_spec(1, 1, 2), T=1))
    assert count(resting, 0.5, 0) == 1
    assert count(resting, 0.5, 0) == 1  # this update finds that nothing changes any more
    assert [count(resting, 0.5, 0) for _ in range(3)] == [0, 0, 0]
    assert count(resting, 0.7, 0) == 1  # something arrived
    assert count(resting, 0.7, 0, episode=1) == 1  # another episode knows nothing of it
    assert [count(resting, 0.7, 1) for _ in range(3)] == [1, 1, 1]  # who spikes does not rest, whatever its membrane
    resting.forget(0)
    assert count(resting, 0.7, 0) == 1


def test_a_membrane_that_begins_at_its_rest_is_updated_once() -> None:
    resting = Resting(QNetwork(mlp_spec(1, 1, 2), T=1))
    assert [count(resting, 0.0, 0) for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize(("T", "carry", "fits"), [(1, True, True), (2, True, False), (1, False, False), (0, True, False)])
def test_it_counts_where_decisions_show_every_update(T: int, carry: bool, fits: bool) -> None:
    assert Resting.fits(QNetwork(mlp_spec(2, 3, 2), T=T, carry=carry)) == fits


def left_alone(network: QNetwork, play: Tensor) -> tuple[list[Tensor], int]:
    """Plays observations ``(steps, 1, *observation)`` and updates no neuron that rests and to which the same arrives as
    before; returns the membranes of the last decision, and how many were updated."""
    v = list(network.initial_state(1, play.shape[2:]))
    rests, arrived, updates = [th.zeros_like(own, dtype=th.bool) for own in v], [th.full_like(own, np.nan) for own in v], 0
    for seen in play:
        sent = seen.float() * network.input_scale
        for n, lif in enumerate(network.lifs):
            i = network.synapses[n](sent)
            needed = ~(rests[n] & (i == arrived[n]))
            updates += int(needed.sum())
            sent, after = lif_step(i, v[n], lif.v_th, lif.decay)
            sent, after = th.where(needed, sent, 0), th.where(needed, after, v[n])
            rests[n] = th.where(needed, (after == v[n]) & (sent == 0), rests[n])
            v[n], arrived[n] = after, i
    return v, updates


@pytest.mark.parametrize("seed", range(5))
def test_to_leave_them_alone_changes_nothing(seed: int) -> None:
    th.manual_seed(seed)
    network = lively(QNetwork(conv_spec(), T=1)).requires_grad_(False)
    for lif in network.lifs:
        lif.set(decay=0.3)
    play = th.randint(0, 255, (1, 1, 1, 8, 8), dtype=th.uint8).repeat(90, 1, 1, 1, 1)
    for step in (20, 21, 50):  # now and then a few pixels change, and stay
        play[step:, 0, 0, seed, :3] = play[step, 0, 0, seed, :3] ^ 64
    resting, state, updates = Resting(network), network.initial_state(1, (1, 8, 8)), 0.0
    for seen in play:
        layers: list[Tensor] = []
        _, state = network.unroll(seen[None], state, None, layers)
        updates += sum(resting([0], state, [layer[0] for layer in layers]))
    membranes, needed = left_alone(network, play)
    assert all(th.equal(*pair) for pair in zip(membranes, state, strict=True))
    assert updates == needed
    assert needed < 0.9 * len(play) * sum(own.numel() for own in state)


def test_a_bit_for_each_neuron() -> None:
    assert bits([32]) == 2
    assert bits([33, 1]) == 2 * (2 + 1)


def test_a_network_at_rest_reads_only_what_it_sees_and_the_bits() -> None:
    network = QNetwork(mlp_spec(3, 2, 2), T=1)
    counter, still = OperationCounter(network, (3,)), th.ones(1, 3)
    counter.update(still, [th.zeros(1, 1, 2)], [still], [0.0, 0.0][:1])
    found = counter.counts()
    assert (found.change_macs, found.change_accesses, found.change_updates) == (0, 2 * 3 + 2, 0)
    assert Operations.changed(found) == Operations(0, 0, 0, 2 * 3 + 2)


def test_the_energy_of_neurons_at_rest_by_hand() -> None:
    counts = Counts(1, 22, 0, 12, 0, {"fc2": 4.0}, 10, 20, change_macs=3, change_accesses=5, change_updates=2)
    assert energy(counts, PRICES).change_uj == pytest.approx((3 * 2 + 4 * 0.5 + 2 * 3 + (2 * 2 + 5) * 7) * 1e-6)
    stored = stored_counts(energy(counts, FP32).to_json(), 1, True)
    assert Operations.changed(stored) == Operations.changed(counts)
