"""Live Stable-Baselines3 models as agents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch as th
from conftest import PIXELS, Count, Pixels
from gymnasium import spaces
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack
from test_zips import Tiny, assert_same_q, dqn
from test_zips_spiking import assert_same_play, spiking
from torch import nn

from snn_rl.core.errors import UserError
from snn_rl.sb3.live import import_policy
from snn_rl.sb3.zips import load_agent
from snn_rl.store import agents
from snn_rl.store.agents import fingerprint

pytestmark = pytest.mark.usefixtures("pixels")


class Shared(Tiny):
    """One activation object in two places."""

    def __init__(self, observation_space: spaces.Box, width: int = 9) -> None:
        super().__init__(observation_space, width)
        self.body.extend([nn.Linear(width, width), self.body[1]])


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
    with pytest.raises(UserError, match="a model of Stable-Baselines3, got a Linear"):
        load_agent(nn.Linear(4, 2), "CartPole-v1")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the model has continuous actions"):
        load_agent(SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, device="cpu"), "CartPole-v1")
    several = DQN("MultiInputPolicy", DictEnv(), buffer_size=10, device="cpu")
    with pytest.raises(UserError, match="takes observations of 2 but 'CartPole-v1' gives 4"):
        load_agent(several, "CartPole-v1")


class DictEnv(Count):
    """Shows a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict({"clock": self.observation_space})
