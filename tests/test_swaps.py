"""Membranes that are replaced while an agent plays (``tools/swaps.py``)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch as th
from conftest import lively, mlp_spec

from snn_rl.core.network import QNetwork, State

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import swaps

PLAY, STARTS = th.arange(18.0).reshape(6, 1, 3) / 9, th.tensor([[1], [0], [0], [0], [1], [0]])


def decide(network: QNetwork) -> tuple[list[th.Tensor], State]:
    """Values of each decision, one after the other."""
    state, values = network.initial_state(1, (3,)), []
    for seen, start in zip(PLAY, STARTS, strict=True):
        q, state = network.unroll(seen[None], state, start[None])
        values.append(q[0, 0])
    return values, state


@pytest.fixture
def network() -> QNetwork:
    th.manual_seed(0)
    return lively(QNetwork(mlp_spec(3, 8, 2), T=1)).requires_grad_(False)


def test_its_own_membranes_change_nothing(network: QNetwork) -> None:
    wanted, state = decide(network)
    found, swapped = decide(swaps.Swapped(network))
    assert all(th.equal(*pair) for pair in zip(wanted, found, strict=True))
    assert all(th.equal(*pair) for pair in zip(state, swapped, strict=False))
    assert swapped[-1].tolist() == [2]  # two decisions since the last episode began


def test_zeros_are_a_network_that_carries_nothing(network: QNetwork) -> None:
    forgetful = QNetwork(network.spec, 1, carry=False)
    forgetful.load_state_dict(network.state_dict())
    wanted, found = decide(forgetful)[0], decide(swaps.Swapped(network, range(len(network.lifs))))[0]
    assert all(th.equal(*pair) for pair in zip(wanted, found, strict=True))


def test_recorded_membranes_are_found_by_the_number_of_the_decision(network: QNetwork) -> None:
    recorded, state = [], network.initial_state(1, (3,))
    for seen, start in zip(PLAY, STARTS, strict=True):
        recorded.append(tuple(v[0] * (1 - start.item()) for v in state))
        _, state = network.unroll(seen[None], state, start[None])
    found = decide(swaps.Swapped(network, recorded=recorded[:4]))[0]  # of the same play: the same values
    assert all(th.equal(*pair) for pair in zip(decide(network)[0][:4], found, strict=False))
    alien = [tuple(v + 5 for v in own) for own in recorded]
    assert not th.equal(decide(swaps.Swapped(network, recorded=alien))[0][2], found[2])
