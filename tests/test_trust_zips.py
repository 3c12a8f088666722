"""Saved learners: loaded without executing anything, the same as by Stable-Baselines3's way, and refused in one sentence."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import pickle
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch as th
from conftest import Pixels, counts, dqn
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule
from test_zips import Tiny, rewrite
from test_zips_refused import Exploit

from snn_rl import SpikingDQN, SpikingMlpPolicy
from snn_rl.core.errors import UserError


def saved(tmp_path: Path, **kwargs: Any) -> tuple[SpikingDQN, Path]:
    model = dqn(**kwargs)
    model.learn(80)
    model.save(tmp_path / "model.zip")
    return model, tmp_path / "model.zip"


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    def edit(content: bytes) -> bytes:
        data = json.loads(content)
        change(data)
        return json.dumps(data).encode()

    return rewrite(path, "data", edit)


def older(data: dict[str, Any]) -> None:
    """As versions wrote it that had only pickles for what JSON does not hold."""
    del data["plain_settings"]


def facts(model: SpikingDQN) -> dict[str, Any]:
    """What a model consists of, but for its random numbers, arrays and objects without a comparison."""
    skipped = {"_last_obs", "_last_episode_starts", "_last_original_obs", "_rng", "lr_schedule", "exploration_schedule"}
    skipped |= {"policy_class", "policy_kwargs", "learning_rate", "batch_norm_stats", "batch_norm_stats_target"}
    kinds = (bool, int, float, str, tuple, list, dict, deque, spaces.Space, type(None))
    return {key: value for key, value in vars(model).items() if isinstance(value, kinds) and key not in skipped}


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"T": 0, "gamma": 0.5, "train_freq": (2, "step"), "stats_window_size": 3, "tau": 0.5},
        {"carry": False},
        {"policy_kwargs": {"net_arch": [6], "decay": (0.1, 0.9), "recurrent": True}},
        {"policy_kwargs": {"net_arch": [6], "optimizer_class": th.optim.RMSprop, "optimizer_kwargs": {"alpha": 0.9}}},
        {"policy_kwargs": {"net_arch": [6], "features_extractor_class": Tiny}},
        {"tensorboard_log": "logs"},
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_what_is_loaded_without_pickles_is_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kwargs: dict[str, Any], before: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    _, path = saved(tmp_path, **kwargs)
    if before:
        changed(path, older)
    trusted = SpikingDQN.load(path, env=counts(5, 7, 9), device="cpu", trust=True)
    plainly = SpikingDQN.load(path, env=counts(5, 7, 9), device="cpu")
    expected, found = facts(trusted), facts(plainly)
    if before:  # the last episodes were only in a pickle
        expected["ep_info_buffer"] = found["ep_info_buffer"]
    assert found.keys() - {"_last_states"} == expected.keys() - {"_last_states"}
    assert found == expected
    assert type(plainly.policy) is type(trusted.policy)
    assert plainly.lr_schedule(0.7) == trusted.lr_schedule(0.7)
    assert type(plainly.policy.optimizer) is type(trusted.policy.optimizer)
    for key, value in trusted.policy.state_dict().items():
        assert th.equal(value, plainly.policy.state_dict()[key])
    for model in (trusted, plainly):
        model.set_random_seed(1)
        model.learn(40, reset_num_timesteps=False)
    for key, value in trusted.policy.state_dict().items():
        assert th.equal(value, plainly.policy.state_dict()[key])


def test_a_schedule_of_stable_baselines3_is_kept(tmp_path: Path) -> None:
    _, path = saved(tmp_path, learning_rate=LinearSchedule(1e-3, 1e-5, 0.5))
    again = SpikingDQN.load(path, device="cpu")
    assert [again.lr_schedule(at) for at in (1, 0.75, 0)] == pytest.approx([1e-3, 5.05e-4, 1e-5])


def test_what_was_loaded_without_pickles_is_saved_and_loaded_again(tmp_path: Path) -> None:
    _, path = saved(tmp_path, policy_kwargs={"net_arch": [6], "features_extractor_class": Tiny})
    again = SpikingDQN.load(path, device="cpu")
    again.save(tmp_path / "again.zip")
    third = SpikingDQN.load(tmp_path / "again.zip", env=counts(5, 7, 9), device="cpu", gamma=0.25)
    assert third.gamma == 0.25
    third.learn(60)


@pytest.mark.parametrize("before", [False, True])
def test_images_are_loaded_too(tmp_path: Path, before: bool) -> None:
    env = make_vec_env(lambda: Pixels(), 1)
    model = SpikingDQN("CnnPolicy", env, T=2, learning_starts=5, buffer_size=100, device="cpu", seed=0)
    model.save(tmp_path / "model.zip")
    if before:
        changed(tmp_path / "model.zip", lambda data: (older(data), data.pop("network_description")))
    again = SpikingDQN.load(tmp_path / "model.zip", device="cpu")
    assert again.observation_space == model.observation_space
    observation = np.stack([model.observation_space.sample() for _ in range(20)])
    assert (again.predict(observation, deterministic=True)[0] == model.predict(observation, deterministic=True)[0]).all()
    SpikingDQN.load(tmp_path / "model.zip", env=make_vec_env(lambda: Pixels(), 2), device="cpu").learn(20)


# Nothing is executed


def bomb(mark: Path) -> dict[str, str]:
    return {":type:": "dict", ":serialized:": base64.b64encode(cloudpickle.dumps(Exploit(mark))).decode()}


def test_no_pickle_in_any_place_is_executed_and_trust_executes_it(tmp_path: Path) -> None:
    mark = tmp_path / "hacked"
    _, path = saved(tmp_path)
    keys = [*json.loads(zipfile.ZipFile(path).read("data")), "anything"]
    for key in keys:
        _, path = saved(tmp_path) if key == keys[0] else (None, path)
        original = path.read_bytes()
        changed(path, lambda data, key=key: data.update({key: bomb(mark)}))
        with contextlib.suppress(UserError):
            SpikingDQN.load(path, device="cpu")
        assert not mark.exists(), key
        path.write_bytes(original)
    changed(path, lambda data: data.update(anything=bomb(mark)))
    SpikingDQN.load(path, device="cpu")
    assert not mark.exists()
    SpikingDQN.load(path, device="cpu", trust=True)
    assert mark.exists()


@pytest.mark.parametrize("member", ["policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"])
def test_a_pickle_in_a_part_is_not_executed(tmp_path: Path, member: str) -> None:
    mark, out = tmp_path / "hacked", io.BytesIO()
    th.save({"a": Exploit(mark)}, out)
    for content in (out.getvalue(), pickle.dumps(Exploit(mark))):
        _, path = saved(tmp_path)
        rewrite(path, member, content)
        if member == "pytorch_variables.pth":
            SpikingDQN.load(path, device="cpu")
        else:
            with pytest.raises(UserError, match="more than tensors; refused, nothing was executed"):
                SpikingDQN.load(path, device="cpu")
        assert not mark.exists()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"learning_rate": lambda progress: 1e-3 * progress},
        {"replay_buffer_kwargs": {"frame_stack": np.int64(1)}},
    ],
)
def test_what_only_a_pickle_holds_says_so(tmp_path: Path, kwargs: dict[str, Any]) -> None:
    _, path = saved(tmp_path, **kwargs)
    with pytest.raises(UserError, match=r"only its pickle holds: .*trust=True, which executes what the file holds"):
        SpikingDQN.load(path, device="cpu")
    assert SpikingDQN.load(path, device="cpu", trust=True).num_timesteps >= 80
    if "learning_rate" in kwargs:
        assert SpikingDQN.load(path, device="cpu", learning_rate=0.5).learning_rate == 0.5


class Own(SpikingMlpPolicy):
    pass


def test_a_policy_class_of_ones_own_is_given(tmp_path: Path) -> None:
    model = SpikingDQN(Own, counts(5), buffer_size=100, device="cpu", policy_kwargs={"net_arch": [4]})
    model.save(tmp_path / "model.zip")
    with pytest.raises(UserError, match=r"class of its own.*custom_objects=\{'policy_class'.*trust=True"):
        SpikingDQN.load(tmp_path / "model.zip", device="cpu")
    again = SpikingDQN.load(tmp_path / "model.zip", device="cpu", custom_objects={"policy_class": Own})
    assert type(again.policy) is Own


def test_logs_stay_in_this_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, path = saved(tmp_path)
    for folder in ("/tmp/elsewhere", "../up", "~/home"):
        changed(path, lambda data, folder=folder: data.update(tensorboard_log=folder))
        assert SpikingDQN.load(path, device="cpu").tensorboard_log is None
        assert "left out" in capsys.readouterr().out
    assert SpikingDQN.load(path, device="cpu", tensorboard_log="/tmp/mine").tensorboard_log == "/tmp/mine"


@pytest.mark.parametrize(
    "change",
    [
        {"T": 10**9}, {"T": True}, {"gamma": "x"}, {"buffer_size": 0}, {"buffer_size": 10**15}, {"train_freq": [0, "step"]},
        {"batch_size": -1}, {"plain_settings": {"action_space": {"n": 10**12}}},
        {"learning_rate": []}, {"network_description": None, "T": 1001}, {"n_envs": 10**9},
        {"replay_buffer_kwargs": {"frame_stack": 1.5}},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_told(tmp_path: Path, change: dict[str, Any]) -> None:
    _, path = saved(tmp_path)
    changed(path, lambda data: (older(data), data.update(change)))
    with pytest.raises(UserError) as error:
        SpikingDQN.load(path, env=counts(5, 7, 9), device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["state"][0].update(exp_avg=th.zeros(3)),
        lambda state: state["state"].update({99: {}}),
        lambda state: state["state"][0].update(step=th.tensor(float("nan"))),
        lambda state: state["param_groups"][0].update(params=[0]),
        lambda state: state["param_groups"][0].update(lr="fast"),
        lambda state: state["param_groups"].clear(),
    ],
)
def test_an_optimizer_of_other_weights_is_refused(tmp_path: Path, change: Any) -> None:
    _, path = saved(tmp_path)

    def edit(content: bytes) -> bytes:
        state = th.load(io.BytesIO(content), weights_only=True)
        change(state)
        th.save(state, out := io.BytesIO())
        return out.getvalue()

    rewrite(path, "policy.optimizer.pth", edit)
    with pytest.raises(UserError, match="optimizer's state"):
        SpikingDQN.load(path, device="cpu")
