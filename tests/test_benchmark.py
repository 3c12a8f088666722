"""The benchmark's arithmetic, and that its contestants compute what they should."""

from __future__ import annotations

import json
from typing import cast

import numpy as np
import pytest
import torch as th
from torch import nn

from snn_rl import load_agent
from snn_rl.speed import activity, cartpole, decisions, page, timing, updates
from snn_rl.speed.runtimes import session
from snn_rl.speed.timing import Contest, contest

DECISION = {"event_int8", "event_float", "c_int8", "torch_snn", "torch_ann_4", "torch_ann_1"}
DECISION |= {"ort_fp32_4", "ort_fp32_1", "ort_int8_4", "ort_int8_1"}


def test_contestants_take_turns_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], list[str]()

    def task(name: str, seconds: float) -> timing.Task:
        def run() -> None:
            order.append(name)
            clock[0] += seconds * (100 if len(order) <= 4 else 1)

        return run

    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])
    found = contest({"a": task("a", 1.0), "none": "it is not here", "b": task("b", 3.0)}, rounds=2, repeats=2)
    assert order == ["a", "a", "b", "b"] * 3
    assert (found.median("a"), found.median("b"), found.median("none")) == (1.0, 3.0, None)
    assert (found.ratio("b", "a"), found.ratio("none", "a")) == (3.0, None)
    assert found.missing == {"none": "it is not here"}


def test_a_ratio_is_of_times_from_the_same_round() -> None:
    found = Contest({"a": [1.0, 10.0, 2.0], "b": [2.0, 20.0, 4.0]}, {})
    assert found.ratio("b", "a") == 2.0


def test_the_json_has_every_contestant_and_null_with_a_reason() -> None:
    deciding = Contest({name: [0.5] for name in decisions.NAMES if name != "c_int8"}, {"c_int8": "no compiler"})
    updating = Contest({"stock_dqn": [0.1], "ann": [0.05], "T1": [0.05], "T5": [0.2]}, {})
    neurons = Contest({"LIF": [1.0], "other": [1.5]}, {})
    balancing = Contest({"c_int8": [0.002], "torch_snn": [0.5]}, {"event_int8": "no numba", "torch_ann": "none"})
    found = json.loads(json.dumps(page.record(deciding, updating, neurons, balancing, 1000)))
    assert set(found["decision_us"]) == DECISION
    assert found["decision_us"]["event_int8"] == 500
    assert found["decision_us"]["c_int8"] is None
    assert found["missing"] == {"c_int8": "no compiler", "event_int8": "no numba", "torch_ann": "none"}
    assert found["cartpole_us"] == pytest.approx({"c_int8": 2, "event_int8": None, "torch_snn": 500, "torch_ann": None})
    assert found["cartpole_ratio"]["torch_snn"] == 250
    assert found["updates_per_s"] == pytest.approx({"stock_dqn": 10, "ann": 20, "T1": 20, "T5": 5})
    assert found["update_ratio"] == pytest.approx({"stock_dqn": 1, "ann": 2, "T1": 2, "T5": 0.5})
    text = page.tables(found)
    assert "| other | 1.50 |" in text
    assert "no compiler" in text
    assert page.plot(found).axes[0].get_xscale() == "log"


def test_onnxruntime_gives_the_values_of_torch() -> None:
    th.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    seen = np.random.default_rng(0).random((20, 1, 1, 8, 8), dtype=np.float32)
    with th.no_grad():
        wanted = network(th.from_numpy(seen[:, 0])).numpy()
    exact, rounded = session(network, seen[0], None), session(network, seen[0], seen)
    assert np.concatenate([exact(one) for one in seen]) == pytest.approx(wanted, abs=1e-5)
    near = np.concatenate([rounded(one) for one in seen])
    assert 0 < np.abs(near - wanted).max() < 0.05


def test_the_engine_in_the_contest_decides_as_the_agent_of_integers() -> None:
    slow, fast = decisions.integer_agent(), decisions.event_agent()
    frames, state, own = np.random.default_rng(0).integers(0, 255, (3, 1, 84, 84), dtype=np.uint8), None, None
    for frame in frames:
        wanted, state = slow.predict(frame, state)
        found, own = fast.predict(frame, own)
        assert found == wanted


def test_updates_are_of_the_same_network_and_batch() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (30, 4, 84, 84), dtype=np.uint8)
    models = {name: task.func.__self__ for name, task in updates.contestants(frames).items()}
    sizes = {name: sum(p.numel() for p in model.q_net.parameters()) for name, model in models.items()}
    assert sizes["stock_dqn"] == sizes["ann"] == sizes["T1"] - 8 == sizes["T5"] - 8  # a threshold and a decay per layer
    assert {(model.sequence_length, model.burn_in) for name, model in models.items() if name != "stock_dqn"} == {(1, 0)}


def test_as_many_pixels_change_as_is_said() -> None:
    play = activity.changing(np.random.default_rng(0), np.zeros((1, 84, 84), np.uint8), 0.1)
    assert ((play[1:] != play[:-1]).sum((1, 2, 3)) == 706).all()


def test_the_crossover_lies_where_the_lines_meet() -> None:
    rows = [{"share": 0.1, "events": 1.0, "dense": 2.0}, {"share": 0.5, "events": 3.0, "dense": 2.0}]
    assert activity.crossover(rows) == pytest.approx(0.3)
    assert activity.crossover(rows[:1]) is None
    assert activity.crossover([{**row, "events": 9.0} for row in rows]) is None


def test_decisions_by_activity_cost_more_where_more_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "SHARES", (0.01, 1.0))
    monkeypatch.setattr(activity, "THRESHOLDS", (1.0, 0.001))
    monkeypatch.setattr(activity, "STEPS", 3)
    found = activity.measure(np.random.default_rng(0).integers(0, 255, (4, 4, 84, 84), dtype=np.uint8), rounds=1)
    assert isinstance(found, dict)
    assert found["spikes"][0]["share"] < found["spikes"][1]["share"]
    assert [set(row) for row in found["changed"]] == [{"share", "engine", "events", "dense"}] * 2
    assert len(activity.plot(found).axes) == 2


def test_cartpole_in_c_decides_as_the_agent_of_integers() -> None:
    seen = cartpole.recorded(30)
    assert seen.shape == (30, 4)
    agent, state, tasks = load_agent("CartPole-v1/T1-int8"), None, cartpole.contestants(seen)
    for observation in seen:
        wanted, state = agent.predict(observation, state)
    assert not [one for one in tasks.values() if isinstance(one, str)]
    in_c = cast(timing.Task, tasks["c_int8"])
    assert in_c() == wanted
