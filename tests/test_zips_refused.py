"""Stable-Baselines3 zips that cannot be read: told in one sentence, and nothing in them is executed."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch as th
from conftest import PIXELS, Pixels
from sb3_contrib import ARS
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from test_zips import assert_same_q, dqn, rewrite, tensors, zipped
from torch import nn

from snn_rl import SpikingDQN
from snn_rl.core.errors import UserError
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.zips import load_zip

pytestmark = pytest.mark.usefixtures("pixels")


def test_another_activation_is_an_error(tmp_path: Path) -> None:
    for activation in (nn.Sigmoid, nn.LeakyReLU, nn.ReLU6, nn.ELU):
        path = zipped(dqn(activation_fn=activation), tmp_path)
        with pytest.raises(UnconvertibleError, match=f"activation .*{activation.__name__}.* has no spiking counterpart"):
            load_zip(path, "CartPole-v1")


@pytest.mark.parametrize(
    ("algorithm", "env_id", "named"), [(ARS, "CartPole-v1", "none that is known here"), (SAC, "Pendulum-v1", "SAC")]
)
def test_another_algorithm_is_told(tmp_path: Path, algorithm: Any, env_id: str, named: str) -> None:
    settings = {"buffer_size": 10} if algorithm is SAC else {}
    path = zipped(algorithm("MlpPolicy", env_id, device="cpu", **settings), tmp_path)
    with pytest.raises(UserError, match=f"another algorithm .*{named}.*; only DQN, QR-DQN, PPO, A2C and RecurrentPPO"):
        load_zip(path, "CartPole-v1")


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Acrobot-v1", "takes 4 inputs but 'Acrobot-v1' gives 6; is this the right --env"),
        ("MountainCar-v0", "has 2 actions but 'MountainCar-v0' has 3"),
        (PIXELS, "takes 4 inputs but 'SnnRlPixels-v0' gives 1x36x36"),
        ("CartPoleee-v1", "unknown environment 'CartPoleee-v1'"),
    ],
)
def test_the_wrong_environment_is_told(tmp_path: Path, env_id: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_zip(zipped(dqn(), tmp_path), env_id)
    assert "\n" not in str(error.value)


def test_a_cnn_for_images_of_another_size_is_told(tmp_path: Path) -> None:
    path = zipped(dqn(make_vec_env(lambda: Pixels(size=60), 1), "CnnPolicy"), tmp_path)
    with pytest.raises(UserError, match=f"does not fit '{PIXELS}' with 1 frame") as error:
        load_zip(path, PIXELS)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*nothing\.zip"):
        load_zip(tmp_path / "nothing.zip", "CartPole-v1")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_a_truncated_file_is_told(tmp_path: Path, keep: float) -> None:
    path = zipped(dqn(), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    # a zip is read from its end, where a truncated one may show the directory of the zip inside it, policy.pth
    with pytest.raises(UserError, match=r"(damaged or|is) truncated"):
        load_zip(path, "CartPole-v1")


def test_a_flipped_bit_is_told(tmp_path: Path) -> None:
    path = zipped(dqn(), tmp_path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        content[archive.getinfo("policy.pth").header_offset + 3000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or truncated"):
        load_zip(path, "CartPole-v1")


@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b"3", b"\xff"])
def test_data_that_is_no_description_of_an_agent_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = rewrite(zipped(dqn(), tmp_path), "data", content)
    with pytest.raises(UserError, match=r"model\.zip"):
        load_zip(path, "CartPole-v1")


@pytest.mark.parametrize("content", [b'{"policy_kwargs": 3}', b'{"policy_kwargs": "x"}', b"{}"])
def test_policy_arguments_that_are_none_are_ignored(tmp_path: Path, content: bytes) -> None:
    model = dqn()
    path = rewrite(zipped(model, tmp_path), "data", content)
    assert_same_q(model, load_zip(path, "CartPole-v1").network, model.observation_space)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("q_net.q_net.2.weight"),
        lambda state: [state.pop(key) for key in list(state) if key.endswith("weight")],
        lambda state: state.update({"q_net.q_net.0.weight": th.zeros(3)}),
        lambda state: state.update({"q_net.q_net.0.weight": "zero"}),
        lambda state: state.update({"extra": th.zeros(3)}),
    ],
)
def test_tensors_that_are_no_network_are_an_error(tmp_path: Path, change: Any) -> None:
    path = rewrite(zipped(dqn(), tmp_path), "policy.pth", tensors(change))
    with pytest.raises(UserError, match=r"model\.zip") as error:
        load_zip(path, "CartPole-v1")
    assert "\n" not in str(error.value)


def test_a_zip_of_something_else_is_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("holiday.jpg", b"")
    with pytest.raises(UserError, match=r"it lacks 'data' or 'policy\.pth'; copy or save it anew"):
        load_zip(tmp_path / "model.zip", "CartPole-v1")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error(tmp_path: Path, value: float) -> None:
    path = rewrite(
        zipped(dqn(), tmp_path), "policy.pth", tensors(lambda state: state["q_net.q_net.0.weight"].__setitem__(0, value))
    )
    with pytest.raises(UserError, match="not finite"):
        load_zip(path, "CartPole-v1")


# Nothing is executed


class Exploit:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_the_exploit_would_work(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Exploit(tmp_path / "hacked")))
    assert (tmp_path / "hacked").exists()


def test_a_pickle_in_data_is_not_executed(tmp_path: Path) -> None:
    model, mark = dqn(), tmp_path / "hacked"
    bomb = {":type:": "dict", ":serialized:": base64.b64encode(cloudpickle.dumps(Exploit(mark))).decode()}

    def poison(content: bytes) -> bytes:
        data = json.loads(content)
        for key in ("policy_class", "policy_kwargs", "observation_space", "lr_schedule", "network", "anything"):
            data[key] = bomb
        return json.dumps(data).encode()

    path = rewrite(zipped(model, tmp_path), "data", poison)
    assert_same_q(model, load_zip(path, "CartPole-v1").network, model.observation_space)
    assert not mark.exists()


@pytest.mark.parametrize("modern", [True, False])
def test_a_pickle_in_policy_pth_is_refused_and_not_executed(tmp_path: Path, modern: bool) -> None:
    mark, out = tmp_path / "hacked", io.BytesIO()
    th.save({"q_net.q_net.0.weight": Exploit(mark)}, out, _use_new_zipfile_serialization=modern)
    path = rewrite(zipped(dqn(), tmp_path), "policy.pth", out.getvalue())
    with pytest.raises(UserError, match="more than tensors; refused, nothing was executed"):
        load_zip(path, "CartPole-v1")
    assert not mark.exists()


def test_pickles_in_other_members_are_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "hacked"
    path = zipped(dqn(), tmp_path)
    for member in ("policy.optimizer.pth", "pytorch_variables.pth", "_stable_baselines3_version"):
        rewrite(path, member, pickle.dumps(Exploit(mark)))
    load_zip(path, "CartPole-v1")
    assert not mark.exists()


@pytest.mark.parametrize("norm_obs", [True, False])
def test_a_spiking_dqn_that_saw_normalised_observations_is_refused(tmp_path: Path, norm_obs: bool) -> None:
    env = VecNormalize(make_vec_env("CartPole-v1"), norm_obs=norm_obs)
    model = SpikingDQN("MlpPolicy", env, learning_starts=20, buffer_size=500, seed=3, policy_kwargs={"net_arch": [4]})
    model.learn(30)
    model.save(tmp_path / "model.zip")
    if norm_obs:
        with pytest.raises(UserError, match="trained under VecNormalize"):
            load_zip(tmp_path / "model.zip", "CartPole-v1")
    else:
        assert load_zip(tmp_path / "model.zip", "CartPole-v1").made.seed == 3
