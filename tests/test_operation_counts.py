"""Our counts of operations are NeuroBench's and SpikingJelly's, to the unit, or the difference has a reason."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively

from snn_rl import load_agent
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import spiking
from snn_rl.store.agents import Agent
from snn_rl.tasks.rollout import Decision


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    for name in ("neurobench", "spikingjelly"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install --no-deps {name}")
    where = Path(__file__).parents[1] / "tools" / "operation_counts.py"
    spec = importlib.util.spec_from_file_location("operation_counts", where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["operation_counts"] = module
    spec.loader.exec_module(module)
    return module


def agrees(found: dict[str, object]) -> None:
    own, theirs = found["ours"], found["neurobench_zeros"]
    assert own["ACs"] == theirs["ACs"] == found["spikingjelly_acs"]
    if found["zero_weights"] == 0:
        assert found["neurobench"] == theirs
    else:  # NeuroBench leaves weights out that are 0
        assert found["neurobench"]["ACs"] < theirs["ACs"]


@pytest.mark.parametrize("name", ["CartPole-v1/T2", "CartPoleNoVel-v1/T1"])
def test_accumulates_of_dense_and_recurrent_layers(name: str, tool: ModuleType) -> None:
    found = tool.compare(load_agent(name), 15)
    agrees(found)
    assert found["ours"]["ACs"] > 10_000
    assert found["ours"]["MACs"] == found["neurobench_zeros"]["MACs"]  # no observation of CartPole is 0


def test_multiply_accumulates_of_an_ann_with_and_without_zeros(tool: ModuleType) -> None:
    found = tool.compare(load_agent("CartPole-v1/ann"), 15)
    assert found["ours"] == {"MACs": found["neurobench"]["MACs"], "ACs": 0, "ann_macs": found["neurobench"]["dense"]}
    assert found["ours"]["MACs"] < found["ours"]["ann_macs"]


def test_accumulates_of_padded_convolutions(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a spike at the border reaches fewer synapses."""
    spec = conv_spec()
    spec[2] |= {"padding": [2, 1], "stride": [2, 1], "groups": 1}
    spec[5] |= {"in_features": QNetwork(spec, T=1).synapses[1](th.zeros(1, 4, 4, 4)).numel()}
    network = lively(QNetwork(spiking(spec), T=3), v_th=0.05)
    agent, state, decisions = Agent("X", "T3", network, (1, 8, 8)), None, []
    for seen in np.random.default_rng(0).normal(size=(4, 1, 1, 8, 8)).astype(np.float32):
        layers: list[th.Tensor] = []
        q, state = network.unroll(th.from_numpy(seen)[None], state, None, layers)
        none = np.zeros(1)
        decisions.append(Decision([0], seen, q[0], none, none, none, [layer[0].detach() for layer in layers]))
    own = tool.ours(agent, decisions)
    assert own["ACs"] > 100
    assert own["ACs"] == tool.with_neurobench(network, decisions, zeros=True)["ACs"]
    assert own["ACs"] == tool.with_spikingjelly(network, decisions)
