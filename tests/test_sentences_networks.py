"""What is said of networks that cannot be, and of what they are given: the layer or the number, and the way out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, mlp_spec
from test_spec import named
from test_trust_integers import folder, large, spoilt
from torch import nn

from snn_rl import load_agent
from snn_rl.core.errors import UserError
from snn_rl.core.fold import folded
from snn_rl.core.initialise import standardizable
from snn_rl.core.lif import LIF
from snn_rl.core.network import QNetwork
from snn_rl.core.outline import outline
from snn_rl.core.spec import UnconvertibleError, describe
from snn_rl.core.synops import OperationCounter
from snn_rl.engine.program import Program
from snn_rl.engine.rounding import quantise
from snn_rl.exports.compiled import Compiled
from snn_rl.speed.runtimes import graph
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import play, starts

__all__ = ["folder"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (nn.Sigmoid(), r"\(Sigmoid\): only AvgPool2d, Conv2d, Flatten, Linear, ReLU, Tanh have a spiking counterpart"),
        (nn.AvgPool2d(2, ceil_mode=True), ": use padding_mode='zeros' and ceil_mode=False"),
        (nn.AvgPool2d(2, divisor_override=3), ": AvgPool2d must divide by its kernel's size"),
    ],
)
def test_a_module_without_a_counterpart_says_what_has_one(bad: nn.Module, reason: str) -> None:
    with pytest.raises(UnconvertibleError, match=rf"^cannot convert module 'body\.2' ?{reason}$"):
        describe(named(nn.Conv2d(1, 4, 3), nn.ReLU(), bad, nn.Flatten(), nn.Linear(4, 2)))


POOL = {"type": "AvgPool2d", "kernel_size": 1, "stride": 1, "padding": 0}
NORM = {"type": "BatchNorm2d", "num_features": 1}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: QNetwork(mlp_spec(4, 2), T=-1), r"T must be at least 1 for a spiking network \(0 is the ANN\), got -1"),
        (
            lambda: outline([{"type": "Flatten"}] * 300, 1, 1.0, True, (4,)),
            "network has 300 layers; more than 256 are refused",
        ),
        (
            lambda: QNetwork(conv_spec()[:1], T=0).shapes((1, 8, 8)),
            r"the network's output has shape \(4, 4, 4\), expected one Q-value per action",
        ),
        (lambda: LIF().set(decay=(0.1, 0.9)), "one decay for the whole layer cannot be spread from 0.1 to 0.9"),
        (
            lambda: OperationCounter(QNetwork(mlp_spec(4, 3, 2), T=1), (4,)).counts(),
            "nothing was measured: play at least one decision first",
        ),
    ],
)
def test_a_network_that_cannot_be_says_why(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        make()


def test_a_batch_norm_that_cannot_be_folded_is_told() -> None:
    network = QNetwork([conv_spec()[0], POOL, {"type": "BatchNorm2d", "num_features": 4}, *conv_spec()[4:]], T=0)
    with pytest.raises(UnconvertibleError, match="a batch norm can only be folded into the Conv2d right before it"):
        folded(network)


def test_currents_that_cannot_be_standardised_say_what_to_change() -> None:
    told = r"^the currents of fc1 cannot be standardised: .*; train without \(standardize and data_init in the recipe\)$"
    with pytest.raises(UnconvertibleError, match=told):
        standardizable(QNetwork(mlp_spec(4, 3, 2, bias=False), T=1))


# Agents of integers


def test_a_readout_of_large_biases_says_what_to_give() -> None:
    network = QNetwork(mlp_spec(4, 3, 2), T=1)
    with th.no_grad():
        network.synapses[-1][0].weight.fill_(1e-6)
        network.synapses[-1][0].bias.fill_(1e6)
    told = "^the biases of the readout are too large for integers beside its weights; give more --readout-bits$"
    with pytest.raises(UserError, match=told):
        quantise(network, observed=4, readout_bits=2)


def test_a_state_of_other_spikes_says_what_to_pass_on(folder: Path) -> None:
    agent, seen = load_agent(folder), np.ones((3, 4), np.float32)
    _, state = agent.predict(seen)
    with pytest.raises(UserError) as error:
        agent.predict(seen, (state[0], state[1][:, :1]))
    told = "the state has last spikes (3, 1) where its membranes are (3, 6); pass on what the previous call returned"
    assert str(error.value) == told


def test_other_numbers_of_fraction_bits_are_told(folder: Path) -> None:
    with pytest.raises(UserError) as error:
        load_agent(spoilt(folder, {"fraction_bits": [1, 2, 3]}))
    assert f"'{folder}' is damaged (3 numbers of fraction bits for 1 layers); restore the folder" in str(error.value)


def test_the_engine_says_which_package_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snn_rl.engine.event", None)
    told = r"^the event engine needs numba: pip install 'snn-rl\[event\]', or choose the engine torch$"
    with pytest.raises(UserError, match=told):
        load_agent(folder, engine="event")


def test_what_no_program_can_be_made_of_is_told() -> None:
    with pytest.raises(UserError, match="take 4,000,000: use strides, smaller images or the engine torch"):
        Program(large(1000, 20), (1, 1000, 1000))
    integers = quantise(QNetwork(mlp_spec(4, 3, 2), T=1), observed=4)
    with pytest.raises(UserError, match=r"take vectors and images, not observations of shape \(2, 2\)"):
        Program(integers, (2, 2))


def test_a_compiler_that_fails_is_named_in_one_line() -> None:
    agent = load_agent("CartPole-v1/T1-int8")
    with pytest.raises(UserError, match=r"^the C compiler \S+ failed: .*no-such-option.*; install another one$") as error:
        Compiled(agent, flags=["-fno-such-option-at-all", "-shared"])
    assert "\n" not in str(error.value)


# What plays


@pytest.mark.parametrize("T", [0, 1])
def test_weights_that_overflow_in_play_say_what_to_do(T: int) -> None:
    network = QNetwork(mlp_spec(4, 2), T=T)
    with th.no_grad():
        network.synapses[0][0].weight.fill_(3e38)
    recipe = load_recipe("CartPole-v1")
    told = "the agent's Q-values are not finite; its weights are damaged, so load or train it anew"
    with pytest.raises(UserError, match=told):
        list(play(network, [make_env(recipe)], starts(recipe, 1, 0)))


def test_weights_beyond_half_precision_say_what_to_do(tmp_path: Path) -> None:
    agent = agents.load("CartPole-v1/T1")
    with th.no_grad():
        agent.network.synapses[0][-1].weight.fill_(1e6)
    told = r"^'synapses\.0\.1\.weight' holds a number beyond half precision \(65,504\); save it with half = false$"
    with pytest.raises(UserError, match=told):
        agents.save(agent, tmp_path / "agent", half=True)


def test_a_layer_without_a_contestant_is_named() -> None:
    with pytest.raises(UserError, match="no contestant in ONNX Runtime has a layer Sigmoid"):
        graph(nn.Sequential(nn.Sigmoid()), (1, 4))
