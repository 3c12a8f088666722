"""What changes from decision to decision, counted by hand, and the opponents whose energy comes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec
from torch import Tensor, nn

from snn_rl.core.changes import ChangeCounter, Last, activations
from snn_rl.core.counts import Counts
from snn_rl.core.network import QNetwork
from snn_rl.core.reach import Reach
from snn_rl.core.spec import describe
from snn_rl.core.synops import OperationCounter
from snn_rl.measure import opponents
from snn_rl.measure.energy import Operations, energy
from snn_rl.measure.technology import FP32, Technology
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made

PRICES = Technology("mine", mac_pj=2.0, ac_pj=0.5, update_pj=3.0, memory_pj=7.0, weight_pj=11.0, sum_pj=13.0)


def tiny_ann() -> QNetwork:
    """Three inputs, two hidden units of the first two inputs each, two actions."""
    network = QNetwork(mlp_spec(3, 2, 2, bias=False), T=0)
    with th.no_grad():
        network.synapses[0][0].weight.copy_(th.tensor([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0]]))
    return network


def seen(network: QNetwork, *values: float) -> list[Tensor]:
    """An observation and what each layer makes of it."""
    observation = th.tensor([values])
    return [observation, *activations(network, observation)]


def test_an_ann_multiplies_what_changed_in_every_layer() -> None:
    network = tiny_ann()
    count = ChangeCounter(network, (3,))
    # The second input changes, which reaches two sums. Of the hidden units the first goes from 1 to 3; the second from 1 to 0.
    macs, accesses = count(seen(network, 1, 0, 5), seen(network, 1, 2, 5))
    assert macs == 2 + 2 * 2
    assert accesses == 2 * 3 + 2 * 2 + 2 * 2  # the observation, the hidden units' sums, the actions' sums: read and written
    # The second unit stays at 0, because ReLU hides that its sum changed: nothing behind it is multiplied.
    macs, accesses = count(seen(network, 1, 2, 5), seen(network, 1, 3, 5))
    assert macs == 2 + 1 * 2
    # The third input reaches both sums with weights of 0: it is multiplied, and changes nothing behind.
    macs, accesses = count(seen(network, 1, 3, 5), seen(network, 1, 3, 6))
    assert (macs, accesses) == (2, 2 * 3 + 2 * 2)
    assert count(seen(network, 1, 3, 6), seen(network, 1, 3, 6)) == (0, 2 * 3)


def test_a_spiking_network_multiplies_what_changed_in_its_first_layer() -> None:
    count = ChangeCounter(QNetwork(mlp_spec(3, 2, 2), T=4), (3,))
    before, now = (th.tensor([row]) for row in ([1.0, 0.0, 5.0], [2.0, 0.0, 6.0]))
    # The current of 2 neurons is read and written by the changes, and read by the neurons at each of 4 timesteps.
    assert count([before], [now]) == (2 * 2, 2 * 3 + 2 * 2 + 4 * 2)


@pytest.mark.parametrize(("stride", "macs", "touched"), [(2, 6, 6), (1, 24, 18)])
def test_a_pixel_is_multiplied_wherever_a_kernel_meets_it(stride: int, macs: int, touched: int) -> None:
    reach = Reach(nn.Sequential(nn.Conv2d(1, 3, 2, stride)), (1, 4, 4))
    pixels = th.zeros(1, 1, 4, 4)
    pixels[0, 0, 1, 1:3] = 1  # two neighbours: of stride 2 in two kernels, of stride 1 in 4 each, 6 together
    assert (reach(pixels), reach.touched(pixels)) == (macs, touched)


def test_four_pixels_are_one_access() -> None:
    count = ChangeCounter(
        QNetwork(describe([("c", nn.Conv2d(1, 3, 2)), ("r", nn.ReLU()), ("f", nn.Flatten()), ("o", nn.Linear(27, 2))]), T=0),
        (1, 4, 4),
    )
    frame = th.zeros(1, 1, 4, 4, dtype=th.uint8)
    rest = [th.zeros(1, 3, 3, 3)]
    assert count([frame, *rest], [frame, *rest]) == (0, 2 * 4)


@pytest.mark.parametrize("groups", [1, 2])
def test_sums_that_are_touched_are_those_that_ones_would_move(groups: int) -> None:
    th.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=groups, bias=False)
    reach = Reach(nn.Sequential(layer), (4, 9, 8))
    changed = (th.rand(5, 4, 9, 8) < 0.05).float()
    nn.init.ones_(layer.weight)
    with th.no_grad():
        moved = layer(changed)
    assert reach(changed) == float(moved.sum())
    assert reach.touched(changed) == float((moved != 0).sum())


def test_pooled_pixels_change_together() -> None:
    reach = Reach(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 5, 1)), (1, 4, 4))
    pixels = th.zeros(1, 1, 4, 4)
    pixels[0, 0, 0, :2] = 1  # both under one pool
    assert (reach(pixels), reach.touched(pixels)) == (5, 5)


def test_an_episode_begins_after_an_observation_of_zeros() -> None:
    network = tiny_ann()
    last, first, second = Last(network, th.zeros(3)), seen(network, 1, 2, 3), seen(network, 4, 5, 6)
    assert [part.abs().sum() for part in last.swap([7], first)] == [0, 0]
    assert all(th.equal(*pair) for pair in zip(last.swap([7], second), first, strict=True))
    last.forget(7)
    assert [part.abs().sum() for part in last.swap([7], first)] == [0, 0]


def test_an_ann_that_watches_is_counted_as_if_it_played() -> None:
    th.manual_seed(1)
    network = lively(QNetwork(conv_spec(), T=0))
    play = th.randint(0, 3, (6, 1, 1, 8, 8), dtype=th.uint8)
    own, other, last = OperationCounter(network, (1, 8, 8)), OperationCounter(network, (1, 8, 8)), Last(network, play[0, 0])
    previous = th.zeros_like(play[0])
    for frame in play:
        layers = activations(network, frame)
        own.update(frame, [layer[None] for layer in layers], last.swap([0], [frame, *layers]))
        other.watch(previous, frame)
        previous = frame
    assert own.counts() == other.counts()
    assert 0 < (own.counts().change_macs or 0) < own.counts().ann_macs


def test_a_constant_view_costs_only_what_is_kept() -> None:
    network = QNetwork(mlp_spec(3, 2, 2), T=2)
    counter, still = OperationCounter(network, (3,)), th.ones(1, 3)
    spikes = [th.zeros(2, 1, 2)]
    counter.update(still, spikes, [still])
    found = counter.counts()
    assert (found.change_macs, found.change_accesses) == (0, 2 * 3 + 2 * 2)
    assert found.first_layer_macs == 6


def test_layers_of_weights_without_neurons_between_are_not_counted() -> None:
    double = describe([("a", nn.Linear(3, 4)), ("b", nn.Linear(4, 2)), ("r", nn.ReLU()), ("c", nn.Linear(2, 2))])
    network = QNetwork(double, T=0)
    counter = OperationCounter(network, (3,))
    counter.watch(th.zeros(1, 3), th.ones(1, 3))
    assert counter.counts().change_macs is None


@pytest.mark.parametrize(
    ("named", "picojoules"),
    [
        ({"state": False}, 6 * 2 + 8 * 0.5),
        ({}, 6 * 2 + 8 * 0.5 + 10 * 3 + 20 * 7),
        ({"weights": True}, 6 * 2 + 8 * 0.5 + 10 * 3 + 20 * 7 + 14 * 11),
        ({"weights": True, "sums": True}, 6 * 2 + 8 * 0.5 + 10 * 3 + 20 * 7 + 14 * 11 + 2 * 14 * 13),
    ],
)
def test_each_convention_by_hand(named: dict[str, bool], picojoules: float) -> None:
    assert Operations(macs=6, acs=8, updates=10, accesses=20).uj(PRICES, **named) == pytest.approx(picojoules * 1e-6)


def test_the_energy_of_changes_by_hand() -> None:
    spiking = Counts(2, 22, 0, 12, 0, {"fc2": 4.0}, 10, 20, change_macs=3, change_accesses=5)
    assert energy(spiking, PRICES).change_uj == pytest.approx((3 * 2 + 4 * 0.5 + 10 * 3 + 25 * 7) * 1e-6)
    ann = Counts(0, 22, 9, change_macs=3, change_accesses=5)
    assert energy(ann, PRICES).change_uj == pytest.approx((3 * 2 + 5 * 7) * 1e-6)
    assert energy(Counts(0, 22, 9), PRICES).change_uj is None


def make(folder: Path, name: str, T: int, penalty: float | None = None, hidden: int = 4) -> Agent:
    """An agent that is saved in a run's folder."""
    agent = Agent("CartPole-v1", name, QNetwork(mlp_spec(4, hidden, 2), T=T), (4,), made=Made(how="x", spike_penalty=penalty))
    agents.save(agent, folder / name)
    return agents.load(folder / name)


