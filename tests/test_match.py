"""When a student is as good as its ANN, by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import mlp_spec

from snn_rl.core.network import QNetwork
from snn_rl.store.agents import Agent
from snn_rl.store.card import Compared
from snn_rl.tasks.players import Played, Player
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Start
from snn_rl.tasks.workers import play_all
from snn_rl.training import match, selection, stages
from snn_rl.training.conversion import convert
from snn_rl.training.jobs import early_points
from snn_rl.training.match import Match, as_good
from snn_rl.training.selection import Selection

NETWORK = QNetwork(mlp_spec(2, 3, 2), T=1)


def test_the_bound_of_the_mean_difference_decides() -> None:
    ann = np.full(100, 100.0)
    assert as_good(ann, ann, 0.95)
    assert as_good(ann - 4.9, ann, 0.95)
    assert not as_good(ann - 5.1, ann, 0.95)
    noisy = ann + np.tile([10.0, -10.0], 50)  # standard deviation 10.05: the bound lies 1.653 below the mean of 100
    assert as_good(noisy - 3.3, ann, 0.95)
    assert not as_good(noisy - 3.4, ann, 0.95)
    assert as_good(-ann - 4.9, -ann, 0.95)  # of negative returns the same part may be lost
    assert not as_good(-ann - 5.1, -ann, 0.95)


def test_the_ann_plays_once_and_a_poor_student_only_a_few_episodes() -> None:
    played = {"student": 0, "ann": 0}

    def of_student(network: QNetwork, more: bool) -> np.ndarray:
        played["student"] += 1
        return np.full(4, 99.0)

    def of_ann(more: bool) -> np.ndarray:
        played["ann"] += 1
        return np.full(4, 100.0)

    tried = Match(of_student, of_ann, 0.95)
    assert not tried.try_with(NETWORK, few=90.0)
    assert tried.reached is None
    assert tried.try_with(NETWORK, few=97.0)
    assert tried.reached == Compared(student=99.0, ann=100.0, share=0.95, sure=True)
    assert played == {"student": 1, "ann": 1}
    again = Match(of_student, of_ann, 0.95)
    again.load_state_dict(tried.state_dict())
    assert again.reached == tried.reached


def test_the_network_that_matches_is_kept_even_if_another_looked_better() -> None:
    found = iter([100.0, 98.0])
    sure = iter([90.0, 99.0])  # over many episodes the first one is worse
    match = Match(lambda *_: np.full(4, next(sure)), lambda _: np.full(4, 100.0), 0.95)
    selection = Selection((1, 2), lambda _: next(found), match=match)
    network = QNetwork(mlp_spec(2, 3, 2), T=1)
    selection.judge(network, 1)
    assert not selection.satisfied
    network.lifs[0].set(v_th=0.123)
    selection.judge(network, 2)
    assert selection.satisfied
    network.lifs[0].set(v_th=1.0)
    selection.choose(network)
    assert network.lifs[0].v_th.item() == pytest.approx(0.123)


@pytest.mark.parametrize(("few", "many", "played"), [(96.0, 1.0, 1), (94.0, 96.0, 2), (94.0, 94.0, 2)])
def test_a_student_falls_short_only_if_it_does_so_from_more_starts(few: float, many: float, played: int) -> None:
    asked = []

    def of_student(network: QNetwork, more: bool) -> np.ndarray:
        asked.append(more)
        return np.tile([-50.0, 50.0], 2) + (many if more else few)  # too noisy to be sure

    compared = Match(of_student, lambda _: np.full(4, 100.0), 0.97).settle(NETWORK)
    assert asked == [False, True][:played]
    assert compared == Compared(student=many if played > 1 else few, ann=100.0, share=0.97, sure=False)
    assert compared.keeps(match.KEPT) == (compared.student == 96.0)
    asked.clear()
    short = Match(of_student, lambda _: np.full(4, 100.0), 0.97, more=False).settle(NETWORK)
    assert (asked, short.student) == ([False], few)


def test_more_starts_begin_with_the_usual_ones(ann: Agent, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def played(player: Player, begins: list[Start], *, processes: int) -> Played:
        asked.append(begins)
        return play_all(player, begins[:1])

    monkeypatch.setattr(match, "play_all", played)
    for more in (False, True):
        match.confirming_returns(ann.network, recipe, ann.frames, seed=0, more=more)
    usual, more_starts = asked
    assert len(usual) == match.EPISODES
    assert len(more_starts) == match.MORE * match.EPISODES
    assert more_starts[: match.EPISODES] == usual


def test_evaluations_of_a_training_that_may_end_early_begin_early() -> None:
    assert early_points(3_000, 4) == (750, 1_500, 2_250, 3_000)
    assert early_points(2, 4) == (1, 2)


@pytest.mark.parametrize(("share", "words"), [(0.95, "as good as its ANN"), (0.0, None)])
def test_a_stage_ends_once_its_student_matches_and_its_card_says_so(
    ann: Agent,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    share: float,
    words: str | None,
) -> None:
    monkeypatch.setattr(stages, "confirming_returns", lambda *_, **__: np.full(4, 10.0))
    monkeypatch.setattr(stages, "selector", lambda *_: lambda network: 10.0)
    prune = dataclasses.replace(recipe.prune, gradient_steps=(8,), evaluations=4, stop_at_share=share)
    one = dataclasses.replace(recipe, prune=prune)
    job = stages.pruning_job(convert(ann, one, 1), ann, one, 1, tmp_path / "T1", "distill", 0)
    made = stages.run_stage(job, th.device("cpu")).made
    assert made.work is not None
    assert made.work.number == (2 if share else 8)
    assert (made.compared == Compared(student=10.0, ann=10.0, share=0.95, sure=True)) == bool(share)
    assert (words or "never") in capsys.readouterr().out or not share


def test_students_and_their_ann_are_played_in_as_many_processes_as_the_command_may_use(
    ann: Agent, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def played(player: Player, begins: list[Start], *, processes: int) -> Played:
        used.append((len(begins), processes))
        return play_all(player, begins[:2])

    monkeypatch.setattr(match, "play_all", played)
    monkeypatch.setattr(selection, "play_all", played)
    prune = dataclasses.replace(recipe.prune, gradient_steps=(1,), evaluations=1, stop_at_share=0.95)
    one = dataclasses.replace(recipe, prune=prune)
    job = stages.pruning_job(convert(ann, one, 1), ann, one, 1, tmp_path / "T1", "distill", 0)
    stages.run_stage(job, th.device("cpu"), processes=3)
    assert set(used) == {(2, 3), (match.EPISODES, 3)}
