"""What neurons do while an agent plays, as arrays and as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import lively, mlp_spec

from snn_rl import load_agent, raster, record, traces
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import spiking
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.rollout import make_envs, play, starts
from snn_rl.training.integers import to_integers


def agent(T: int = 3, carry: bool = True, recurrent: bool = False) -> Agent:
    spec = spiking(mlp_spec(4, 6, 5, 2), recurrent=recurrent)
    network = lively(QNetwork(spec, T, carry=carry))
    if recurrent:
        for synapses in network.recurrent.values():
            th.nn.init.normal_(synapses.weight)
    return Agent("CartPole-v1", "mine", network, (4,))


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize("recurrent", [True, False])
def test_a_recording_is_what_the_network_computes_when_it_plays(carry: bool, recurrent: bool) -> None:
    one = agent(carry=carry, recurrent=recurrent)
    recording = record(one, 2, seed=4)
    recipe = load_recipe("CartPole-v1")
    n = 0
    for start in starts(recipe, 2, 4):
        for decision in play(one.network, make_envs(recipe, 1, frames=1), [start]):
            assert np.allclose(recording.q[n], decision.q[0].numpy(), atol=1e-5)
            assert (recording.actions[n], recording.rewards[n]) == (decision.action[0], decision.reward[0])
            for k, layer in enumerate(recording.layers.values()):
                assert np.array_equal(layer.spikes[n], decision.layers[k][:, 0].bool().numpy())
                assert np.allclose(layer.membranes[n, -1], decision.state[k][0].numpy(), atol=1e-5)
            n += 1
    assert n == len(recording.actions) == len(recording.q)
    assert set(recording.episode) == {0, 1}


def test_arrays_have_the_promised_shapes_and_obey_the_neurons_equation() -> None:
    recording = record(agent(T=3), decisions=7)
    first, second = recording.layers["fc1"], recording.layers["fc2"]
    assert (first.spikes.shape, second.membranes.shape) == ((7, 3, 6), (7, 3, 5))
    assert (first.spikes.dtype, first.membranes.dtype, recording.q.shape) == (np.bool_, np.float32, (7, 2))
    before, after, fired = first.membranes[:, 0], first.membranes[:, 1], first.spikes[:, 1]
    current = after + first.v_th * fired - first.decay * before  # v = decay * v + i - v_th * z
    again = first.membranes[:, 2] + first.v_th * first.spikes[:, 2] - first.decay * first.membranes[:, 1]
    assert np.allclose(current, again, atol=1e-5)  # the first layer's current is the same at each timestep
    assert "7 decisions of 3 timesteps; fc1 6, fc2 5" in repr(recording)


@pytest.mark.parametrize("recurrent", [True, False])
def test_an_agent_of_integers_is_recorded_as_it_plays(recurrent: bool) -> None:
    recipe = load_recipe("CartPole-v1")
    one = to_integers(agent(T=2, recurrent=recurrent), recipe)
    recording = record(one, 1, seed=4)
    decisions = list(play(one.network, make_envs(recipe, 1, frames=1), starts(recipe, 1, 4)))
    assert len(decisions) == len(recording.actions)
    for n, decision in enumerate(decisions):
        assert recording.q[n].tolist() == decision.q[0].float().tolist()
        for k, layer in enumerate(recording.layers.values()):
            assert np.array_equal(layer.spikes[n], decision.layers[k][:, 0].bool().numpy())
            threshold = one.network.integers.neurons[k].threshold
            assert np.allclose(layer.membranes[n, -1] / layer.v_th, decision.state[k][0].numpy() / threshold)
    for layer in recording.layers.values():  # above the threshold once more would have been a spike, but for one reset a step
        assert layer.spikes.any()
        assert layer.membranes[~layer.spikes].max() <= layer.v_th * (1 + 1e-6)


def test_a_convolution_keeps_its_map() -> None:
    recording = record("PongNoFrameskip-v4/T1-frames1", decisions=2)
    assert recording.layers["conv1"].spikes.shape == (2, 1, 32, 20, 20)


def test_what_cannot_be_recorded_is_an_error() -> None:
    with pytest.raises(UserError, match="is an ANN, whose neurons do not spike; give a spiking agent"):
        record(load_agent("CartPole-v1/ann"))
    with pytest.raises(UserError, match="decisions must be at least 1"):
        record(agent(), decisions=0)
    with pytest.raises(UserError, match="no layer 'fc9'; choose from fc1, fc2"):
        traces(record(agent(), decisions=2), "fc9")
    with pytest.raises(UserError, match="has the neurons 0 to 4, got"):
        traces(record(agent(), decisions=2), "fc2", [7])


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_pictures_are_written_in_every_form(kind: str, tmp_path: Path) -> None:
    recording = record(agent(), decisions=5)
    raster(recording, tmp_path / f"spikes.{kind}")
    traces(recording, "fc1", [0, 2], tmp_path / f"membranes.{kind}")
    with pytest.raises(UserError, match="ends in png, svg, pdf"):
        raster(recording, tmp_path / "spikes.bmp")
    assert all((tmp_path / f"{name}.{kind}").stat().st_size > 1_000 for name in ("spikes", "membranes"))
