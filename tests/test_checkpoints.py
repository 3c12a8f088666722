"""Checkpoints: what is large is written once, and a kill at any write leaves a state that can be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from snn_rl.core.errors import UserError
from snn_rl.sb3.replay import RINGS, SequenceReplayBuffer
from snn_rl.sb3.ring import ReplayRing
from snn_rl.store import checkpoints
from snn_rl.store.checkpoints import States

N_ENVS, SLOTS = 2, 64


def buffer(slots: int = SLOTS) -> SequenceReplayBuffer:
    return SequenceReplayBuffer(
        slots * N_ENVS, spaces.Box(-1e6, 1e6, (2,), np.float32), spaces.Discrete(3), n_envs=N_ENVS, n_labels=1, seed=0
    )


def play(replay: SequenceReplayBuffer, steps: int, rng: np.random.Generator) -> None:
    for _ in range(steps):
        obs = rng.normal(size=(2, N_ENVS, 2)).astype(np.float32)
        done, infos = rng.random(N_ENVS) < 0.2, [{"TimeLimit.truncated": bool(rng.random() < 0.5)} for _ in range(N_ENVS)]
        labels = rng.normal(size=(N_ENVS, 1))
        replay.add(obs[0], obs[1], rng.integers(3, size=N_ENVS), rng.random(N_ENVS), done, infos, labels)


def contents(replay: SequenceReplayBuffer) -> list[Any]:
    return [getattr(replay, name).tolist() for name in (*RINGS, "head", "next_age")]


def restored(folder: Path, slots: int = SLOTS) -> SequenceReplayBuffer:
    again = buffer(slots)
    saved, said = States(folder, ReplayRing(again)).read()
    assert not said
    again.load_state_dict(saved["replay"])
    return again


def write(states: States, replay: SequenceReplayBuffer) -> None:
    states.write({"replay": {**replay.state_dict(), "rings": {}}})


@pytest.mark.parametrize("whole_bytes", [0, 16 << 20])
def test_a_replay_buffer_comes_back_from_its_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_bytes: int
) -> None:
    monkeypatch.setattr(checkpoints, "WHOLE_BYTES", whole_bytes)
    replay, rng = buffer(), np.random.default_rng(0)
    states = States(tmp_path / "c", ReplayRing(replay))
    for n, steps in enumerate((0, 3, 1, 30, 0, 50, 200, 1, 1, 1, 17, 40)):
        play(replay, steps, rng)
        if n % 3 == 1:
            replay.begin()  # changes a slot that was written before
        write(states, replay)
        again = restored(tmp_path / "c")
        assert contents(again) == contents(replay)
        if n == 6:  # another process goes on
            replay, states = again, States(tmp_path / "c", ReplayRing(again))
            assert states.read()[1] == ""
    assert len(list((tmp_path / "c").glob("*.slots"))) < 40
    assert len(list((tmp_path / "c").glob("*.state"))) == 2


def test_only_what_is_new_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "WHOLE_BYTES", 0)
    replay, rng = buffer(4096), np.random.default_rng(0)
    states = States(tmp_path / "c", ReplayRing(replay))
    play(replay, 3000, rng)
    write(states, replay)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "c").glob("*.slots")}
    play(replay, 300, rng)
    write(states, replay)
    after = {path.name: path for path in (tmp_path / "c").glob("*.slots")}
    assert all(after[name].stat().st_mtime_ns == written for name, written in before.items())
    new = sum(path.stat().st_size for name, path in after.items() if name not in before)
    assert new < 0.2 * sum(path.stat().st_size for path in after.values())
    assert contents(restored(tmp_path / "c", 4096)) == contents(replay)


def test_a_write_that_ends_anywhere_leaves_the_state_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "WHOLE_BYTES", 0)
    replay, rng = buffer(), np.random.default_rng(0)
    states = States(tmp_path / "c", ReplayRing(replay))
    play(replay, 30, rng)
    write(states, replay)
    before, replace = contents(replay), os.replace
    play(replay, 70, rng)
    for n in range(20):
        calls = iter(range(n))

        def until(*args: Any, calls: Any = calls) -> None:
            if next(calls, None) is None:
                raise KeyboardInterrupt  # no cleaning up follows
            replace(*args)

        with monkeypatch.context() as context:
            context.setattr(os, "replace", until)
            try:
                write(states, replay)
                break
            except KeyboardInterrupt:
                assert contents(restored(tmp_path / "c")) == before
    assert 3 < n < 15
    assert contents(restored(tmp_path / "c")) == contents(replay)


def test_a_buffer_goes_back_to_its_mark() -> None:
    rng = np.random.default_rng(0)
    for steps in (10, 100):
        replay = buffer()
        play(replay, steps, rng)
        before = contents(replay)
        replay.mark()
        play(replay, 20, rng)
        replay.rollback()
        assert contents(replay) == before


def test_a_state_of_another_buffer_is_refused(tmp_path: Path) -> None:
    replay = buffer()
    play(replay, 9, np.random.default_rng(0))
    write(States(tmp_path / "c", ReplayRing(replay)), replay)
    other = SequenceReplayBuffer(128, spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(3), n_envs=N_ENVS, n_labels=1)
    with pytest.raises(UserError, match="for other observations"):
        States(tmp_path / "c", ReplayRing(other)).read()
    with pytest.raises(UserError, match="is of another replay buffer"):
        buffer(32).load_state_dict({**replay.state_dict(), "rings": {}})


def test_states_hold_tensors_and_plain_values_only(tmp_path: Path) -> None:
    states = States(tmp_path / "c")
    states.write({"a": th.ones(2), "b": [1, (2.5, None)], "c": "text"})
    saved, _ = states.read()
    assert saved["b"] == [1, (2.5, None)]
    states.remove()
    assert not (tmp_path / "c").exists()
    assert not states.there
