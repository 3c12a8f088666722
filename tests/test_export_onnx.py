"""Agents in onnxruntime: the actions of Python, over whole games."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch as th
from conftest import conv_spec, lively
from random_networks import random_network, random_play

from snn_rl import UserError, export, load_agent
from snn_rl.core.network import QNetwork
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import quantise
from snn_rl.exports.onnx import model
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import Start, play, starts

KINDS = [  # dense, recurrent, an ANN, convolutions with a decay per channel, all of them
    "CartPole-v1/T5",
    "CartPoleNoVel-v1/T1",
    "CartPoleFlicker-v1/T5-zeroed",
    "CartPole-v1/ann",
    "PongNoFrameskip-v4/T1-frames1",
    "PongFlickerNoFrameskip-v4/T1",
    "FreewayNoFrameskip-v4/ann",
]


class Runtime:
    """An agent's file in onnxruntime; keeps the state of its environments."""

    def __init__(self, agent: Agent, batch: int) -> None:
        self.session = onnxruntime.InferenceSession(model(agent).SerializeToString(), providers=["CPUExecutionProvider"])
        zeros = [v.numpy() for v in agent.network.initial_state(batch, agent.observation_shape)]
        self.state = {f"state_{n}": v for n, v in enumerate(zeros)}

    def __call__(self, observation: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        seen = {"observation": observation, "episode_start": starts}
        q, action, *state = self.session.run(None, {**seen, **self.state})
        self.state = dict(zip(self.state, state, strict=True))
        return q, action, state


def observations(agent: Agent, rng: np.random.Generator, batch: int) -> np.ndarray:
    shape = (batch, *agent.observation_shape)
    return rng.integers(0, 256, shape).astype(np.uint8) if len(shape) == 4 else rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", KINDS)
def test_shipped_agents_of_every_kind(name: str) -> None:
    agent, batch, rng = load_agent(name), 3, np.random.default_rng(0)
    runtime, state = Runtime(agent, batch), None
    for _ in range(3):
        seen, begins = observations(agent, rng, batch), rng.random(batch) < 0.3
        with th.no_grad():
            wanted, state = agent.network(th.from_numpy(seen), state, th.from_numpy(begins))
        q, action, after = runtime(seen, begins)
        assert action.tolist() == wanted.argmax(1).tolist()
        np.testing.assert_allclose(q, wanted, rtol=1e-4, atol=1e-3)
        for own, other in zip(after, state, strict=True):
            np.testing.assert_allclose(own, other, atol=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_with_pooling_groups_and_recurrent_synapses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    runtime = Runtime(Agent("X", "T", network, shape), 3)
    state = None
    for seen in random_play(rng, shape, observed is None, steps=5, batch=3):
        if runtime.session.get_inputs()[0].type == "tensor(float)":
            seen = seen.astype(np.float32)
        begins = rng.random(3) < 0.3
        with th.no_grad():
            wanted, state = network(th.from_numpy(seen), state, th.from_numpy(begins))
        q, _, after = runtime(seen, begins)
        np.testing.assert_allclose(q, wanted, atol=1e-4)
        for own, other in zip(after, state, strict=True):
            np.testing.assert_allclose(own, other, atol=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_integers_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    integers = quantise(network, bits=int(rng.integers(3, 9)), observed=observed)
    reference = IntegerNetwork(integers)
    runtime, state = Runtime(Agent("X", "T-int8", reference, shape, integer=integers.form), 3), None
    for seen in random_play(rng, shape, observed is None, steps=5, batch=3):
        if runtime.session.get_inputs()[0].type == "tensor(float)":
            seen = seen.astype(np.float32)
        begins = rng.random(3) < 0.3
        wanted, state = reference(th.from_numpy(seen), state, th.from_numpy(begins))
        q, action, after = runtime(seen, begins)
        assert q.tolist() == wanted.tolist()
        assert action.tolist() == wanted.argmax(1).tolist()
        assert all(np.array_equal(*pair) for pair in zip(after, state, strict=True))


def test_integers_that_float32_cannot_convolve_exactly_are_refused() -> None:
    """255 x 127 x 9 weights x 64 channels is beyond 2^24."""
    network = QNetwork(conv_spec(channels=64), T=1, input_scale=1 / 255)
    with th.no_grad():
        network.synapses[0][0].weight.fill_(1.0)
    integers = quantise(network)
    with pytest.raises(
        UserError,
        match=r"a sum of layer 1 could be 18,653,760, and ONNX convolves exactly only up to .*; quantize with fewer --bits",
    ):
        model(Agent("X", "T", IntegerNetwork(integers), (64, 8, 8), integer=integers.form))


def test_a_whole_game_of_cartpole() -> None:
    agent = load_agent("CartPoleNoVel-v1/T1")
    recipe, begins = load_recipe(agent.env), starts(load_recipe(agent.env), 1, seed=0)
    runtime, first, decisions = Runtime(agent, 1), np.array([True]), 0
    for decision in play(agent.network, [make_env(recipe)], begins):
        _, action, _ = runtime(decision.observation, first)
        assert action.tolist() == decision.action.tolist()
        first, decisions = decision.done, decisions + 1
    assert decisions == 500


def test_a_second_of_pong() -> None:
    agent = load_agent("PongNoFrameskip-v4/T1-frames1")
    runtime, first = Runtime(agent, 1), np.array([True])
    env = make_env(load_recipe(agent.env, agent.frames), frames=agent.frames)
    for n, decision in enumerate(play(agent.network, [env], [Start(0, 1)])):
        _, action, _ = runtime(decision.observation, first)
        assert action.tolist() == decision.action.tolist()
        first = decision.done
        if n == 40:
            break


def test_the_file_says_what_it_takes_and_what_its_state_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "agent.onnx"
    assert export.main(["CartPoleNoVel-v1/T1", "--to", "onnx", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "takes observation, state_0, state_1, state_2, state_3, episode_start" in told
    assert "gives q, action, next_state_0, next_state_1, next_state_2, next_state_3" in told
    made = onnx.load(out)
    assert made.opset_import[0].version >= 18
    assert {node.domain for node in made.graph.node} == {""}
    said = {entry.key: entry.value for entry in made.metadata_props}
    assert [one["holds"] for one in json.loads(said["state"])] == [
        "membranes of fc1",
        "membranes of fc2",
        "last spikes of fc1",
        "last spikes of fc2",
    ]
    assert json.loads(said["state"])[0]["shape"] == ["batch", 256]
    assert (said["agent"], said["T"], said["membranes"]) == ("CartPoleNoVel-v1/T1", "1", "carried")


def test_the_loop_of_the_page_plays_as_python_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "exports.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    block = next(block for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "onnxruntime" in block)
    known: dict[str, Any] = {}
    exec(compile(block, "docs/exports.md", "exec"), known)
    agent, first = load_agent("CartPoleNoVel-v1/T1"), True
    for game in range(2):  # the second begins from rest
        for decision in islice(play(agent.network, [make_env(load_recipe(agent.env))], [Start(game, None)]), 30):
            assert known["decide"](decision.observation[0], first) == decision.action[0]
            first = False
        first = True


def test_padding_by_name_and_dilation() -> None:
    spec = conv_spec()
    spec[0] |= {"stride": [1, 1], "padding": "same", "kernel_size": [5, 3], "dilation": [1, 2]}
    spec[2] |= {"padding": "valid", "stride": [3, 3]}
    network = lively(QNetwork(spec, T=2))
    runtime = Runtime(Agent("X", "T", network, (1, 8, 8)), 2)
    seen = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    with th.no_grad():
        wanted, _ = network(th.from_numpy(seen))
    np.testing.assert_allclose(runtime(seen, np.ones(2, bool))[0], wanted, atol=1e-5)


@pytest.mark.parametrize(("kind", "package"), [("onnx", "onnx"), ("nir-lif", "nir")])
def test_a_missing_package_is_said_with_its_extra(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr(export, "import_module", missing)
    with pytest.raises(UserError, match=rf"--to {kind} needs the package {package}: pip install 'snn-rl\[{package}\]'"):
        export.main(["CartPole-v1/T1", "--to", kind, "--out", str(tmp_path / "x")])
