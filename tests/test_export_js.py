"""Agents in JavaScript: the spikes and the actions of Python, over whole games, in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from random_networks import random_network, random_play

from snn_rl import UserError, export, load_agent
from snn_rl.core.network import QNetwork
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import quantise
from snn_rl.exports import js
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import play, starts

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed, which runs JavaScript")
SCRIPT = """
const { SpikingAgent } = require(process.argv[1] + "/agent.js");
const agent = new SpikingAgent(require(process.argv[1] + "/agent.json"));
const decisions = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(decisions.map(({ seen, first }) => {
  if (first) agent.reset();
  const { action, q, spikes, membranes } = agent.decide(seen);
  const fired = spikes.map((layer) => layer.map((z) => [...z.keys()].filter((i) => z[i])));
  return { action, q: [...q], fired, membranes: membranes.map((v) => [...v]) };
})));
"""


def in_node(agent: Agent, folder: Path, seen: list[np.ndarray], first: list[bool]) -> list[dict[str, Any]]:
    """What JavaScript decides; ``fired``: which neurons spiked, by layer and timestep."""
    js.write(agent, folder)
    text = json.dumps([{"seen": one.ravel().tolist(), "first": begins} for one, begins in zip(seen, first, strict=True)])
    node = ["node", "-e", SCRIPT, str(folder)]
    found: list[dict[str, Any]] = json.loads(
        subprocess.run(node, input=text, capture_output=True, text=True, check=True).stdout
    )
    return found


def agree(network: QNetwork, seen: list[np.ndarray], first: list[bool], found: list[dict[str, Any]]) -> None:
    """Every spike and action is Python's; membranes are to the last digits."""
    state = None
    for observation, begins, own in zip(seen, first, found, strict=True):
        layers: list[th.Tensor] = []
        with th.no_grad():
            shown = th.from_numpy(observation)[None, None]
            q, state = network.unroll(shown, None if begins else state, None, layers)
        for layer, fired in zip(layers, own["fired"], strict=True):
            assert [np.flatnonzero(z).tolist() for z in layer[0, :, 0]] == fired
        assert own["action"] == int(q[0, 0].argmax())
        np.testing.assert_allclose(own["q"], q[0, 0], rtol=1e-4, atol=1e-4)
        for v, membrane in zip(state, own["membranes"], strict=False):
            np.testing.assert_allclose(membrane, v[0].flatten(), rtol=1e-4, atol=1e-4)


@needs_node
@pytest.mark.parametrize(
    ("name", "most"), [("CartPoleNoVel-v1/T1", 500), ("CartPole-v1/T2", 60), ("CartPoleFlicker-v1/T5-zeroed", 60)]
)
def test_games_of_cartpole(name: str, most: int, tmp_path: Path) -> None:
    """The first is a whole one."""
    agent = load_agent(name)
    recipe = load_recipe(agent.env)
    seen, first, done = list[np.ndarray](), list[bool](), True
    for decision in islice(play(agent.network, [make_env(recipe)], starts(recipe, 1, seed=0)), most):
        seen.append(decision.observation[0])
        first.append(done)
        done = bool(decision.done[0])
    agree(agent.network, seen, first, in_node(agent, tmp_path / "js", seen, first))


@needs_node
@pytest.mark.parametrize("seed", range(8))
def test_random_networks_with_convolutions_pools_and_groups(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    seen, first = list(random_play(rng, shape, observed is None, steps=6, batch=1)[:, 0]), [True, *[False] * 5]
    agree(network, seen, first, in_node(Agent("X", "T", network, shape), tmp_path / "js", seen, first))


@needs_node
def test_some_decisions_of_pong(tmp_path: Path) -> None:
    agent = load_agent("PongNoFrameskip-v4/T1-frames1")
    recipe = load_recipe(agent.env, agent.frames)
    game = play(agent.network, [make_env(recipe, frames=agent.frames)], starts(recipe, 1, seed=0))
    seen = [next(game).observation[0] for _ in range(4)]
    first = [True, *[False] * 3]
    agree(agent.network, seen, first, in_node(agent, tmp_path / "js", seen, first))


@needs_node
def test_bad_observations_are_refused(tmp_path: Path) -> None:
    export.main(["CartPoleNoVel-v1/T1", "--to", "js", "--out", str(tmp_path / "js")])
    for seen, about in (("[0]", "an observation has 2 numbers"), ("[0, NaN]", "an observation holds NaN or infinity")):
        script = SCRIPT.partition("const decisions")[0] + f"agent.decide({seen})"
        node = ["node", "-e", script, str(tmp_path / "js")]
        assert about in subprocess.run(node, capture_output=True, text=True, check=False).stderr


def test_what_javascript_does_not_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is an ANN; JavaScript runs spiking agents: --to onnx takes ANNs"):
        export.main(["CartPole-v1/ann", "--to", "js", "--out", str(tmp_path / "js")])
    network, shape, observed = random_network(np.random.default_rng(0))
    integers = quantise(network, observed=observed)
    with pytest.raises(UserError, match="is an agent of integers; --to c or --to onnx takes those"):
        js.write(Agent("X", "T", IntegerNetwork(integers), shape, integer=integers.form), tmp_path / "js")
    assert not (tmp_path / "js").exists()
