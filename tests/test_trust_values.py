"""Values are checked where they enter: rewards, observations, states; and what a membrane without leak comes to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import Count, dqn, lively, mlp_spec
from stable_baselines3.common.vec_env import DummyVecEnv

from snn_rl import report
from snn_rl.core.deciding import decide
from snn_rl.core.errors import UserError
from snn_rl.core.lif import lif_step
from snn_rl.core.network import QNetwork
from snn_rl.measure import technology
from snn_rl.store import agents
from snn_rl.store.agents import CARD, Agent
from snn_rl.store.files import begin_run, data_folder, folder_name
from snn_rl.store.lock import Lock
from snn_rl.tasks.recipe_files import read_recipe
from snn_rl.tasks.rollout import Start, Stream, play


class Broken(Count):
    """Gives a reward that is no number at its third step."""

    def __init__(self, reward: float = float("nan")) -> None:
        super().__init__(9)
        self.bad = reward

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, over, cut, info = super().step(action)
        return observation, self.bad if self.clock == 3 else reward, over, cut, info


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_is_refused_before_it_is_stored(reward: float) -> None:
    model = dqn(DummyVecEnv([lambda: Broken(reward)]))
    with pytest.raises(UserError, match=r"the environment 'without an id' gave the reward (nan|inf)"):
        model.learn(50)
    assert np.isfinite(model.replay_buffer.reward).all()
    assert model.replay_buffer.size() == 2
    zeros = np.zeros((1, 2), np.float32)
    with pytest.raises(UserError, match="reward is NaN or infinite"):
        model.replay_buffer.add(zeros, zeros, np.zeros(1), np.array([reward]), np.zeros(1), [{}])


def test_a_reward_that_is_no_number_names_the_environment() -> None:
    gym.register("SnnRlBroken-v0", Broken)
    try:
        network = QNetwork(mlp_spec(2, 4, 2), T=1)
        with pytest.raises(UserError, match=r"'SnnRlBroken-v0' gave the reward nan"):
            list(play(network, [gym.make("SnnRlBroken-v0")], [Start(0, 0)]))
        stream = Stream(network, DummyVecEnv([lambda: gym.make("SnnRlBroken-v0")]), 0.0, np.random.default_rng(0))
        with pytest.raises(UserError, match=r"'SnnRlBroken-v0' gave the reward nan"):
            [next(stream) for _ in range(5)]
    finally:
        gym.registry.pop("SnnRlBroken-v0")


@pytest.mark.parametrize("value", [3e38, -1e19, float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_observation_beyond_all_measure_is_refused(value: float, dtype: Any) -> None:
    network = QNetwork(mlp_spec(2, 4, 2), T=1)
    with np.errstate(over="ignore"):
        observation = np.array([0, value]).astype(dtype)
    with pytest.raises(UserError, match=r"NaN or infinity, or a number beyond 1e\+18"):
        decide(network, observation, (2,))
    buffer = dqn().replay_buffer
    with pytest.raises(UserError, match=r"NaN or infinity, or a number beyond 1e\+18"):
        buffer.add(np.tile(observation, (3, 1)), np.zeros((3, 2)), np.zeros(3), np.zeros(3), np.zeros(3), [{}] * 3)
    decide(network, np.array([0, 1e17], dtype), (2,))


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_state_that_is_not_the_networks_is_refused(recurrent: bool) -> None:
    spec = mlp_spec(2, 4, 2)
    spec[1] = {"type": "LIF", "recurrent": 4} if recurrent else {"type": "LIF"}
    network, observation = QNetwork(spec, T=1), np.zeros((3, 2), np.float32)
    _, state, _ = decide(network, observation, (2,))
    for bad in (float("nan"), float("inf")):
        with pytest.raises(UserError, match="the state holds NaN or infinity; begin from rest"):
            decide(network, observation, (2,), (*state[:-1], th.full_like(state[-1], bad)))
    for wrong in (th.zeros(3, 1), th.zeros(3, 5), th.zeros(3), th.zeros(3, 4, 1)):  # PyTorch would stretch some of these
        with pytest.raises(UserError, match=r"the state is \(3.* where the layer is \(3, 4\)"):
            decide(network, observation, (2,), (wrong, *state[1:]))


@pytest.mark.parametrize("i", [1.0, 0.3, 1e-3, 7.7, -1.0, -0.1, 3e5])
def test_a_membrane_without_leak_stays_below_its_bound(i: float) -> None:
    one, current = th.tensor(1.0), th.tensor([i])
    for start in (2.0**24, 2.0**25 * 0.99, 2.0**25):
        v, v_th = start * current, current.abs() * 1e-9
        for _ in range(1000):
            _, v = lif_step(current, v, v_th, one)
        assert float(v.abs()) <= 2.0**25 * abs(float(current))


# Files and folders


def test_no_environment_leads_out_of_the_folder() -> None:
    for name in ["..", ".", "...", "../..", "/", "//", "..\\..", "a/../b", "ALE/Pong-v5", "\\"]:
        assert (Path("out") / folder_name(name)).resolve().parent == Path("out").resolve()
    assert folder_name("ALE/Pong-v5") == "ALE-Pong-v5"


def test_a_report_stays_in_its_folder(tmp_path: Path) -> None:
    for n, env in enumerate(["..", "../../x", "CartPole-v1"]):
        agent = agents.load("CartPole-v1/T1")
        agent.env = env
        agent.scores = {key: dataclasses.replace(score, env=env) for key, score in agent.scores.items()}
        agents.save(agent, tmp_path / "agents" / str(n))
    before = set(tmp_path.rglob("*"))
    assert report.main([str(tmp_path / "agents"), "--out", str(tmp_path / "deep" / "out")]) == 0
    assert {path for path in tmp_path.rglob("*") if "deep" not in path.parts} == before
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"out"}


@pytest.mark.parametrize("env", ["", "\x1b[2J", "a\nb", "x" * 201])
def test_a_name_that_cannot_be_shown_is_refused(tmp_path: Path, env: str) -> None:
    folder = agents.save(agents.load("CartPole-v1/T1"), tmp_path / "agent")
    card = json.loads((folder / CARD).read_text())
    card = {key: value for key, value in card.items() if key not in ("files", "sha256")}
    (folder / CARD).write_text(json.dumps(card | {"env": env}))
    with pytest.raises(UserError, match="env must be printable text"):
        agents.load(folder)


@pytest.mark.parametrize("text", ["a = " + "[" * 30_000, "a." * 30_000 + "b = 1", "#" * 70_000, "\0"])
def test_toml_is_bounded(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(UserError):
        read_recipe(path)
    with pytest.raises(UserError):
        technology.price_list(str(path))


def test_settings_that_are_too_deep_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("[" * 10_000)
    with pytest.raises(UserError, match="is damaged"):
        begin_run(tmp_path, {}, resume=True)


def test_every_shipped_recipe_is_far_within_the_bounds() -> None:
    assert all(path.stat().st_size < 1 << 15 for path in data_folder("envs").glob("*.toml"))


@pytest.mark.parametrize("value", ["1" + "0" * 400, "-1" + "0" * 400, "1e400", "nan"])
def test_a_number_that_no_float_holds_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.toml"
    for key in ("gamma", "total_timesteps", "net_arch"):
        path.write_text(f'id = "CartPole-v1"\n[train]\n{key} = {f"[{value}]" if key == "net_arch" else value}')
        with pytest.raises(UserError, match=f"'{key}' must be"):
            read_recipe(path)
    path.write_text(f'name = "x"\nmac_pj = {value}\nac_pj = 1\nupdate_pj = 1\nmemory_pj = 1')
    with pytest.raises(UserError, match="mac_pj must be"):
        technology.price_list(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frames = 65", "'frames' must be at most 64"),
        ("spiking_frames = 65", "'spiking_frames' must be at most 64"),
        ("[train]\nn_envs = 1000000", "'n_envs' must be at most 100,000"),
        ("[train]\nnet_arch = [64, 1000000000]", "'net_arch' must be at most 10,000,000"),
    ],
)
def test_a_recipe_that_nothing_could_be_built_from_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.toml").write_text(f'id = "CartPole-v1"\n{text}')
    with pytest.raises(UserError, match=said):
        read_recipe(tmp_path / "x.toml")


@pytest.mark.parametrize("T", [0, 2])
def test_weights_that_no_float_can_carry_are_refused(tmp_path: Path, T: int) -> None:
    """Of a spiking network on loading: its membranes would be infinite, and its spikes finite."""
    network = lively(QNetwork(mlp_spec(4, 8, 2), T=T))
    with th.no_grad():
        for parameter in network.synapses.parameters():
            parameter.fill_(1e37)
    folder = agents.save(Agent("CartPole-v1", "T2", network, (4,)), tmp_path / "agent")
    if T:
        with pytest.raises(UserError, match="the weights of fc1 are so large that a membrane could become infinite"):
            agents.load(folder)
    else:
        with pytest.raises(UserError, match="the network's values are NaN or infinite"):
            agents.load(folder).predict(np.ones(4, np.float32))


def test_the_largest_weights_leave_membranes_finite(tmp_path: Path) -> None:
    network = lively(QNetwork(mlp_spec(1, 1, 2), T=1000), decay=1.0)
    with th.no_grad():
        network.synapses[0][0].weight.fill_(9e11)
        network.synapses[0][0].bias.fill_(0.0)
    agent = agents.load(agents.save(Agent("CartPole-v1", "T2", network, (1,)), tmp_path / "agent"))
    state = None
    for _ in range(3):
        _, state = agent.predict(np.full(1, 1e18, np.float32), state)
    assert all(bool(th.isfinite(v).all()) for v in state)


def test_a_lock_that_is_a_link_empties_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        Lock(tmp_path / "run")
    assert (tmp_path / "other").read_text() == "kept"
