"""The event-driven engine beside the reference: the same spikes, membranes and sums, whatever the network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import conv_spec, lively
from random_networks import random_network, random_play, spiking_much

from snn_rl import evaluate, load_agent
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.engine.event import EventNetwork, FloatEventNetwork
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import quantise
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.tasks.recipes import Recipe
from snn_rl.training.integers import to_integers


@pytest.mark.parametrize("seed", range(40))
def test_every_spike_and_every_membrane_is_that_of_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    integers = quantise(network, bits=int(rng.integers(3, 9)), observed=observed)
    reference, event = IntegerNetwork(integers), EventNetwork(integers, shape)
    play = th.from_numpy(random_play(rng, shape, observed is None, steps=8, batch=3))
    starts = th.from_numpy(rng.random((8, 3)) < 0.2)
    wanted, found = list[th.Tensor](), list[th.Tensor]()
    q, state = reference.unroll(play, None, starts, wanted)
    fast, own = event.unroll(play, None, starts, found)
    assert th.equal(q, fast)
    assert len(wanted) == len(found)
    for pair in (*zip(wanted, found, strict=True), *zip(state, event.membranes(own), strict=True)):
        assert th.equal(*pair)


@pytest.mark.parametrize("seed", range(40, 52))
def test_of_float_numbers_spikes_are_those_of_torch_but_for_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    if observed is not None or len(network.recurrent):
        with pytest.raises(UserError, match=r"takes bytes|without recurrent synapses"):
            FloatEventNetwork(network, shape).unroll(th.zeros(1, 1, *shape))
        return
    event, play = FloatEventNetwork(network, shape), th.from_numpy(random_play(rng, shape, True, steps=8, batch=3))
    starts = th.from_numpy(rng.random((8, 3)) < 0.2)
    wanted, found = list[th.Tensor](), list[th.Tensor]()
    with th.no_grad():
        q, _ = network.unroll(play, None, starts, wanted)
    fast, _ = event.unroll(play, None, starts, found)
    same = th.stack([(one == other).flatten(3).all(-1).all(1) for one, other in zip(wanted, found, strict=True)]).all(0)
    assert same.float().mean() > 0.8  # rounding moves a membrane over its threshold now and then
    assert th.allclose(q[same], fast[same].float(), atol=1e-4)


def test_an_agent_of_float_numbers_decides_by_events_as_it_does_in_torch() -> None:
    frames = np.zeros((20, 1, 84, 84), np.uint8)
    for step, frame in enumerate(frames):
        frame[0, 10:30, 4 * step : 4 * step + 4], frame[0, 40:42] = 255, 90
    slow, fast = load_agent("PongNoFrameskip-v4/T1-frames1"), load_agent("PongNoFrameskip-v4/T1-frames1", engine="event")
    state = own = None
    for frame in frames:
        wanted, state = slow.predict(frame, state)
        found, own = fast.predict(frame, own)
        assert found == wanted


@pytest.mark.parametrize("seed", range(6))
def test_a_state_does_not_hang_on_what_was_in_memory(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    seen = th.from_numpy(random_play(rng, shape, observed is None, steps=3, batch=2))
    rounded, states = quantise(network, observed=observed), []
    empty = np.empty
    for filling in (0, 99):
        monkeypatch.setattr(np, "empty", lambda *of, filling=filling: np.full_like(empty(*of), filling))
        states.append(np.asarray(EventNetwork(rounded, shape).unroll(seen)[1][0]))
        monkeypatch.undo()
    assert np.array_equal(*states)


def agent(folder: Path, seed: int = 3) -> tuple[Agent, Agent, np.ndarray]:
    """An agent of integers by both engines, and observations ``(steps, environments, ...)`` for it."""
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    network.carry = True
    integers = quantise(network, observed=observed)
    agents.save(Agent("CartPole-v1", "T-int8", IntegerNetwork(integers), shape, integer=integers.form), folder)
    play = random_play(rng, shape, observed is None, steps=12, batch=4)
    return load_agent(folder), load_agent(folder, engine="event"), play


@pytest.mark.parametrize("seed", [3, 4])
def test_predict_is_that_of_the_reference(tmp_path: Path, seed: int) -> None:
    slow, fast, play = agent(tmp_path / "agent", seed)
    state = own = None
    starts = np.array([True, False, False, False])
    for seen in play:
        wanted, state = slow.predict(seen, state, starts)
        found, own = fast.predict(seen, own, starts)
        assert found.tolist() == wanted.tolist()
    one, _ = fast.predict(play[0, 0], None, True)
    assert np.ndim(one) == 0


def test_a_state_that_is_kept_stays_as_it_is(tmp_path: Path) -> None:
    _, fast, play = agent(tmp_path / "agent")
    _, kept = fast.predict(play[0])
    copies = [np.copy(own) for own in kept]
    first = [fast.predict(seen, kept)[1] for seen in play[1:]]
    assert all(np.array_equal(*pair) for pair in zip(kept, copies, strict=True))
    again = [fast.predict(seen, kept)[1] for seen in play[1:]]
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_a_state_that_is_changed_in_place_counts_as_it_is(tmp_path: Path) -> None:
    _, fast, play = agent(tmp_path / "agent")
    wanted = fast.predict(play[1])[1]
    _, state = fast.predict(play[0])
    state[0][:] = 0  # rest, after an observation of zeros
    found = fast.predict(play[1], state)[1]
    assert np.array_equal(found[0], wanted[0])
    with pytest.raises(UserError, match="the state is not of this engine"):
        fast.predict(play[1], ())


def test_bad_input_is_the_same_sentence_as_elsewhere(tmp_path: Path) -> None:
    slow, fast, play = agent(tmp_path / "agent")
    _, state = fast.predict(play[0])
    _, tensors = slow.predict(play[0])
    for one, own in ((slow, tensors), (fast, state)):
        with pytest.raises(UserError, match="takes observations of shape"):
            one.predict(np.zeros((4, 2, 2, 2, 2)))
        with pytest.raises(UserError, match="NaN or infinity"):
            one.predict(np.full(play[0].shape, np.nan))
        with pytest.raises(UserError, match="the state is for 4 environments but 2"):
            one.predict(play[0][:2], own)
        with pytest.raises(UserError, match="episode_start is for 3 environments but 4"):
            one.predict(play[0], own, np.ones(3, dtype=bool))


def test_what_did_not_change_is_not_multiplied() -> None:
    network = lively(QNetwork(conv_spec(), T=2, input_scale=1 / 255))
    event = EventNetwork(quantise(network), (1, 8, 8))
    image = th.randint(1, 256, (1, 1, 1, 1, 8, 8), dtype=th.uint8)[0]
    _, state = event.unroll(image)
    assert event.changes.macs == 4 * 11 * 11  # 4 channels; of 12x12 weights of a channel some lie on the padding
    _, state = event.unroll(image, state)
    assert (event.changes.inputs, event.changes.macs) == (0, 0)
    image[..., 3, 3] += 1
    event.unroll(image, state)
    assert (event.changes.inputs, event.changes.macs) == (1, 4 * 4)  # an odd pixel is under four kernels of stride 2


@pytest.mark.parametrize(("groups", "dilation", "padding"), [(1, 1, 0), (2, 1, 3), (1, 2, 2)])
@pytest.mark.parametrize("observed", [None, 9])
def test_where_most_changed_all_is_computed(groups: int, dilation: int, padding: int, observed: int | None) -> None:
    conv = {"type": "Conv2d", "in_channels": 2, "out_channels": 6, "kernel_size": [4, 7], "stride": [3, 2], "bias": True,
            "padding": [padding, padding], "dilation": [dilation, dilation], "groups": groups}  # fmt: skip
    high, wide = ((20 + 2 * padding - dilation * (k - 1) - 1) // step + 1 for k, step in ((4, 3), (7, 2)))
    readout = {"type": "Linear", "in_features": 6 * high * wide, "out_features": 3, "bias": True}
    network = QNetwork([conv, {"type": "ReLU"}, {"type": "Flatten"}, readout], T=2, input_scale=1 / 255)
    integers = quantise(lively(network), observed=observed)
    reference, event = IntegerNetwork(integers), EventNetwork(integers, (2, 20, 20))
    state = own = None
    for noise in th.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 2, 2, 20, 20)).astype(np.uint8)):
        seen = noise if observed is None else noise / 16 - 8
        q, state = reference(seen, state)
        fast, own = event(seen, own)
        assert th.equal(q, fast)
        assert all(th.equal(*pair) for pair in zip(state, event.membranes(own), strict=True))
        assert event.changes.macs == len(noise) * 6 * high * wide * (2 // groups) * 4 * 7


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("groups", [1, 4])
def test_many_spikes_go_output_by_output(padding: int, groups: int) -> None:
    integers = spiking_much(padding, groups)
    reference, event = IntegerNetwork(integers), EventNetwork(integers, (1, 14, 14))
    play = th.randint(0, 256, (5, 2, 1, 14, 14), dtype=th.uint8, generator=th.Generator().manual_seed(0))
    play[1] = play[0]
    wanted, found = list[th.Tensor](), list[th.Tensor]()
    q, state = reference.unroll(play, None, None, wanted)
    fast, own = event.unroll(play, None, None, found)
    assert th.equal(q, fast)
    assert all(th.equal(*pair) for pair in (*zip(wanted, found, strict=True), *zip(state, event.membranes(own), strict=True)))
    assert 0.3 < float(wanted[0].mean()) < 0.9


def test_a_command_plays_by_events(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agents.save(to_integers(load_agent("CartPole-v1/T1"), recipe), tmp_path / "T1-int8")
    found = {}
    for engine in ("torch", "event"):
        out = tmp_path / f"{engine}.json"
        options = ["--episodes", "2", "--engine", engine, "--json", str(out)]
        assert evaluate.main([str(tmp_path / "T1-int8"), *options]) == 0
        found[engine] = json.loads(out.read_text())
    assert "45 nm INT8" in capsys.readouterr().out
    assert found["event"]["episodes"] == found["torch"]["episodes"]
    assert found["event"]["spike_rate"] == found["torch"]["spike_rate"]
    assert found["event"]["energy"]["acs"] == found["torch"]["energy"]["acs"]
    assert [found[name]["engine"] for name in found] == ["torch", "event"]
    assert "changed input" in found["event"]["energy"]["convention"]
    with pytest.raises(
        UserError, match="--save and --out store what the reference counts: leave out --engine; the returns are the same"
    ):
        evaluate.main([str(tmp_path / "T1-int8"), "--save", "--engine", "event"])


def test_without_numba_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent(tmp_path / "agent")
    monkeypatch.setitem(sys.modules, "snn_rl.engine.event", None)
    with pytest.raises(UserError, match="pip install 'snn-rl"):
        load_agent(tmp_path / "agent", engine="event")