def test_opponents_are_the_anns_of_the_same_shape_beside_the_agent(tmp_path: Path) -> None:
    agent = make(tmp_path, "T1", 1)
    assert not opponents.find(agent).networks  # shipped ones have other layers
    ann, sparse = make(tmp_path, "ann", 0), make(tmp_path, "ann-sparse", 0, 0.5)
    make(tmp_path, "a-wider-one", 0, hidden=5)
    found = opponents.find(agent).networks
    assert {kind: agents.fingerprint(network) for kind, network in found.items()} == {
        "ann": agents.fingerprint(ann.network),
        "sparse": agents.fingerprint(sparse.network),
    }
    assert list(opponents.find(ann).networks) == ["sparse"]
    (tmp_path / "ann" / "card.json").write_text("{")
    assert list(opponents.find(agent).networks) == ["sparse"]


def test_the_strongest_opponent_is_the_one_that_takes_least() -> None:
    agent = Agent("CartPole-v1", "T1", QNetwork(mlp_spec(4, 4, 2), T=1), (4,))
    own = Counts(1, 24, 0, 16, 0, {"fc2": 2.0}, 4, 8, change_macs=4, change_accesses=0)
    found = {"ann": Counts(0, 24, 12, change_macs=9, change_accesses=1), "sparse": Counts(0, 24, 8)}
    cost = opponents.compared(agent, energy(own, PRICES), own, found, PRICES)
    assert cost.opponents is not None
    wanted = {"dense": 48e-6, "nonzero": 24e-6, "sparse": 16e-6, "changes": 25e-6}
    assert cost.opponents_missing is None
    assert cost.opponents.to_json() == pytest.approx(wanted)
    assert cost.ratio_strongest == pytest.approx(16 / (4 * 2 + 2 * 0.5 + 4 * 3 + 8 * 7))


