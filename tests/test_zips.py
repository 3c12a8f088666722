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
from conftest import PIXELS, Count, Pixels, conv_spec
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from torch import nn

from snn_rl import SpikingDQN, SpikingMlpPolicy
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.live import import_policy
from snn_rl.sb3.zips import load_agent, load_zip
from snn_rl.store import agents
from snn_rl.store.agents import fingerprint
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


class Shared(Tiny):
    """One activation object in two places."""

    def __init__(self, observation_space: spaces.Box, width: int = 9) -> None:
        super().__init__(observation_space, width)
        self.body.extend([nn.Linear(width, width), self.body[1]])


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


def older(path: Path) -> Path:
    """A zip as it was saved before it described its network."""
    return rewrite(path, "data", changed(lambda data: data.pop("network_description")))


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


def test_an_activation_shared_by_two_layers_is_read_twice() -> None:
    model = dqn(features_extractor_class=Shared)
    assert_same_q(model, import_policy(model.policy), model.observation_space)


def test_a_live_policy_is_read_and_left_as_it_is() -> None:
    model = dqn(net_arch=[8])
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    network = import_policy(model.policy)
    assert_same_q(model, network, model.observation_space)
    with th.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert all(th.equal(value, before[key]) for key, value in model.policy.state_dict().items())


# Spiking agents


def spiking(env: Any = "CartPole-v1", policy: str = "MlpPolicy", **settings: Any) -> SpikingDQN:
    return SpikingDQN(policy, env, buffer_size=100, seed=0, device="cpu", **settings)


def assert_same_play(model: DQN, agent: agents.Agent, steps: int = 20) -> None:
    """The same actions and membranes as the model, from rest and carried."""
    model.observation_space.seed(0)
    mine, theirs, start = None, None, np.ones(1, dtype=bool)
    for _ in range(steps):
        observation = model.observation_space.sample()[None]
        if observation.dtype != np.uint8:
            observation = observation.clip(-3, 3)
        expected, theirs = model.predict(observation, theirs, start, deterministic=True)
        action, mine = agent.predict(observation, mine, start)
        assert np.array_equal(action, expected)
        assert all(th.allclose(a, b) for a, b in zip(mine, theirs, strict=True))
        start = np.zeros(1, dtype=bool)
    assert mine[-1].abs().sum() > 0


@pytest.mark.parametrize(
    "policy_kwargs", [{}, {"net_arch": [12, 7]}, {"decay": (0.1, 0.9), "recurrent": True, "net_arch": [9]}]
)
@pytest.mark.parametrize("carry", [True, False])
def test_a_spiking_dqn_plays_the_same_from_its_zip(tmp_path: Path, policy_kwargs: dict[str, Any], carry: bool) -> None:
    model = spiking(T=2, carry=carry, policy_kwargs=policy_kwargs)
    agent = load_agent(zipped(model, tmp_path), "CartPole-v1")
    assert (agent.name, agent.network.T, agent.network.carry) == ("T2", 2, carry)
    assert_same_play(model, agent)


def test_a_spiking_cnn_plays_the_same_from_its_zip(tmp_path: Path) -> None:
    model = spiking(VecFrameStack(make_vec_env(Pixels, 1), 4), "CnnPolicy", T=1, policy_kwargs={"net_arch": [11]})
    agent = load_zip(zipped(model, tmp_path), PIXELS)
    assert (agent.name, agent.frames, agent.network.layer_names[:3]) == ("T1", 4, ["conv1", "conv2", "conv3"])
    assert agent.network.input_scale == 1 / 255
    assert_same_play(model, agent)


def test_a_stock_dqn_with_a_spiking_policy_is_read(tmp_path: Path) -> None:
    model = DQN(SpikingMlpPolicy, "CartPole-v1", buffer_size=10, policy_kwargs={"T": 3, "carry": False}, device="cpu")
    agent = load_zip(zipped(model, tmp_path), "CartPole-v1")
    assert (agent.network.T, agent.network.carry) == (3, False)
    assert_same_play(model, agent)


def test_a_spiking_dqn_without_timesteps_is_an_ann(tmp_path: Path) -> None:
    model = spiking(T=0)
    agent = load_zip(zipped(model, tmp_path), "CartPole-v1")
    assert (agent.name, agent.network.T) == ("ann", 0)
    observations = th.randn(8, 4)
    with th.no_grad():
        assert th.equal(model.q_net(observations), agent.network(observations)[0])


@pytest.mark.parametrize("policy_kwargs", [{}, {"decay": (0.1, 0.9), "recurrent": True}])
def test_a_spiking_dqn_with_a_custom_extractor_describes_its_network_itself(
    tmp_path: Path, policy_kwargs: dict[str, Any]
) -> None:
    kwargs = {"features_extractor_class": Tiny, "features_extractor_kwargs": {"width": 13}, "net_arch": [6]}
    path = zipped(model := spiking(T=1, policy_kwargs=kwargs | policy_kwargs), tmp_path)
    assert_same_play(model, load_zip(path, "CartPole-v1"))
    assert_same_play(model, load_zip(path, "CartPole-v1", "test_zips:Tiny"))  # as older versions had to be told


