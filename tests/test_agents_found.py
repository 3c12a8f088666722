"""Agents are found by their folder or by the name of a shipped one, and what is not found is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import conv_spec, score

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.sb3.zips import load_agent
from snn_rl.store import agents, shipped
from snn_rl.store.agents import CARD, Agent


def make() -> Agent:
    return Agent("CartPole-v1", "T2", QNetwork(conv_spec(), T=2), (1, 8, 8), scores={"greedy": score(T=2)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return agents.save(make(), tmp_path / "sub" / "agent")


def test_an_unknown_agent_is_one_line() -> None:
    with pytest.raises(UserError, match="no agent 'PongNoFrameskip-v4/T99': neither a folder, nor a shipped agent") as error:
        agents.load("PongNoFrameskip-v4/T99")
    assert "\n" not in str(error.value)


def test_an_unknown_agent_suggests_the_nearest_shipped_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "shipped", lambda: ["CartPole-v1/T1", "PongNoFrameskip-v4/T1"])
    with pytest.raises(UserError, match="did you mean the shipped agent 'CartPole-v1/T1'"):
        agents.load("Cartpole-v1/T1")


def test_shipped_agents_are_found_by_name_ann_first_then_by_falling_timesteps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "data_folder", lambda name: tmp_path / name)
    for name in ("T1", "ann", "T5", "T10", "converted-T5", "T3"):
        agents.save(make(), tmp_path / "agents" / "CartPole-v1" / name)
    (tmp_path / "agents" / "README.md").touch()
    names = [name.removeprefix("CartPole-v1/") for name in agents.shipped()]
    assert names == ["ann", "converted-T5", "T10", "T5", "T3", "T1"]
    assert agents.load("CartPole-v1/T5").path == tmp_path / "agents" / "CartPole-v1" / "T5"


def test_every_shipped_agent_loads() -> None:
    for name in agents.shipped():
        agent = load_agent(name)
        assert agent.env == name.split("/")[0]
        agent.network.shapes(agent.observation_shape)


def test_a_folder_that_is_no_agent_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"is not an agent: it has no {CARD}"):
        agents.load(tmp_path)


def test_a_run_or_an_environment_is_told_the_agents_in_it(folder: Path) -> None:
    with pytest.raises(UserError, match=f"those in it are '{folder}'"):
        agents.load(folder.parent)
    with pytest.raises(UserError, match="is an environment; its shipped agents are CartPole-v1/ann, CartPole-v1/converted-T5"):
        agents.load("CartPole-v1")


def test_a_zip_needs_its_environment(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        load_agent(tmp_path / "model.zip")
    (tmp_path / "model.zip").touch()
    with pytest.raises(UserError, match="does not say its environment: give --env ID; in Python load_agent"):
        load_agent(tmp_path / "model.zip")


def test_in_another_environment_an_agent_has_no_scores_and_no_folder(folder: Path) -> None:
    agent = load_agent(folder, "CartPole-v0")
    assert (agent.env, agent.scores, agent.episodes, agent.path) == ("CartPole-v0", {}, [], None)
    own = load_agent(folder, "CartPole-v1")
    assert own.scores
    assert own.path == folder
