"""Shipping: of several training seeds the median's agents are shipped, with the episodes of all."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import score

from snn_rl import ship
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store import agents, shipped
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made
from snn_rl.store.episodes import Episode
from snn_rl.training import shipping

SPEC = [
    {"type": "Linear", "in_features": 4, "out_features": 3, "bias": True},
    {"type": "ReLU"},
    {"type": "Linear", "in_features": 3, "out_features": 2, "bias": True},
]


def _run(folder: Path, seed: int, returns: dict[str, float], env: str = "CartPole-v1") -> Path:
    for name, value in returns.items():
        agent = Agent(env, name, QNetwork(SPEC, int(name[1:]) if name != "ann" else 0), (4,), made=Made(seed=seed))
        agent.scores = {"greedy": score(value)}
        agent.episodes = [Episode(seed, "greedy", 0, None, 0, value, 9)]
        agents.save(agent, folder / name)
    return folder


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shipping, "data_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(shipped, "data_folder", lambda name: tmp_path / name)
    return tmp_path / "agents"


def test_the_median_of_the_lowest_t_is_shipped_with_the_episodes_of_all(tmp_path: Path, catalogue: Path) -> None:
    scores = [{"T2": 9.0, "T1": 3.0}, {"T2": 1.0, "T1": 1.0}, {"T2": 5.0, "T1": 2.0}]
    runs = [str(_run(tmp_path / f"run{seed}", seed, one)) for seed, one in enumerate(scores)]
    assert ship.main(runs) == 0
    for name in ("T1", "T2"):
        agent = agents.load(catalogue / "CartPole-v1" / name)
        assert (agent.made.seed, agent.made.training_seeds.every) == (2, ["0", "1", "2"])
        assert [one.training_seed for one in agent.episodes] == [0, 1, 2]


def test_of_anns_alone_the_median_is_shipped(tmp_path: Path, catalogue: Path) -> None:
    runs = [str(_run(tmp_path / f"run{seed}", seed, {"ann": value})) for seed, value in enumerate((7.0, 9.0, 8.0))]
    assert ship.main(runs) == 0
    assert agents.load(catalogue / "CartPole-v1" / "ann").made.seed == 2


def test_the_median_is_that_of_the_agents_that_are_shipped(tmp_path: Path, catalogue: Path) -> None:
    scores = [{"T2": 9.0, "T1": 3.0}, {"T2": 1.0, "T1": 2.0}, {"T2": 5.0, "T1": 1.0}]
    runs = [str(_run(tmp_path / f"run{seed}", seed, one)) for seed, one in enumerate(scores)]
    for name, median in (("T1", 1), ("T2", 2)):
        assert ship.main([*runs, "--only", name]) == 0
        assert agents.load(catalogue / "CartPole-v1" / name).made.seed == median


def test_what_is_there_already_and_what_was_not_asked_for_stays(tmp_path: Path, catalogue: Path) -> None:
    run = _run(tmp_path / "run", 0, {"ann": 9.0, "T2": 5.0, "T1": 4.0})
    shutil.copytree(run / "ann", catalogue / "CartPole-v1" / "ann")
    before = (catalogue / "CartPole-v1" / "ann" / agents.CARD).read_bytes()
    assert ship.main([str(run), "--only", "ann", "T1"]) == 0
    assert sorted(card.parent.name for card in catalogue.glob("*/*/card.json")) == ["T1", "ann"]
    assert (catalogue / "CartPole-v1" / "ann" / agents.CARD).read_bytes() == before


def test_another_agent_is_replaced_only_where_it_is_named(tmp_path: Path, catalogue: Path) -> None:
    first, second = (_run(tmp_path / f"run{n}", n, {"T2": 5.0, "T1": 4.0}) for n in (0, 1))
    assert ship.main([str(first), "--only", "T1"]) == 0
    with pytest.raises(UserError, match="other agents are shipped as CartPole-v1/T1; name with --only"):
        ship.main([str(second)])
    assert agents.shipped() == ["CartPole-v1/T1"]  # nothing was written, not even T2
    assert agents.load("CartPole-v1/T1").made.seed == 0
    assert ship.main([str(second), "--only", "T1"]) == 0
    there = agents.load("CartPole-v1/T1")
    assert (there.made.seed, [one.training_seed for one in there.episodes]) == (1, [1])


def test_more_seeds_are_added_and_what_was_measured_later_stays(tmp_path: Path, catalogue: Path) -> None:
    runs = [str(_run(tmp_path / f"run{seed}", seed, {"T1": value})) for seed, value in enumerate((2.0, 1.0, 3.0))]
    assert ship.main(runs[:1]) == 0
    there = agents.load(catalogue / "CartPole-v1" / "T1")
    there.scores["sticky 0.25"] = score(1.5)
    there.episodes.append(replace(there.episodes[0], protocol="sticky 0.25"))
    agents.save_scores(there)
    assert ship.main(runs) == 0
    agent = agents.load(catalogue / "CartPole-v1" / "T1")
    assert agent.made.training_seeds.every == ["0", "1", "2"]
    assert [(one.training_seed, one.protocol) for one in agent.episodes] == [
        (0, "greedy"), (0, "sticky 0.25"), (1, "greedy"), (2, "greedy")
    ]  # fmt: skip
    assert set(agent.scores) == {"greedy", "sticky 0.25"}


def test_an_id_with_a_slash_is_shipped_where_it_is_found(tmp_path: Path, catalogue: Path) -> None:
    run = _run(tmp_path / "run", 0, {"T1": 1.0}, env="ALE/Pong-v5")
    assert ship.main([str(run)]) == 0
    assert agents.shipped() == ["ALE-Pong-v5/T1"]
    assert agents.load("ALE-Pong-v5/T1").env == "ALE/Pong-v5"


def test_a_run_that_was_not_scored_is_refused(tmp_path: Path, catalogue: Path) -> None:
    run = _run(tmp_path / "run", 0, {"T1": 1.0})
    agent = agents.load(run / "T1")
    agent.scores = {}
    agents.save_scores(agent)
    with pytest.raises(UserError, match="no greedy score"):
        ship.main([str(run)])


def test_runs_that_do_not_match_are_refused(tmp_path: Path, catalogue: Path) -> None:
    runs = [str(_run(tmp_path / "a", 0, {"T1": 1.0})), str(_run(tmp_path / "b", 1, {"T2": 1.0}))]
    with pytest.raises(UserError, match="different agents"):
        ship.main(runs)
    with pytest.raises(UserError, match="no such agent"):
        ship.main([runs[0], "--only", "T3"])
