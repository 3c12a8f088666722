"""Evaluations of real CartPole agents: what they hold, and how they are kept."""

import dataclasses
import json
from pathlib import Path

import pytest
from conftest import score as made_up

from snn_rl import evaluate as evaluate_command
from snn_rl.measure import scores
from snn_rl.measure.scores import Evaluation, Protocol, add_score, describe, evaluate, score
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made
from snn_rl.store.episodes import Episode
from snn_rl.tasks.recipes import Recipe
from snn_rl.training.conversion import convert


def test_an_evaluation_has_the_promised_fields(ann: Agent, recipe: Recipe) -> None:
    spiking = convert(ann, recipe, 2)
    fields = {
        "agent",
        "weights",
        "env",
        "T",
        "frames",
        "carry",
        "epsilon",
        "sticky",
        "episodes",
        "return",
        "engine",
        "energy",
        "versions",
    }
    energy = {"ann_uj", "snn_uj", "ratio", "macs", "acs", "neuron_updates", "membrane_uj", "convention", "technology"}
    result = evaluate(spiking, recipe).to_json()
    assert set(result) == fields | {"spike_rate"}
    assert energy <= set(result["energy"])
    assert [set(episode) for episode in result["episodes"]] == [{"start", "seed", "return", "length"}] * 3
    assert set(result["return"]) == {"mean", "std", "iqm", "ci95", "min", "max"}
    assert result["return"]["mean"] == pytest.approx(sum(episode["return"] for episode in result["episodes"]) / 3)
    plain = evaluate(ann, recipe).to_json()
    assert set(plain) == fields
    assert (plain["T"], plain["carry"]) == (0, False)
    assert "snn_uj" not in plain["energy"]


def test_an_evaluation_can_be_repeated_exactly(ann: Agent, recipe: Recipe) -> None:
    spiking = convert(ann, recipe, 2)
    first, second = (evaluate(spiking, recipe, Protocol(0.2, episodes=4, seed=3)) for _ in range(2))
    assert first == second
    assert [episode.seed for episode in first.episodes] == [3, 4, 5, 6]


def test_zeroed_membranes_are_zeroed_and_only_for_that_evaluation(ann: Agent, recipe: Recipe) -> None:
    spiking = convert(ann, recipe, 1)
    for lif in spiking.network.lifs:
        lif.set(v_th=5.0, decay=1.0)  # nothing fires before it has summed some observations up
    carried, zeroed, again = (evaluate(spiking, recipe, Protocol(zeroed=zero)) for zero in (False, True, False))
    assert (carried.score.carry, zeroed.score.carry) == (True, False)
    assert (carried.protocol.name, zeroed.protocol.name) == ("greedy", "greedy, membrane zeroed")
    assert sum(zeroed.score.spike_rate.values()) < 0.1 * sum(carried.score.spike_rate.values())
    assert again == carried


def test_an_agent_that_carries_nothing_is_not_zeroed(ann: Agent, recipe: Recipe) -> None:
    spiking = convert(ann, recipe, 1, carry=False)
    assert evaluate(spiking, recipe, Protocol(zeroed=True, episodes=1)).protocol.name == "greedy"


@pytest.mark.parametrize(("zeroed", "said"), [([3.0, 4.0], True), ([1.5, 4.0], False)])
def test_it_is_said_where_an_agent_plays_better_without_its_memory(
    ann: Agent,
    recipe: Recipe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    zeroed: list[float],
    said: bool,
) -> None:
    spiking = convert(ann, recipe, 1)
    spiking.path = tmp_path
    results = iter([(1.0, 2.0), tuple(zeroed)] * 2)

    def measured(agent: Agent, recipe: Recipe, protocol: Protocol, **_: object) -> Evaluation:
        returns = dataclasses.replace(made_up().returns, ci95=next(results))
        return Evaluation(protocol, made_up(returns=returns), [])

    monkeypatch.setattr(scores, "evaluate", measured)
    monkeypatch.setattr(scores, "describe", repr)
    monkeypatch.setattr(agents, "save_scores", lambda _: None)
    score(spiking, recipe, ablate=True)
    assert "better" not in capsys.readouterr().out  # a conversion does not play yet
    spiking.made, spiking.scores = Made(), {}
    score(spiking, recipe, ablate=True)
    assert ("T1 plays better with its membranes zeroed" in capsys.readouterr().out) == said


def test_scores_replace_those_of_the_same_protocol(ann: Agent, recipe: Recipe) -> None:
    for episodes in (2, 3):
        add_score(ann, evaluate(ann, recipe, Protocol(episodes=episodes)))
    add_score(ann, evaluate(ann, recipe, Protocol(0.5, episodes=1)))
    assert list(ann.scores) == ["greedy", "epsilon 0.5"]
    assert [one.protocol for one in ann.episodes] == ["greedy"] * 3 + ["epsilon 0.5"]


def test_a_line_says_whether_an_agent_takes_less_energy_or_more(ann: Agent, recipe: Recipe) -> None:
    result = evaluate(convert(ann, recipe, 1), recipe, Protocol(episodes=1))
    for ratio, words in ((2.5, "2.50 times less than"), (0.8, "1.25 times more than")):
        energy = dataclasses.replace(result.score.energy, ratio=ratio)
        assert words in describe(dataclasses.replace(result, score=dataclasses.replace(result.score, energy=energy)))


def test_protocols_have_names() -> None:
    assert Protocol().name == "greedy"
    assert Protocol(0.01, 0.25, zeroed=True).name == "epsilon 0.01, sticky 0.25, membrane zeroed"


def test_scores_of_other_training_seeds_stay(ann: Agent, recipe: Recipe) -> None:
    ann.episodes = [Episode(7, "greedy", 0, None, 0, 1.0, 1)]
    add_score(ann, evaluate(ann, recipe, Protocol(episodes=2)))
    add_score(ann, evaluate(ann, recipe, Protocol(episodes=2)))
    assert [one.training_seed for one in ann.episodes] == [7, 0, 0]


def test_energy_is_in_the_prices_that_were_asked_for(
    ann: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("name = '3 nm (a dream): cheap'\nmac_pj = 2\nac_pj = 1\nupdate_pj = 0\nmemory_pj = 0\n")
    found = {}
    for name in ("fp32", str(prices)):
        out = tmp_path / "out.json"
        evaluate_command.main([str(ann.path), "--episodes", "1", "--technology", name, "--json", str(out)])
        found[name] = json.loads(out.read_text())["energy"]
    assert "(3 nm)" in capsys.readouterr().out
    assert found[str(prices)]["ann_uj"] == pytest.approx(found["fp32"]["ann_uj"] * 2 / 4.6)
    assert found[str(prices)]["macs"] == found["fp32"]["macs"]
