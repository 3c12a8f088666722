"""Integer networks: the equations of docs/integers.md by hand, the proof that nothing overflows, and files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec
from random_networks import random_network, random_play
from safetensors.numpy import load_file, save_file

from snn_rl import load_agent
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import input_bits, quantise, rounded
from snn_rl.engine.semantics import Integers
from snn_rl.store import agents
from snn_rl.store.agents import WEIGHTS, Agent
from snn_rl.tasks.recipes import Recipe
from snn_rl.training.finetune import finetuned
from snn_rl.training.integers import to_integers
from snn_rl.training.rounded import Rounded


def by_hand(integers: Integers, x: list[int], v: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """One decision of dense layers, in Python's integers of any size."""

    def leak(v: int, d: int) -> int:
        return (abs(v) * d >> 12) * (1 if v >= 0 else -1)

    sums, F = [0] * len(integers.synapses[-1].bias), integers.form.fraction_bits
    v = [list(own) for own in v]
    for _ in range(integers.T):
        sent = x
        for n, (synapses, neurons) in enumerate(zip(integers.synapses, integers.neurons, strict=False)):
            spikes = []
            for c, row in enumerate(synapses.weight.tolist()):
                i = sum(w * s for w, s in zip(row, sent, strict=True))
                u = leak(v[n][c], int(neurons.decay[c])) + (i << F[n]) + int(synapses.bias[c])
                spikes.append(int(u > neurons.threshold[c]))
                v[n][c] = max(-integers.limit, min(integers.limit, u - int(neurons.threshold[c]) * spikes[-1]))
            sent = spikes
        readout = integers.synapses[-1]
        for a, row in enumerate(readout.weight.tolist()):
            sums[a] += int(readout.bias[a]) + sum(w * s for w, s in zip(row, sent, strict=True))
    return sums, v


@pytest.mark.parametrize(("T", "decay"), [(1, 0.7), (3, 1.0), (5, 0.001)])
def test_a_decision_is_what_the_equations_say(T: int, decay: float) -> None:
    network = lively(QNetwork(mlp_spec(3, 7, 5, 4), T=T), decay=decay)
    integers = quantise(network, observed=10)
    reference, state, v = IntegerNetwork(integers), None, [[0] * 7, [0] * 5]
    spiked = 0
    for x in np.random.default_rng(0).normal(size=(30, 1, 3)).astype(np.float32) * 20:
        q, state = reference(th.from_numpy(x), state)
        sums, v = by_hand(integers, integers.seen(x)[0].tolist(), v)
        assert q[0].tolist() == [one * integers.form.q_scale for one in sums]
        assert [own[0].tolist() for own in state] == v
        spiked += len(set(sums)) > 1
    assert spiked > 10


def test_kernels_keep_their_sums() -> None:
    kernels = np.array([[[[0.4, 0.45, 0.4, 0.25]]], [[[2.6, -1.6, 3.0, 0.0]]], [[[2.9, 3.0, 2.9, 2.9]]]])
    assert rounded(kernels, 7).tolist() == [[[[1, 1, 0, 0]]], [[[3, -2, 3, 0]]], [[[3, 3, 3, 3]]]]  # sums 1.5, 4.0, 11.7
    assert rounded(np.array([[0.4, 0.4], [1.6, -7.4]]), 7).tolist() == [[0, 0], [2, -7]]  # dense: each is its own kernel
    weight = np.random.default_rng(0).normal(size=(5, 3, 4, 4)) * 3
    found = rounded(weight, 127)
    assert np.abs(found.sum((2, 3)) - weight.sum((2, 3))).max() <= 0.5
    assert np.abs(found - weight).max() < 1


def test_observations_saturate() -> None:
    seen = quantise(QNetwork(mlp_spec(4, 3, 2), T=1), observed=12).seen
    assert seen(np.array([0.5, -0.25, 1e9, -1e9])).tolist() == [2048, -1024, 32767, -32767]
    pixels = quantise(QNetwork(mlp_spec(2, 3, 2), T=1, input_scale=1 / 255)).seen
    assert pixels(np.array([0, 255], np.uint8)).tolist() == pixels(np.array([-3.0, 300.0])).tolist() == [0, 255]


