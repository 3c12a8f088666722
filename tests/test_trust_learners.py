"""Saved learners and buffers whose values cannot be: refused where they enter, with the file and the field."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import counts
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from test_trust_zips import saved

from snn_rl import SpikingDQN, SpikingMlpPolicy, load_agent
from snn_rl.core.errors import UserError
from snn_rl.sb3.normalized import statistics

Change = Callable[[Any], Any]


def changed(path: Path, part: str, change: Change) -> Path:
    """The zip with one part spoilt."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if part == "data":
        change(data := json.loads(parts[part]))
        parts[part] = json.dumps(data).encode()
    else:
        change(state := th.load(io.BytesIO(parts[part]), weights_only=True))
        th.save(state, out := io.BytesIO())
        parts[part] = out.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def said(path: Path) -> str:
    with pytest.raises(UserError) as error:
        SpikingDQN.load(path, env=counts(5, 7, 9), device="cpu")
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", float("nan")), ("lr", 1e300), ("betas", (5.0, 5.0)), ("betas", (0.9,)), ("betas", (float("nan"), 0.9)),
        ("eps", float("nan")), ("eps", [1]), ("weight_decay", 1e300), ("maximize", True),
        ("amsgrad", True), ("more", 1),
    ],
)  # fmt: skip
def test_an_optimizer_that_could_not_take_a_step_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    _, path = saved(tmp_path)
    changed(path, "policy.optimizer.pth", lambda state: state["param_groups"][0].update({key: value}))
    assert "the optimizer's state" in said(path)


@pytest.mark.parametrize(("key", "value"), [("exp_avg_sq", -1.0), ("step", -1.0), ("exp_avg", 1e38), ("exp_avg", None)])
def test_moments_that_no_step_leaves_are_refused(tmp_path: Path, key: str, value: float | None) -> None:
    def change(state: Any) -> None:
        for moments in state["state"].values():
            kept = moments.pop(key)
            if value is not None:
                moments[key] = th.full_like(kept, value)

    _, path = saved(tmp_path)
    assert "the optimizer's state" in said(changed(path, "policy.optimizer.pth", change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["policy_kwargs"].update(optimizer_kwargs={"foo": 1}), "optimizer_kwargs"),
        (lambda data: data["policy_kwargs"].update(optimizer_kwargs={"eps": 10**400}), "optimizer_kwargs"),
        (lambda data: data["policy_kwargs"].update(optimizer_class="<class 'torch.optim.Optimizer'>"), "the optimizer in"),
        (lambda data: data["plain_settings"].update(learning_rate=10**400), "is damaged: its learning_rate must lie in [0, "),
        (
            lambda data: data["plain_settings"].update(learning_rate={"start": 1.0, "end": float("nan"), "end_fraction": 1.0}),
            "is damaged: its learning_rate must lie in [0, ",
        ),
        (
            lambda data: data["plain_settings"].update(action_space={"n": 3}),
            "its action_space is not that of a network",
        ),
        (lambda data: data["plain_settings"].update(action_space={"n": True}), "its action_space is not that"),
        (lambda data: data.update(seed=-5), "seed must be between 0"),
        (lambda data: data.update(start_time=10**400), "start_time must be finite"),
        (lambda data: data.update(batch_size=10**9), "batch_size must be between 1"),
        (lambda data: data.update(replay_buffer_kwargs={"frame_stack": 0}), "frame_stack = 0"),
        (lambda data: data.update(replay_buffer_kwargs={"n_labels": -1}), "n_labels = -1"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, change: Change, message: str) -> None:
    _, path = saved(tmp_path)
    assert message in said(changed(path, "data", change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rings: rings["frames"][0].fill_(float("nan")), "frames holds a number that is not finite"),
        (lambda rings: rings["frames"][0].fill_(3e38), "frames holds a number that is not finite, or beyond"),
        (lambda rings: rings["reward"][0].fill_(float("inf")), "reward holds a number that is not finite"),
        (lambda rings: rings["action"][0].fill_(99), "action is between 99 and 99"),
        (lambda rings: rings["action"][0].fill_(-1), "action is between -1 and -1"),
        (lambda rings: rings["age"][0].fill_(-1), "age is between -1 and -1"),
    ],
)
def test_what_no_environment_gave_is_not_learnt_from(tmp_path: Path, change: Change, message: str) -> None:
    model, _ = saved(tmp_path)
    th.save(model.replay_buffer.state_dict(), out := io.BytesIO())
    state = th.load(io.BytesIO(out.getvalue()), weights_only=True)
    change(state["rings"])
    th.save(state, tmp_path / "buffer.pkl")
    with pytest.raises(UserError, match=message):
        model.load_replay_buffer(tmp_path / "buffer")


@pytest.mark.parametrize(("key", "value"), [("T", True), ("T", "5"), ("T", 10**9), ("carry", "no"), ("recurrent", 5)])
def test_neurons_that_cannot_be_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    DQN(SpikingMlpPolicy, "CartPole-v1", buffer_size=10, device="cpu").save(tmp_path / "model.zip")
    path = changed(tmp_path / "model.zip", "data", lambda data: data["policy_kwargs"].update({key: value}))
    told = (
        rf"{path}' (has T = .*; timesteps per decision are from 1 to|says {key} = .*, which is neither true nor false; copy)"
    )
    with pytest.raises(UserError, match=told):
        load_agent(path, "CartPole-v1")


def test_weights_that_give_no_values_are_refused(tmp_path: Path) -> None:
    DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu").save(tmp_path / "model.zip")
    path = changed(tmp_path / "model.zip", "policy.pth", lambda state: [value.fill_(1e37) for value in state.values()])
    with pytest.raises(UserError, match="its weights are too large for such observations; scale the obs"):
        load_agent(path, "CartPole-v1")


def test_statistics_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model, venv = (
        DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu"),
        VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")])),
    )
    model.save(tmp_path / "model.zip")
    for mean, var in ((np.nan, 1.0), (0.0, np.inf), (0.0, -1.0)):
        venv.obs_rms.mean[:], venv.obs_rms.var[:] = mean, var
        with (
            np.errstate(invalid="ignore"),
            pytest.raises(UserError, match="hold NaN, infinity or no deviation; save them anew"),
        ):
            load_agent(tmp_path / "model.zip", "CartPole-v1", vecnormalize=venv)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "statistics.pkl")
    with pytest.raises(UserError, match="is a FIFO where a file is expected"):
        statistics(tmp_path / "statistics.pkl", trust_pickle=True)
