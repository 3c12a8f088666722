"""What learnt under VecNormalize plays without it: mean and scale are in its first layer."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import dqn
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import snn_rl
from snn_rl import SpikingDQN, convert, load_agent, train
from snn_rl.core.errors import UserError
from snn_rl.store.agents import Agent

ENV = "CartPole-v1"


class Exploit:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


@pytest.fixture
def normalize() -> VecNormalize:
    """Of CartPole, with statistics of a little play."""
    env = VecNormalize(make_vec_env(ENV, 2, seed=0), clip_obs=5.0)
    env.reset()
    for n in range(60):
        env.step(np.array([n % 2, n % 3 > 0], dtype=int))
    env.training = False
    return env


def of_both(model: DQN, agent: Agent, normalize: VecNormalize) -> tuple[np.ndarray, np.ndarray]:
    """Values of the model, of normalised observations, and of the agent, of the same as they are."""
    seen = normalize.obs_rms.mean + np.sqrt(normalize.obs_rms.var) * np.random.default_rng(0).normal(size=(50, 4))
    seen = seen.astype(np.float32)
    with th.no_grad():
        theirs = model.q_net(th.as_tensor(normalize.normalize_obs(seen), dtype=th.float32))
        ours = agent.network(th.as_tensor(seen))[0]
    return theirs.numpy(), ours.numpy()


def stock(normalize: VecNormalize) -> DQN:
    return DQN("MlpPolicy", normalize, seed=0, buffer_size=100, device="cpu")


def test_a_live_model_brings_its_statistics(normalize: VecNormalize) -> None:
    for model in (stock(normalize), dqn(normalize)):
        theirs, ours = of_both(model, load_agent(model, ENV), normalize)
        assert np.allclose(theirs, ours, atol=1e-4)
    assert "its first layer holds the statistics of VecNormalize" in load_agent(stock(normalize), ENV).made.how


def test_a_zip_takes_the_statistics_live_or_from_their_file(normalize: VecNormalize, tmp_path: Path) -> None:
    normalize.save(str(tmp_path / "vecnormalize.pkl"))
    stock(normalize).save(tmp_path / "stock.zip")
    model = stock(normalize)
    live = load_agent(tmp_path / "stock.zip", ENV, vecnormalize=normalize)
    read = load_agent(tmp_path / "stock.zip", ENV, vecnormalize=tmp_path / "vecnormalize.pkl", trust_pickle=True)
    for agent in (live, read):
        theirs, ours = of_both(model, agent, normalize)
        assert np.allclose(theirs, ours, atol=1e-4)


def test_the_zip_of_a_spiking_dqn_that_saw_normalised_observations_says_what_it_needs(tmp_path: Path) -> None:
    env = VecNormalize(make_vec_env(ENV))
    model = SpikingDQN("MlpPolicy", env, learning_starts=20, buffer_size=500, seed=3, policy_kwargs={"net_arch": [4]})
    model.learn(30)
    model.save(tmp_path / "model.zip")
    with pytest.raises(UserError, match=r"trained under VecNormalize.*--vecnormalize FILE --trust-pickle"):
        load_agent(tmp_path / "model.zip", ENV)
    theirs, ours = of_both(model, load_agent(tmp_path / "model.zip", ENV, vecnormalize=env), env)
    assert np.allclose(theirs, ours, atol=1e-4)


def test_a_pickle_is_read_only_where_its_author_is_trusted(tmp_path: Path, normalize: VecNormalize) -> None:
    stock(normalize).save(tmp_path / "stock.zip")
    mark, hostile = tmp_path / "mark", tmp_path / "hostile.pkl"
    hostile.write_bytes(pickle.dumps(Exploit(mark)))
    with pytest.raises(UserError, match="is a pickle, and reading it runs whatever its author put there"):
        load_agent(tmp_path / "stock.zip", ENV, vecnormalize=hostile)
    assert not mark.exists()


def test_statistics_that_are_none_are_an_error(tmp_path: Path, normalize: VecNormalize) -> None:
    path, other = tmp_path / "stock.zip", tmp_path / "other.pkl"
    stock(normalize).save(path)
    other.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match=r"holds a list, no VecNormalize: give what VecNormalize\.save wrote"):
        load_agent(path, ENV, vecnormalize=other, trust_pickle=True)
    other.write_bytes(b"\x80\x04no pickle")
    with pytest.raises(UserError, match="is damaged"):
        load_agent(path, ENV, vecnormalize=other, trust_pickle=True)
    with pytest.raises(UserError, match="no file"):
        load_agent(path, ENV, vecnormalize=tmp_path / "none.pkl", trust_pickle=True)
    with pytest.raises(
        UserError,
        match=r"the statistics of VecNormalize are of shape \(6,\): give those .*, or train with norm_obs=False",
    ):
        load_agent(path, ENV, vecnormalize=VecNormalize(make_vec_env("Acrobot-v1")))
    with pytest.raises(UserError, match=r"--vecnormalize is for an SB3 zip"):
        load_agent("CartPole-v1/T1", vecnormalize=normalize)


def test_it_is_said_where_clipping_would_matter(normalize: VecNormalize) -> None:
    assert "without the clipping at 5 deviations" in str(load_agent(stock(normalize), ENV).made.how)
    normalize.obs_rms.var[:] = 1.0
    normalize.observation_space = gym.spaces.Box(-1, 1, (4,))
    assert "clipping" not in str(load_agent(stock(normalize), ENV).made.how)


class Places(gym.Env):
    """Shows a place, which is normalised, and a direction, which is not."""

    observation_space = gym.spaces.Dict({"place": gym.spaces.Box(-9, 9, (2,)), "ahead": gym.spaces.Box(0, 1, (1,))})
    action_space = gym.spaces.Discrete(2)
    metadata: ClassVar[dict[str, list[str]]] = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        return self.observation_space.sample(), 1.0, bool(self.np_random.random() < 0.1), False, {}


def test_the_statistics_of_a_dict_go_into_the_first_layer_part_by_part() -> None:
    gym.register("Places-v0", Places)
    env = VecNormalize(make_vec_env("Places-v0", 1, seed=0), norm_obs_keys=["place"])
    env.reset()
    for _ in range(30):
        env.step(np.array([0]))
    env.training = False
    model = DQN("MultiInputPolicy", env, seed=0, buffer_size=100, device="cpu")
    agent, shown = load_agent(model, "Places-v0"), {"place": np.array([[3.0, -4.0]]), "ahead": np.array([[0.5]])}
    with th.no_grad():
        theirs = model.q_net({key: th.as_tensor(one).float() for key, one in env.normalize_obs(shown).items()})
        ours = agent.network(th.tensor([[0.5, 3.0, -4.0]]))[0]
    assert np.allclose(theirs, ours, atol=1e-4)
    with pytest.raises(UserError, match=r"VecNormalize normalises the parts.*FlattenObservation\(env\) first and then"):
        SpikingDQN("MultiInputPolicy", env)


def test_a_command_takes_the_statistics(normalize: VecNormalize, tmp_path: Path) -> None:
    normalize.save(str(tmp_path / "vecnormalize.pkl"))
    stock(normalize).save(tmp_path / "stock.zip")
    zip_and_file = ["--ann", str(tmp_path / "stock.zip"), "--vecnormalize", str(tmp_path / "vecnormalize.pkl")]
    with pytest.raises(UserError, match="is a pickle, and reading it runs"):
        train.main(["--env", ENV, *zip_and_file, "--dry-run"])
    with pytest.raises(UserError, match="--trust-pickle goes with --vecnormalize FILE"):
        train.main(["--env", ENV, *zip_and_file[:2], "--trust-pickle", "--dry-run"])
    with pytest.raises(UserError, match="--vecnormalize is for an SB3 zip; give one with --ann"):
        train.main(["--env", ENV, *zip_and_file[2:], "--trust-pickle", "--dry-run"])
    assert train.main(["--env", ENV, *zip_and_file, "--trust-pickle", "--dry-run"]) == 0
    out = tmp_path / "T1"
    convert.main([*zip_and_file, "--trust-pickle", "--env", ENV, "--T", "1", "--out", str(out)])
    live = snn_rl.convert(stock(normalize), ENV, T=1)
    read = snn_rl.convert(
        tmp_path / "stock.zip", ENV, T=1, vecnormalize=tmp_path / "vecnormalize.pkl", trust_pickle=True, seed=0
    )
    of_command = load_agent(out)
    for key, value in live.network.state_dict().items():
        assert th.equal(value, of_command.network.state_dict()[key])
        assert th.equal(value, read.network.state_dict()[key])
    learner = SpikingDQN.from_sb3(tmp_path / "stock.zip", ENV, vecnormalize=normalize, buffer_size=100, seed=0)
    assert learner.observation_space.shape == (4,)


def test_without_normalised_observations_nothing_is_folded() -> None:
    env = VecNormalize(make_vec_env(ENV), norm_obs=False)
    model = stock(env)
    agent = load_agent(model, ENV)
    assert "VecNormalize" not in str(agent.made.how)
    assert th.equal(agent.network.synapses[0][-1].weight, model.q_net.q_net[0].weight)