def test_fraction_bits_leave_room_for_twice_what_was_met() -> None:
    for largest in (1e-9, 0.2, 1.0, 4.8, 100.0, 1e6):
        bits = input_bits(largest)
        assert bits in (0, 15) or 2**14 <= largest * 2 * 2**bits <= 2**15


def test_more_bits_are_nearer_to_the_float_agent() -> None:
    network = lively(QNetwork(conv_spec(), T=4, input_scale=1 / 255, carry=False))
    seen = th.randint(0, 256, (64, 1, 8, 8), dtype=th.uint8)
    with th.no_grad():
        q, _ = network(seen)
        off = [float((IntegerNetwork(quantise(network, bits))(seen)[0] - q).abs().mean()) for bits in (3, 5, 8)]
    assert off[0] > off[1] > off[2]
    assert off[2] < 0.05 * float(q.abs().mean())


@pytest.mark.parametrize("seed", range(12))
def test_no_sum_leaves_its_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    reference = IntegerNetwork(quantise(network, observed=observed))
    extreme = rng.choice([0, 255] if observed is None else [-1e9, 1e9], (40, 3, *shape))
    spikes: list[th.Tensor] = []
    _, state = reference.unroll(th.as_tensor(extreme), None, None, spikes)
    assert all(int(v.abs().max()) <= reference.integers.limit for v in state)
    assert all(set(own.unique().tolist()) <= {0.0, 1.0} for own in spikes)


def test_what_could_overflow_is_refused() -> None:
    network = QNetwork(mlp_spec(3000, 3, 2), T=1)
    with pytest.raises(UserError, match=r"layer 1 could overflow 32 bits \(\d+\); quantize with fewer --bits"):
        quantise(network, observed=0)
    integers = quantise(QNetwork(mlp_spec(4, 3, 2), T=1), observed=0)
    huge = dataclasses.replace(integers.synapses[-1], bias=np.full(2, 2**31 - 1, np.int32))
    with pytest.raises(UserError, match=r"the readout could overflow 32 bits \(\d+\); quantize with fewer --readout-bits"):
        dataclasses.replace(integers, synapses=[integers.synapses[0], huge])
    never = dataclasses.replace(integers.neurons[0], threshold=np.zeros(3, np.int32))
    with pytest.raises(UserError, match=r"a threshold of layer 1 does not fit into .* bits; quantize the agent anew"):
        dataclasses.replace(integers, neurons=[never])
    growing = dataclasses.replace(integers.neurons[0], decay=np.full(3, 4097, np.int32))
    with pytest.raises(UserError, match=r"a decay of layer 1 does not lie in \[0, 4096\]; quantize the agent anew"):
        dataclasses.replace(integers, neurons=[growing])


def test_what_integers_are_not_defined_for_is_refused() -> None:
    with pytest.raises(UserError, match="an ANN has no spikes"):
        quantise(QNetwork(mlp_spec(4, 3, 2), T=0))
    pool = {"type": "AvgPool2d", "kernel_size": 2, "stride": 2, "padding": 0}
    with pytest.raises(
        UserError, match="right before each layer of neurons, after AvgPool2d or Flatten; this one has Conv2d, AvgPool2d"
    ):
        quantise(QNetwork([conv_spec()[0], pool, *conv_spec()[1:]], T=1))


def saved(folder: Path, seed: int = 0) -> Agent:
    network, shape, observed = random_network(np.random.default_rng(seed))
    integers = quantise(network, observed=observed)
    agent = Agent("CartPole-v1", "T1-int8", IntegerNetwork(integers), shape, integer=integers.form)
    agents.save(agent, folder)
    return agent


@pytest.mark.parametrize("seed", range(6))
def test_a_loaded_agent_is_the_one_that_was_saved(tmp_path: Path, seed: int) -> None:
    agent = saved(tmp_path / "agent", seed)
    again = load_agent(tmp_path / "agent")
    assert again.integer == agent.integer
    pixels = agent.integer is not None and agent.integer.input_range[0] == 0
    play = th.from_numpy(random_play(np.random.default_rng(1), agent.observation_shape, pixels, 5, 2))
    (q, state), (other, others) = agent.network.unroll(play), again.network.unroll(play)
    assert th.equal(q, other)
    assert all(th.equal(*pair) for pair in zip(state, others, strict=True))
    agents.save(again, tmp_path / "copy")
    for file in (tmp_path / "agent").iterdir():
        assert (tmp_path / "copy" / file.name).read_bytes() == file.read_bytes()


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    saved(tmp_path / "agent")
    arrays = load_file(tmp_path / "agent" / WEIGHTS)
    for key, value in {"synapses.0.weight": np.zeros((1, 1), np.int8), "neurons.0.threshold": np.zeros(1)}.items():
        save_file({**arrays, key: value}, tmp_path / "agent" / WEIGHTS)
        with pytest.raises(UserError, match="is damaged"):
            load_agent(tmp_path / "agent")


