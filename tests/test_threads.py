"""Threads: one unless the user asks for more, or a measurement says that they pay."""

from __future__ import annotations

import argparse
import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec

import snn_rl
from snn_rl import console
from snn_rl.core import threads
from snn_rl.core.network import QNetwork
from snn_rl.store.agents import Agent
from snn_rl.tasks.recipes import PruneRecipe, Recipe, TDRecipe, TrainRecipe
from snn_rl.tasks.view import View
from snn_rl.training import tuning
from snn_rl.training.jobs import Job
from snn_rl.training.stages import run_stage


def machine(speed: Callable[[int], float]) -> tuple[Callable[[], None], Callable[[], float], list[int]]:
    """Work that takes as long as its number of threads says, the clock that shows it, and who did it."""
    now, done = [0.0], []

    def work() -> None:
        done.append(th.get_num_threads())
        now[0] += speed(th.get_num_threads())

    return work, lambda: now[0], done


def test_work_is_timed_in_turns_after_a_first_time_that_does_not_count() -> None:
    work, clock, done = machine(lambda n: 8.0 / n)
    assert threads.timed(work, 4, clock) == {1: 8.0, 4: 2.0}
    assert done == [1, 1, 4, 1, 4, 1, 4]
    assert th.get_num_threads() == 1


def test_threads_that_wait_for_each_other_are_not_tried_again() -> None:
    work, clock, done = machine(lambda n: 100.0 if n > 1 else 1.0)
    assert threads.choice(threads.timed(work, 2, clock)) == 1
    assert done == [1, 1, 2]


@pytest.mark.parametrize(("many", "chosen"), [(0.5, 8), (1 / 1.3, 8), (0.8, 1), (1.5, 1)])
def test_more_threads_must_be_well_faster(many: float, chosen: int) -> None:
    assert threads.choice({1: 1.0, 8: many}) == chosen


def test_a_slow_moment_decides_nothing() -> None:
    times = iter([1.0, 0.5, 1.0, 30.0, 1.0, 0.5])
    work, clock, _ = machine(lambda _: next(times, 0.0))
    times = iter([9.0, *times])  # the first time
    assert threads.choice(threads.timed(work, 2, clock)) == 2


def test_the_number_of_threads_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError), threads.using(2):
        broken()
    assert th.get_num_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.most() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert threads.most() == threads.cores() >= 1


@pytest.mark.parametrize(("text", "at_most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)])
def test_a_container_has_no_more_cores_than_its_share(text: str, at_most: int | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    everything = threads.cores(tmp_path / "absent")
    assert threads.cores(tmp_path / "cpu.max") == (at_most or everything)


SIZES = {"batch_size": 16, "sequence_length": 12, "burn_in": 4}
PIXELS = Recipe("X", train=TrainRecipe(batch_size=64), prune=PruneRecipe(**SIZES), td=TDRecipe(**{**SIZES, "batch_size": 32}))


def pixel_job(objective: str, network: QNetwork, folder: Path) -> Job:
    start = None if objective == "ann" else Agent("X", "start", network, (1, 8, 8), 1)
    return Job(PIXELS, objective, network.T, View(1), 0, folder / "T2", start)


@pytest.mark.parametrize(("objective", "expected"), [("distill", (16, 16)), ("td", (16, 32)), ("ann", (1, 64))])
def test_the_piece_of_work_is_of_the_size_of_a_gradient_step(
    objective: str, expected: tuple[int, int], tmp_path: Path
) -> None:
    job = pixel_job(objective, QNetwork(conv_spec(), T=2), tmp_path)
    assert tuning.learnt_at_once(job, carry=True) == expected
    if objective != "ann":
        assert tuning.learnt_at_once(job, carry=False) == (1, 12 * expected[1])


def test_the_measurement_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = lively(QNetwork(conv_spec(), T=2))
    weights, stream = copy.deepcopy(network.state_dict()), th.get_rng_state()
    monkeypatch.setattr(threads, "most", lambda: 2)
    n, said = tuning.chosen(pixel_job("distill", network, tmp_path), network, (1, 8, 8))
    assert n in (1, 2)
    assert said.startswith(f"torch computes with {n} thread")
    assert "a gradient step took" in said
    assert all(th.equal(tensor, weights[key]) for key, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert th.equal(th.get_rng_state(), stream)


def test_small_networks_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "most", lambda: 8)
    monkeypatch.setattr(threads, "timed", lambda *_: pytest.fail("measured"))
    network = QNetwork(mlp_spec(4, 8, 2), T=2)
    assert tuning.chosen(pixel_job("distill", network, tmp_path), network, (4,)) == (1, "torch computes with 1 thread")


def test_a_training_learns_with_the_chosen_threads_and_plays_with_one(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, set[int]] = {"learn": set(), "play": set()}

    def spied(given: Callable[..., object]) -> Callable[..., object]:
        def spy(*args: object, **kwargs: object) -> object:
            seen["learn" if th.is_grad_enabled() else "play"].add(th.get_num_threads())
            return given(*args, **kwargs)

        return spy

    for name in ("unroll", "values"):
        monkeypatch.setattr(QNetwork, name, spied(getattr(QNetwork, name)))
    monkeypatch.setattr(tuning, "chosen", lambda *_: (2, "torch computes with 2 threads (told)"))
    short = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, total_timesteps=120, eval_freq=60))
    run_stage(Job(short, "ann", 0, View(1), 0, tmp_path / "ann"), th.device("cpu"), tune=True)
    assert seen["learn"] == {2}
    assert 1 in seen["play"]  # of selection
    assert th.get_num_threads() == 1
    said = capsys.readouterr().out.splitlines()
    assert f"CartPole-v1 ANN: at most 120 environment steps, written to {tmp_path / 'ann'}" in said
    assert "CartPole-v1 ANN: torch computes with 2 threads (told)" in said


def parsed(*arguments: str) -> int | None:
    parser = argparse.ArgumentParser()
    console.add_threads(parser)
    return parser.parse_args(arguments).threads


def test_an_option_or_an_environment_variable_says_how_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SNN_RL_THREADS", raising=False)
    assert parsed() is None
    assert parsed("--threads", "3") == 3
    monkeypatch.setenv("SNN_RL_THREADS", "2")
    assert parsed() == 2
    assert parsed("--threads", "3") == 3
    for text in ("0", "many", "1e3", "-1"):
        monkeypatch.setenv("SNN_RL_THREADS", text)
        assert parsed("--threads", "3") == 3
        with pytest.raises(SystemExit):
            parsed()
        assert f"--threads and SNN_RL_THREADS take a number from 1 to 1024, got {text}" in capsys.readouterr().err
    monkeypatch.setenv("SNN_RL_THREADS", "")
    assert parsed() is None


@pytest.mark.parametrize(("wanted", "threads_then"), [(2, 2), (None, 1)])
def test_a_command_computes_with_one_thread_or_as_many_as_it_is_told(wanted: int | None, threads_then: int) -> None:
    with threads.using(4):
        console.use_threads(wanted)
        assert th.get_num_threads() == threads_then


def test_in_python_the_threads_stay_the_users(tmp_path: Path) -> None:
    with threads.using(2):
        snn_rl.load_agent("CartPole-v1/T1")
        model = snn_rl.SpikingDQN("MlpPolicy", "CartPole-v1", learning_starts=10, buffer_size=100, device="cpu")
        model.learn(20)
        assert th.get_num_threads() == 2