def test_what_there_is_not_is_null_with_its_reason() -> None:
    agent = Agent("CartPole-v1", "T1", QNetwork(mlp_spec(4, 4, 2), T=1), (4,))
    own = Counts(1, 24, 0, 16, 0, {"fc2": 2.0}, 4, 8)
    found = opponents.compared(agent, energy(own, FP32), own, {}, FP32).to_json()
    missing = found["opponents_missing"]
    assert found["opponents"] == {"dense": pytest.approx(24 * 4.6e-6), **dict.fromkeys(missing)}
    assert set(missing) == {"nonzero", "sparse", "changes"}
    assert all(len(reason) > 20 for reason in missing.values())


def test_the_first_layer_of_integers_multiplies_what_the_event_engine_counts() -> None:
    from random_networks import random_network, random_play

    from snn_rl.engine.event import EventNetwork
    from snn_rl.engine.rounding import quantise

    for seed in (3, 5, 8):
        rng = np.random.default_rng(seed)
        network, shape, observed = random_network(rng)
        event = EventNetwork(quantise(network, observed=observed), shape)
        play = th.from_numpy(random_play(rng, shape, observed is None, steps=6, batch=1))
        count, state, before = ChangeCounter(network, shape), None, th.zeros_like(play[0])
        for frame in play:
            _, state = event(frame, state)
            macs = count([before], [frame])[0]
            assert event.changes.macs == macs
            before = frame
