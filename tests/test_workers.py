"""Several processes play what one would: the same episodes, the same counts, the same errors; and Ctrl-C ends them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import psutil
import pytest
from conftest import lively, mlp_spec, posix

from snn_rl import console
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.measure.scores import evaluate
from snn_rl.store import agents
from snn_rl.tasks import workers
from snn_rl.tasks.catalogue import imported
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.players import Played, Player
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import starts
from snn_rl.tasks.workers import ENDED, play_all, saved

MODULE = """
import os, time
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class Walk(gym.Env):
    '''A random walk that the actions push; what goes wrong is in MISHAP.'''

    observation_space = spaces.Box(-100.0, 100.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.clock, self.length = 0.0, 0, int(self.np_random.integers(5, 40))
        return self._see(), {}

    def _see(self):
        return np.array([self.at, self.clock / 10], np.float32)

    def step(self, action):
        self.clock += 1
        self.at += 2 * action - 1 + float(self.np_random.normal())
        mishap = os.environ.get("MISHAP", "")
        if self.clock == 3 and mishap == "raise":
            raise RuntimeError("motor stalled")
        if self.clock == 3 and mishap == "exit":
            os._exit(3)
        if self.clock == 3 and mishap == "nan":
            self.at = float("nan")
        if mishap == "endless":
            time.sleep(0.01)
            self.length = 1_000_000
        return self._see(), self.at, self.clock >= self.length, False, {}

gym.register("Walk-v0", Walk)
"""


@pytest.fixture
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    """Plays in an environment of a module that only this test knows."""
    name = f"walk_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    imported(f"{name}:Walk-v0")
    yield Player(lively(QNetwork(mlp_spec(2, 16, 2), T=2)), Recipe("Walk-v0"), 1, epsilon=0.1, counted=True)
    gym.registry.pop("Walk-v0")


def side_by_side(player: Player, episodes: int, processes: int) -> Played:
    return workers._side_by_side(player, starts(player.recipe, episodes, 0), processes, lambda _: None)


def test_two_processes_play_what_one_would_in_an_environment_of_the_users(player: Player) -> None:
    one, two = play_all(player, starts(player.recipe, 9, 0)), side_by_side(player, 9, 2)
    assert one.over.all()
    assert two.over.all()
    assert len(set(one.returns)) == 9
    assert np.array_equal(one.returns, two.returns)
    assert np.array_equal(one.lengths, two.lengths)
    assert one.tally.sums == two.tally.sums
    (counted,), (beside,) = one.tally.counters, two.tally.counters
    assert (counted.counts(), counted.rates()) == (beside.counts(), beside.rates())


@pytest.mark.parametrize(("mishap", "kind"), [("raise", RuntimeError), ("nan", UserError)])
def test_an_error_of_a_worker_is_said_as_if_there_were_none(
    player: Player, mishap: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISHAP", mishap)
    with pytest.raises(kind) as here:
        play_all(player, starts(player.recipe, 2, 0))
    with pytest.raises(kind) as there:
        side_by_side(player, 2, 1)
    assert console._verdict(there.value) == console._verdict(here.value)
    assert "Traceback" in there.value.__notes__[0]  # for --debug


def test_a_worker_that_ends_by_itself_is_missed(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISHAP", "exit")
    with pytest.raises(UserError, match=ENDED):
        side_by_side(player, 2, 1)


def test_what_does_not_fit_is_said_before_a_process_is_started(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    other = Player(QNetwork(mlp_spec(5, 4, 2), T=1), player.recipe, 1)
    with pytest.raises(UserError, match="right --env"):
        side_by_side(other, 2, 2)


SCRIPT = """
from snn_rl.console import run
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import describe
from snn_rl.tasks import workers
from snn_rl.tasks.catalogue import imported
from snn_rl.tasks.players import Player
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import starts
import torch as th

def main(argv):
    imported("walk:Walk-v0")
    player = Player(QNetwork(describe([("fc", th.nn.Linear(2, 2))]), T=0), Recipe("Walk-v0"), 1)
    workers._side_by_side(player, starts(player.recipe, 4, 0), 2, lambda played: print(played.lengths.sum(), flush=True))
    return 0

run(main)
"""


@posix
def test_ctrl_c_ends_all_workers_at_once(tmp_path: Path) -> None:
    (tmp_path / "walk.py").write_text(MODULE)
    (tmp_path / "script.py").write_text(SCRIPT)  # without a guard: workers do not import it
    environment = os.environ | {"MISHAP": "endless", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "script.py"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert int(process.stdout.readline()) > 0
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 130
        assert said == "snn_rl: interrupted; nothing that was there before is lost\n"
        assert not psutil.wait_procs(children, timeout=30)[1]
        assert time.monotonic() - begun < 60


def played_so_far(player: Player, lengths: list[int], over: list[bool]) -> Played:
    played = Played(player, len(lengths))
    played.lengths[:], played.over[:] = lengths, over
    return played


def test_what_is_left_is_estimated_from_what_is_known(player: Player) -> None:
    assert played_so_far(player, [10, 10], [False, False]).decisions_left(None) is None
    assert played_so_far(player, [10, 10], [False, False]).decisions_left(100) == 180
    assert played_so_far(player, [30, 10, 10], [True, False, False]).decisions_left(100) == 40
    assert played_so_far(player, [30, 50], [True, False]).decisions_left(None) == 0  # longer than expected


@pytest.mark.parametrize(
    ("lengths", "usual", "seconds"), [([100, 100], None, 9.0), ([100, 100], 100, 0.0), ([1, 1], 1001, 1000.0)]
)
def test_workers_are_worth_what_they_save_of_the_rest(
    player: Player, lengths: list[int], usual: float | None, seconds: float
) -> None:
    # two seconds for what was played so far; of Walk-v0 no limit is known, so an episode is taken to have 1,000 decisions
    assert saved(played_so_far(player, lengths, [False, False]), 2.0, 2, usual) == pytest.approx(seconds)


def test_long_play_goes_on_in_workers_and_short_play_stays(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    begins, asked = starts(player.recipe, 4, 0), []
    monkeypatch.setattr(workers, "_side_by_side", lambda *arguments: asked.append(arguments[2]))
    monkeypatch.setattr(workers, "LOOK_SECONDS", 0.0)
    play_all(player, begins, processes=2, usual=30)
    assert not asked
    monkeypatch.setattr(workers, "saved", lambda *_: 100.0)
    with Progress(None, "decisions", "test", show=False) as bar:
        play_all(player, begins, processes=8, progress=bar)
        assert bar.done == 0  # begins again
    assert asked == [4]  # no more than episodes
    play_all(player, begins, processes=1)
    assert asked == [4]


@pytest.mark.parametrize(("episodes", "side"), [(30, True), (6, True), (5, False)])
def test_games_of_atari_are_played_side_by_side_from_the_first_on(
    episodes: int, side: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("PongNoFrameskip-v4")
    player = Player(QNetwork(mlp_spec(2, 4, 2), T=1), recipe, 1)
    monkeypatch.setattr(workers, "_side_by_side", lambda *_: "side by side")
    monkeypatch.setattr(workers, "playing", lambda *_: (None for _ in ()))
    assert (play_all(player, starts(recipe, episodes, 0), processes=2) == "side by side") == side


@pytest.mark.slow
def test_pong_is_played_alike_in_one_process_and_in_two() -> None:
    agent = agents.load("PongNoFrameskip-v4/T1-frames1")
    recipe = load_recipe(agent.env, agent.frames)
    assert evaluate(agent, recipe, processes=2) == evaluate(agent, recipe)