def test_an_older_spiking_dqn_with_a_custom_extractor_needs_its_name(tmp_path: Path) -> None:
    kwargs = {"features_extractor_class": Tiny, "features_extractor_kwargs": {"width": 13}, "net_arch": [6]}
    path = older(zipped(model := spiking(T=1, policy_kwargs=kwargs), tmp_path))
    with pytest.raises(UserError, match=r"custom feature extractor .*--extractor module:Class"):
        load_zip(path, "CartPole-v1")
    assert_same_play(model, load_zip(path, "CartPole-v1", "test_zips:Tiny"))


@pytest.mark.parametrize("policy_kwargs", [{}, {"decay": (0.1, 0.9), "recurrent": True, "net_arch": [9]}])
def test_an_older_zip_plays_the_same(tmp_path: Path, policy_kwargs: dict[str, Any]) -> None:
    path = older(zipped(model := spiking(T=2, policy_kwargs=policy_kwargs), tmp_path))
    assert_same_play(model, load_zip(path, "CartPole-v1"))
    again = SpikingDQN.load(path, device="cpu")
    assert all(th.equal(value, again.policy.state_dict()[key]) for key, value in model.policy.state_dict().items())


@pytest.mark.parametrize("stock", [True, False])
def test_a_policy_that_was_built_from_a_spec_plays_the_same_from_its_zip(tmp_path: Path, stock: bool) -> None:
    pooled = [{"type": "AvgPool2d", "kernel_size": 8, "stride": 4, "padding": 0}, *conv_spec(2)]
    kwargs = {"spec": pooled, "T": 2}
    venv = VecFrameStack(make_vec_env(Pixels, 1), 2)
    if stock:
        model = DQN(SpikingMlpPolicy, venv, buffer_size=10, policy_kwargs=kwargs, device="cpu")
    else:
        model = spiking(venv, T=kwargs.pop("T"), policy_kwargs=kwargs)
    agent = load_agent(zipped(model, tmp_path), PIXELS)
    assert (agent.frames, agent.network.input_scale, agent.network.spec) == (2, 1 / 255, QNetwork(pooled, 2).spec)
    assert_same_play(model, agent)


@pytest.mark.parametrize(
    ("key", "value"), [("T", -1), ("T", "2"), ("T", 0), ("decay", 7), ("decay", [1]), ("decay", "x"), ("recurrent", True)]
)
def test_policy_arguments_that_do_not_fit_the_tensors_are_an_error(tmp_path: Path, key: str, value: Any) -> None:
    path = older(zipped(spiking(T=2), tmp_path))
    rewrite(path, "data", changed(lambda data: data["policy_kwargs"].update({key: value})))
    with pytest.raises(UserError) as error:
        load_zip(path, "CartPole-v1")
    assert "\n" not in str(error.value)


# Live models


def test_a_live_model_is_an_agent(tmp_path: Path) -> None:
    stock, own = dqn(net_arch=[8]), spiking(T=2, carry=False)
    agent = load_agent(stock, "CartPole-v1")
    assert (agent.name, agent.frames, agent.path, agent.made.how) == ("ann", 1, None, "read from a live DQN")
    assert_same_q(stock, agent.network, stock.observation_space)
    agent = load_agent(own, "CartPole-v1")
    assert (agent.name, agent.network.carry, agent.made.seed) == ("T2", False, 0)
    assert_same_play(own, agent)
    before = {key: value.clone() for key, value in agent.network.state_dict().items()}
    with th.no_grad():
        for parameter in own.policy.parameters():
            parameter.add_(1)
    assert all(th.equal(value, before[key]) for key, value in agent.network.state_dict().items())  # a copy
    folder = agents.save(agent, tmp_path / "T2")
    assert fingerprint(agents.load(folder).network) == fingerprint(agent.network)


def test_a_live_model_of_images_tells_its_frames() -> None:
    model = dqn(VecFrameStack(make_vec_env(Pixels, 1), 3), "CnnPolicy")
    agent = load_agent(model, PIXELS)
    assert (agent.frames, agent.observation_shape, agent.network.input_scale) == (3, (3, 36, 36), 1 / 255)
    assert_same_q(model, agent.network, model.observation_space)


def test_a_live_model_that_is_no_agent_is_an_error() -> None:
    with pytest.raises(UserError, match="a live model does not say its environment"):
        load_agent(dqn())
    with pytest.raises(UserError, match="takes observations of 4 but 'Acrobot-v1' gives 6"):
        load_agent(dqn(), "Acrobot-v1")
    with pytest.raises(UserError, match="has 2 actions but 'MountainCar-v0' has 3"):
        load_agent(dqn(make_vec_env(Count, 1)), "MountainCar-v0")
    with pytest.raises(UserError, match="VecNormalize normalises"):
        load_agent(dqn(VecNormalize(make_vec_env("CartPole-v1", 1))), "CartPole-v1")
    with pytest.raises(UserError, match="a DQN of Stable-Baselines3, got a PPO"):
        load_agent(PPO("MlpPolicy", "CartPole-v1", device="cpu"), "CartPole-v1")  # type: ignore[arg-type]
    several = DQN("MultiInputPolicy", DictEnv(), buffer_size=10, device="cpu")
    with pytest.raises(UserError, match="an agent sees one vector or image"):
        load_agent(several, "CartPole-v1")


class DictEnv(Count):
    """Shows a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict({"clock": self.observation_space})