def test_only_load_agent_takes_integers(tmp_path: Path) -> None:
    saved(tmp_path / "agent")
    with pytest.raises(UserError, match="is an agent of integers"):
        agents.load(tmp_path / "agent")
    with pytest.raises(UserError, match="is an agent of float numbers"):
        load_agent("CartPole-v1/T1", engine="torch")
    with pytest.raises(UserError, match="no engine 'magic'; choose from"):
        load_agent(tmp_path / "agent", engine="magic")


def test_an_agent_is_rounded_by_what_it_meets(recipe: Recipe) -> None:
    agent = load_agent("CartPole-v1/T1")
    rounded = to_integers(agent, recipe)
    assert rounded.label == "CartPole-v1/T1-int8"
    assert rounded.made.origin is not None
    assert rounded.made.origin.name == "CartPole-v1/T1"
    assert rounded.integer is not None
    assert rounded.integer.input_bits >= 11
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * 0.1
    assert np.mean(rounded.predict(observations)[0] == agent.predict(observations)[0]) > 0.9


def test_a_finetuned_agent_has_its_weights_on_the_grid_and_goes_on_from_exact_ones(recipe: Recipe, tmp_path: Path) -> None:
    agent = finetuned(load_agent("CartPole-v1/T1"), None, recipe, 3, tmp_path / "T1-int3-float", th.device("cpu"))
    integers = quantise(agent.network, 3, observed=10)
    for own, layer in zip(integers.synapses[:-1], list(agent.network.synapses)[:-1], strict=True):
        weight = list(layer.children())[-1].weight
        scale = weight.detach().abs().amax(1, keepdim=True) / 3
        assert set(np.unique(own.weight)) == {-3, -2, -1, 0, 1, 2, 3}
        assert th.allclose(th.from_numpy(own.weight) * scale, weight)
    assert agent.made.how == "trained from T1, objective distill, weights rounded to 3 bits"
    again = finetuned(load_agent("CartPole-v1/T1"), None, recipe, 3, tmp_path / "T1-int3-float", th.device("cpu"))
    assert agents.fingerprint(again.network) == agents.fingerprint(agent.network)
    with pytest.raises(UserError, match=r"holds another agent \(its number of bits differs\); choose"):
        finetuned(load_agent("CartPole-v1/T1"), None, recipe, 4, tmp_path / "T1-int3-float", th.device("cpu"))


def test_rounded_weights_step_from_exact_ones() -> None:
    student = QNetwork(mlp_spec(2, 3, 2), T=1)
    weight, optimizer = student.synapses[0][0].weight, th.optim.SGD(student.parameters(), lr=0.001)
    with th.no_grad():
        weight.copy_(th.tensor([[0.3, 1.0], [-1.0, 0.1], [0.2, 0.9]]))
    own = Rounded(student, optimizer, bits=2)
    assert weight.tolist() == [[0.0, 1.0], [-1.0, 0.0], [0.0, pytest.approx(0.9)]]
    weight.grad = th.full_like(weight, -10.0)
    optimizer.step()
    assert own.exact[0].flatten().tolist() == pytest.approx([0.31, 1.01, -0.99, 0.11, 0.21, 0.91])
    assert weight.flatten().tolist() == pytest.approx([0.0, 1.01, -0.99, 0.0, 0.0, 0.91])
    kept = own.state_dict()
    other = QNetwork(mlp_spec(2, 3, 2), T=1)
    again = Rounded(other, th.optim.SGD(other.parameters(), lr=0.001), bits=2)
    again.load_state_dict(kept)
    assert th.equal(other.synapses[0][0].weight, weight)
    assert th.equal(again.exact[0], own.exact[0])
