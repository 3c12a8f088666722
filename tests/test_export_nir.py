"""Agents in NIR: the exact graph has every spike of the agent, and the one that is another network says so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import nir
import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec
from random_networks import random_network, random_play

from snn_rl import UserError, export, load_agent
from snn_rl.core.network import QNetwork
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import quantise
from snn_rl.exports import nir as exact
from snn_rl.exports import nir_lif
from snn_rl.exports.traces import Traces, traces
from snn_rl.store.agents import Agent


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 decisions of golden traces."""
    monkeypatch.setattr("snn_rl.exports.traces.MOST_DECISIONS", 60)


@pytest.fixture(scope="module")
def conformance() -> ModuleType:
    where = Path(__file__).parents[1] / "tools" / "nir_conformance.py"
    spec = importlib.util.spec_from_file_location("nir_conformance", where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nir_conformance"] = module
    spec.loader.exec_module(module)
    return module


def test_one_neuron_by_hand() -> None:
    """decay 0.5, threshold 2: an Euler step of 0.1 ms keeps half with tau = 0.2 ms; a spike takes 0.5 x 2 from the next."""
    network = QNetwork(mlp_spec(1, 1, 1), T=1)
    network.lifs[0].set(v_th=2.0, decay=0.5)
    made = exact.graph(Agent("X", "T1", network, (1,)))
    assert made.nodes["fc1_membrane"].tau.tolist() == pytest.approx([2e-4])
    assert made.nodes["fc1_membrane"].r.tolist() == pytest.approx([2.0])
    assert made.nodes["fc1_spikes"].threshold.tolist() == pytest.approx([2.0])
    assert made.nodes["fc1_reset"].scale.tolist() == pytest.approx([-1.0])
    assert sorted(made.edges) == [
        ("fc1", "fc1_membrane"),
        ("fc1_membrane", "fc1_spikes"),
        ("fc1_reset", "fc1_membrane"),
        ("fc1_spikes", "fc1_reset"),
        ("fc1_spikes", "fc2"),
        ("fc2", "q"),
        ("observation", "fc1"),
    ]
    network.lifs[0].set(decay=1.0)  # no leak: NIR's integrator
    made = exact.graph(Agent("X", "T1", network, (1,)))
    assert made.nodes["fc1_membrane"].r.tolist() == pytest.approx([1e4])
    assert made.nodes["fc1_reset"].scale.tolist() == pytest.approx([-2.0])


@pytest.mark.parametrize("name", ["CartPoleNoVel-v1/T1", "CartPole-v1/T2"])
def test_every_spike_of_play_in_nirtorch(name: str, tmp_path: Path, conformance: ModuleType) -> None:
    out = tmp_path / "agent.nir"
    assert export.main([name, "--to", "nir", "--out", str(out)]) == 0
    found = {row["importer"]: row for row in conformance.compare(out, load_agent(name).network.T)}
    assert found["nirtorch"]["spikes"] > 1000
    assert found["nirtorch"]["not_the_agents"] == 0
    for importer in ("snntorch", "spikingjelly", "norse"):  # they know neither integrators nor thresholds
        assert "LI" in found[importer]["error"] or "fc1_membrane" in found[importer]["error"]


def all_spikes_are_found(network: QNetwork, seen: np.ndarray, folder: Path, conformance: ModuleType) -> None:
    """Of a network of anything, on observations ``(decisions, 1, ...)``."""
    layers: list[th.Tensor] = []
    with th.no_grad():
        q, _ = network.unroll(th.from_numpy(seen), None, None, layers)
    T, names = network.T, network.layer_names
    spikes = {name: own[:, :, 0].flatten(0, 1).numpy() > 0 for name, own in zip(names, layers, strict=False)}
    golden = Traces(len(seen), np.repeat(seen[:, 0], T, axis=0), spikes, np.repeat(q[:, 0].numpy(), T, axis=0))
    exact.save(exact.graph(Agent("X", "T", network, seen.shape[2:])), golden, folder / "x.nir")
    found = conformance.compare(folder / "x.nir", T)[0]
    assert found["spikes"] > 0
    assert found["not_the_agents"] == 0


@pytest.mark.parametrize("seed", [1, 13, 15, 27])
def test_every_spike_of_random_networks_in_nirtorch(seed: int, tmp_path: Path, conformance: ModuleType) -> None:
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    network.carry = True
    all_spikes_are_found(network, random_play(rng, shape, observed is None, steps=6, batch=1), tmp_path, conformance)


def test_every_spike_behind_pools_and_pixels(tmp_path: Path, conformance: ModuleType) -> None:
    spec = conv_spec()
    spec.insert(2, {"type": "AvgPool2d", "kernel_size": 2, "stride": 1, "padding": 1})
    spec[6] |= {"in_features": 45}
    network = lively(QNetwork(spec, T=2, input_scale=1 / 255), v_th=0.1)
    seen = np.random.default_rng(0).integers(0, 256, (5, 1, 1, 8, 8)).astype(np.uint8)
    all_spikes_are_found(network, seen, tmp_path, conformance)


@pytest.mark.parametrize("other", [{"kernel_size": [3, 1], "padding": [1, 0]}, {"groups": 4, "out_channels": 4}])
def test_convolutions_that_nir_misunderstands_are_refused(other: dict[str, object]) -> None:
    spec = conv_spec()
    spec[2] |= {"stride": [2, 2], "padding": [1, 1], **other}
    spec[5] |= {"in_features": QNetwork(spec, T=1).synapses[1](th.zeros(1, 4, 4, 4)).numel()}
    with pytest.raises(UserError, match=r"kernel is not square or that has groups \(conv2: .*\); export the agent to onnx"):
        exact.graph(Agent("X", "T", QNetwork(spec, T=1), (1, 8, 8)))


def test_the_other_neuron_is_said_and_measured(
    tmp_path: Path, conformance: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    out, agent = tmp_path / "agent.nir", load_agent("CartPole-v1/T2")
    assert export.main(["CartPole-v1/T2", "--to", "nir-lif", "--out", str(out)]) == 0
    assert "NOT the agent's" in capsys.readouterr().out
    said = nir.read(out).metadata
    golden = traces(agent)
    by_layer, actions = nir_lif.mismatch(agent, golden)
    assert said["different_actions"] == actions
    assert f"{said['different_spikes']:.2%} of the spikes differ" in said["dynamics"]
    assert said["different_spikes"] > 0.01
    assert golden.decisions == conformance.DECISIONS
    found = {row["importer"]: row for row in conformance.compare(out, 2)}
    assert found["nirtorch"]["not_the_agents"] == sum(count for count, _ in by_layer.values())
    assert found["snntorch"]["not_as_defined"] == found["spikingjelly"]["not_as_defined"] == 0
    assert found["norse"]["not_as_defined"] > 0  # it ignores r


def test_with_rare_spikes_both_neurons_are_the_same() -> None:
    """A neuron that never reaches its threshold is reset by neither."""
    network = lively(QNetwork(mlp_spec(2, 4, 2), T=1), v_th=1e6)
    seen = np.zeros((3, 2), np.float32)
    golden = Traces(3, seen, {"fc1": np.zeros((3, 4), bool)}, np.zeros((3, 2), np.float32))
    by_layer, actions = nir_lif.mismatch(Agent("X", "T1", network, (2,)), golden)
    assert by_layer == {"fc1": (0, 0)}
    assert 0 <= actions <= 1


def test_the_golden_traces_are_the_agents_and_lie_in_the_file(tmp_path: Path) -> None:
    out, agent = tmp_path / "agent.nir", load_agent("CartPole-v1/T2")
    export.main(["CartPole-v1/T2", "--to", "nir", "--out", str(out)])
    assert nir.read(out).metadata["dynamics"].startswith("exact")
    nodes = nir.read_data(out).nodes
    assert set(nodes) == {"observation", "q", "fc1_spikes", "fc2_spikes"}
    seen = nodes["observation"].observables["observation"].data[0]
    layers: list[th.Tensor] = []
    with th.no_grad():
        q, _ = agent.network.unroll(th.from_numpy(seen[::2])[:, None], None, None, layers)
    for name, own in zip(("fc1_spikes", "fc2_spikes"), layers, strict=True):
        assert np.array_equal(nodes[name].observables["spikes"].data[0], own.flatten(0, 2).numpy() > 0)
    shown = nodes["q"].observables["q"].data[0].reshape(len(q), 2, -1).mean(1)
    np.testing.assert_allclose(shown, q[:, 0], rtol=1e-5)


def test_what_nir_cannot_say_is_refused(tmp_path: Path) -> None:
    for kind in ("nir", "nir-lif"):
        with pytest.raises(UserError, match="is an ANN, and NIR has no ReLU: export it to onnx"):
            export.main(["CartPole-v1/ann", "--to", kind, "--out", str(tmp_path / "x.nir")])
    network, shape, observed = random_network(np.random.default_rng(0))
    integers = quantise(network, observed=observed)
    with pytest.raises(UserError, match="is an agent of integers, and NIR computes real numbers: export it to c or onnx"):
        exact.write(Agent("X", "T", IntegerNetwork(integers), shape, integer=integers.form), tmp_path / "x.nir")
    with pytest.raises(UserError, match="has no neurons, only a matrix, and so no spikes for NIR: export it to onnx"):
        exact.write(Agent("X", "T1", QNetwork(mlp_spec(4, 2), T=1), (4,)), tmp_path / "x.nir")
    assert not (tmp_path / "x.nir").exists()
