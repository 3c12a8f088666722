"""Stable-Baselines3 zips, of an ANN or a spiking agent: the same Q-values, and clear about what an option has to say."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import PIXELS, Pixels
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack
from torch import nn

from snn_rl.core.errors import UserError
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.zips import load_agent, load_zip
from snn_rl.tasks.environments import make_env
from snn_rl.tasks.recipes import Recipe

pytestmark = pytest.mark.usefixtures("pixels")


class Tiny(BaseFeaturesExtractor):
    """A custom feature extractor."""

    def __init__(self, observation_space: spaces.Box, width: int = 9) -> None:
        super().__init__(observation_space, width)
        self.body = nn.Sequential(nn.Linear(observation_space.shape[0], width), nn.ReLU())

    def forward(self, x: th.Tensor) -> th.Tensor:
        return self.body(x)


class Twice(Tiny):
    """Its forward is not its layers in a row."""

    def forward(self, x: th.Tensor) -> th.Tensor:
        return 2 * self.body(x)


class Pooled(Tiny):
    """Holds a module that has no spiking counterpart."""

    def __init__(self, observation_space: spaces.Box, width: int = 9) -> None:
        super().__init__(observation_space, width)
        self.body.append(nn.LayerNorm(width))


def dqn(env: Any = "CartPole-v1", policy: str = "MlpPolicy", **policy_kwargs: Any) -> DQN:
    return DQN(policy, env, buffer_size=10, policy_kwargs=policy_kwargs, seed=0, device="cpu")


def zipped(model: Any, folder: Path) -> Path:
    model.save(folder / "model.zip")
    return folder / "model.zip"


def rewrite(path: Path, member: str, content: bytes | Callable[[bytes], bytes]) -> Path:
    """Replaces one member of a zip."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = content if isinstance(content, bytes) else content(members[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return path


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Changes the JSON in ``data``."""

    def apply(content: bytes) -> bytes:
        data = json.loads(content)
        change(data)
        return json.dumps(data).encode()

    return apply


def tensors(change: Callable[[dict[str, th.Tensor]], Any]) -> Callable[[bytes], bytes]:
    """Changes the state dict in ``policy.pth``."""

    def apply(content: bytes) -> bytes:
        state = th.load(io.BytesIO(content), weights_only=True)
        change(state)
        out = io.BytesIO()
        th.save(state, out)
        return out.getvalue()

    return apply


def assert_same_q(model: DQN, network: Any, space: spaces.Space[Any]) -> None:
    space.seed(0)
    box = space if space.dtype == np.uint8 else spaces.Box(-3, 3, space.shape, np.float32, seed=0)
    observations = th.as_tensor(np.stack([box.sample() for _ in range(32)]))
    with th.no_grad():
        theirs, ours = model.q_net(observations), network(observations)[0]
    assert th.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert theirs.std() > 0


# What can be read


def test_an_mlp_of_any_shape_has_the_same_q_values(tmp_path: Path) -> None:
    model = dqn(net_arch=[7, 5, 3])
    agent = load_agent(zipped(model, tmp_path), "CartPole-v1")
    assert (agent.env, agent.name, agent.frames, agent.observation_shape) == ("CartPole-v1", "ann", 1, (4,))
    assert [layer.get("out_features") for layer in agent.network.spec if layer["type"] == "Linear"] == [7, 5, 3, 2]
    assert (agent.network.T, agent.network.input_scale) == (0, 1.0)
    assert_same_q(model, agent.network, model.observation_space)


def test_an_mlp_without_hidden_layers_has_the_same_q_values(tmp_path: Path) -> None:
    model = dqn(net_arch=[])
    assert_same_q(model, load_zip(zipped(model, tmp_path), "CartPole-v1").network, model.observation_space)


@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_cnn_has_the_same_q_values(tmp_path: Path, stack: int, normalize: bool) -> None:
    venv = make_vec_env(Pixels, 1)
    model = dqn(VecFrameStack(venv, stack) if stack > 1 else venv, "CnnPolicy", normalize_images=normalize, net_arch=[11])
    agent = load_zip(zipped(model, tmp_path), PIXELS)
    assert (agent.frames, agent.observation_shape) == (stack, (stack, 36, 36))
    assert agent.network.input_scale == (1 / 255 if normalize else 1.0)
    assert_same_q(model, agent.network, model.observation_space)


@pytest.mark.parametrize("stack", [1, 3])
def test_an_mlp_on_images_has_the_same_q_values(tmp_path: Path, stack: int) -> None:
    venv = make_vec_env(Pixels, 1)
    model = dqn(VecFrameStack(venv, stack) if stack > 1 else venv, net_arch=[5])
    agent = load_zip(zipped(model, tmp_path), PIXELS)
    assert (agent.frames, agent.observation_shape) == (stack, (stack, 36, 36))
    assert_same_q(model, agent.network, model.observation_space)


def test_the_nature_cnn_of_pong_has_the_same_q_values(tmp_path: Path) -> None:
    venv = DummyVecEnv([lambda: make_env(Recipe("PongNoFrameskip-v4", frames=4))])
    model = dqn(venv, "CnnPolicy")
    agent = load_zip(zipped(model, tmp_path), "PongNoFrameskip-v4")
    assert (agent.frames, agent.observation_shape) == (4, (4, 84, 84))
    assert agent.network.layer_names == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    assert_same_q(model, agent.network, model.observation_space)


def test_stacked_vectors_are_recognised(tmp_path: Path) -> None:
    model = dqn(VecFrameStack(make_vec_env("CartPole-v1", 1), 3))
    agent = load_zip(zipped(model, tmp_path), "CartPole-v1")
    assert (agent.frames, agent.observation_shape) == (3, (12,))
    assert_same_q(model, agent.network, model.observation_space)


def test_a_custom_extractor_has_to_be_named_and_then_has_the_same_q_values(tmp_path: Path) -> None:
    model = dqn(features_extractor_class=Tiny, features_extractor_kwargs={"width": 13}, net_arch=[6])
    path = zipped(model, tmp_path)
    with pytest.raises(UserError, match=r"custom feature extractor \(.*Tiny.*--extractor module:Class"):
        load_zip(path, "CartPole-v1")
    assert_same_q(model, load_zip(path, "CartPole-v1", "test_zips:Tiny").network, model.observation_space)


@pytest.mark.parametrize("name", ["test_zips:Missing", "no_such_module:Tiny", "test_sb3_import", ":Tiny", ""])
def test_an_extractor_that_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    path = zipped(dqn(features_extractor_class=Tiny), tmp_path)
    with pytest.raises(UserError, match="--extractor"):
        load_zip(path, "CartPole-v1", name)


@pytest.mark.parametrize(("kind", "message"), [(Twice, "'Twice'"), (Pooled, r"features_extractor\.body\.2.*LayerNorm")])
def test_an_extractor_that_cannot_be_converted_is_named(tmp_path: Path, kind: type[Tiny], message: str) -> None:
    path = zipped(dqn(features_extractor_class=kind), tmp_path)
    with pytest.raises(UnconvertibleError, match=message):
        load_zip(path, "CartPole-v1", f"test_zips:{kind.__name__}")
