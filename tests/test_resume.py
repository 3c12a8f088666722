"""A training that was interrupted ends as if it had not been."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import Count, Recall, dqn, mlp_spec
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecMonitor, VecNormalize
from test_state import everything

from snn_rl import Checkpoints, Resumable, SpikingDQN
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store.agents import Agent
from snn_rl.tasks import resuming
from snn_rl.tasks.environments import load_recipe, look, make_env, make_vec_env
from snn_rl.tasks.recipes import Recipe
from snn_rl.training import stages
from snn_rl.training.checkpoints import Checkpoint
from snn_rl.training.conversion import convert
from snn_rl.training.jobs import Job
from snn_rl.training.stages import pruning_job
from snn_rl.training.watch import Watch

CPU = th.device("cpu")
TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the checkpoints of trainings would have held when these ended, one after the other."""
    found: list[dict[str, Any]] = []
    remove = Checkpoint.remove

    def noting(self: Checkpoint) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items() if name not in ("random", "progress")}
        assert self.ring is not None
        ends = self.ring.ends()
        state["slots"] = self.ring.slots([max(end - self.ring.capacity(), 0) for end in ends], ends)
        state["learner"].pop("finished", None)  # with the times that episodes took
        state["learner"].get("counters", {}).pop("num_timesteps_at_start", None)  # of a process, for the speed that is shown
        found.append(state)
        remove(self)

    monkeypatch.setattr(Checkpoint, "remove", noting)
    return found


def same(a: Any, b: Any) -> bool:
    if isinstance(a, th.Tensor):
        return th.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def job_of(objective: str, recipe: Recipe, ann: Agent, folder: Path) -> Job:
    full = dataclasses.replace(recipe.train, n_envs=2, train_freq=4, buffer_size=240, target_update_interval=30)
    recipe = dataclasses.replace(
        recipe,
        train=full,
        prune=dataclasses.replace(recipe.prune, gradient_steps=(60,), buffer_size=320),
        td=dataclasses.replace(recipe.td, timesteps=600, evaluations=3),
    )
    if objective == "ann":
        return Job(recipe, "ann", 0, stages.View(1), 0, folder)
    if objective == "distill from an LSTM":
        gates, readout = mlp_spec(4, 24, 2)[::2]
        th.manual_seed(0)  # the same in every process
        remembering = QNetwork([gates, {"type": "LSTM", "recurrent": 6}, {**readout, "in_features": 6}], T=0)
        objective, ann = "distill", Agent(recipe.id, "ann", remembering, (4,))
    start = convert(ann, recipe, 2)
    return pruning_job(start, ann, recipe, 2, folder, objective, seed=3)


@pytest.mark.parametrize("objective", ["ann", "td", "distill", "distill from an LSTM"])
def test_what_was_interrupted_ends_as_what_was_not(
    objective: str,
    recipe: Recipe,
    ann: Agent,
    tmp_path: Path,
    ended: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    straight = stages.run_stage(job_of(objective, recipe, ann, tmp_path / "straight"), CPU, show=False)
    pause, calls, said = Watch.pause, 0, list[str]()

    def interrupted(self: Watch) -> None:
        nonlocal calls
        calls += 1
        if calls % 40 == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        pause(self)

    monkeypatch.setattr(Watch, "pause", interrupted)
    for times in range(50):
        np.random.seed(times)  # noqa: NPY002 (another process knows nothing of this one)
        try:
            again = stages.run_stage(job_of(objective, recipe, ann, tmp_path / "again"), CPU, show=False)
            break
        except KeyboardInterrupt as interrupt:
            said.append(str(interrupt))
    assert all("--resume goes on from" in one for one in said)
    assert times >= 2
    assert again.made.selection == straight.made.selection
    assert again.made.curve == straight.made.curve
    assert same(*ended)


class Breaks(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that breaks at a step, once."""

    how: Callable[[], Any] | None = None
    left = 0

    def step(self, action: Any) -> Any:
        cls = type(self)
        cls.left -= 1
        if cls.left == 0 and cls.how is not None:
            reward = cls.how()
            return (*self.env.step(action)[:1], reward, False, False, {})
        return self.env.step(action)


def raises() -> float:
    raise ZeroDivisionError("by hand")


@pytest.mark.parametrize("objective", ["ann", "td", "distill"])
@pytest.mark.parametrize(
    ("how", "said"),
    [(raises, r"the environment 'CartPole-v1' raised ZeroDivisionError: by hand \(.*test_resume.py, line"),
     (lambda: float("nan"), "the environment 'CartPole-v1' gave the reward nan")],
)  # fmt: skip
def test_what_broke_goes_on_from_the_last_sound_state(
    objective: str, how: Callable[[], Any], said: str, recipe: Recipe, ann: Agent, tmp_path: Path,
    ended: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    job = job_of(objective, recipe, ann, tmp_path / "straight")
    straight = stages.run_stage(job, CPU, show=False)
    make = gym.make
    monkeypatch.setattr("snn_rl.tasks.environments.gym.make", lambda *args, **kwargs: Breaks(make(*args, **kwargs)))
    job = dataclasses.replace(job, folder=tmp_path / "again")
    mark = resuming.marks

    def breaking(venv: VecEnv) -> Any:  # once something has been learnt, in the middle of a rollout
        if venv.envs[0].get_wrapper_attr("_seeds") is not None and Breaks.how is None and len(marked) == 50:
            Breaks.how, Breaks.left = how, 5
        marked.append(1)
        return mark(venv)

    marked: list[int] = []
    monkeypatch.setattr(resuming, "marks", breaking)
    monkeypatch.setattr(Breaks, "how", None)
    with pytest.raises(UserError, match=said):
        stages.run_stage(job, CPU, show=False)
    assert "a checkpoint was written" in capsys.readouterr().out
    again = stages.run_stage(job, CPU, show=False)
    assert again.made.selection == straight.made.selection
    assert same(*ended)


def test_what_an_environment_raises_in_an_evaluation_is_blamed_on_it(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluations = 0

    def broken(*_: Any, **__: Any) -> float:
        nonlocal evaluations
        evaluations += 1
        return raises() if evaluations == 2 else 1.0

    monkeypatch.setattr(stages, "selector", lambda *_: broken)
    job = Job(recipe, "ann", 0, stages.View(1), 0, tmp_path / "ann")
    with pytest.raises(UserError, match=r"the environment 'CartPole-v1' raised ZeroDivisionError: by hand \(.*test_resume.py"):
        stages.run_stage(job, CPU, show=False)
    assert "a checkpoint was written, after 300 of 300 environment steps; --resume goes on from" in capsys.readouterr().out
    made = stages.run_stage(job, CPU, show=False).made
    assert made.selection == [(150, 1.0), (300, 1.0)]


def walked(env: gym.Env[Any, int], steps: int) -> list[Any]:
    """What comes of a few actions."""
    rng, seen = np.random.default_rng(1), []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(int(rng.integers(env.action_space.n)))
        seen += [observation.tolist(), float(reward)]
        if terminated or truncated:
            seen.append(env.reset()[0].tolist())
    return seen


@pytest.mark.parametrize(
    ("env_id", "steps", "sticky"),
    [("CartPole-v1", 50, 0.25), ("CartPoleFlicker-v1", 50, 0.0), ("Acrobot-v1", 30, 0.0), ("LunarLander-v3", 120, 0.0),
     ("FrozenLake-v1", 20, 0.0), ("PongFlickerNoFrameskip-v4", 30, 0.25), ("FreewayNoFrameskip-v4", 10, 0.0)],
)  # fmt: skip
def test_an_environment_comes_back_to_where_it_stood(env_id: str, steps: int, sticky: float) -> None:
    recipe = dataclasses.replace(load_recipe(env_id), sticky=sticky)
    one, other = (make_vec_env(recipe, 1, seed=n, frames=2, resumable=True) for n in (7, 8))
    one.reset()
    walked(one.envs[0], steps)
    assert resuming.restore(other, [resuming.stand(mark) for mark in resuming.marks(one)])
    assert walked(other.envs[0], steps) == walked(one.envs[0], steps)
    for venv in (one, other):
        venv.close()


def test_every_episode_of_a_training_is_another() -> None:
    env = Resumable(make_env("CartPole-v1"))
    first, second = env.reset(seed=3)[0], env.reset()[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(env.reset(seed=3)[0], first)
    assert np.array_equal(env.reset()[0], second)
    assert np.array_equal(make_env("CartPole-v1").reset(seed=3)[0], first)


class Forgetful(Count):
    """Its rewards depend on more than its seed."""

    drawn = np.random.default_rng(0)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(self.drawn.random()), terminated, truncated, info


def test_an_environment_that_does_not_repeat_itself_is_named_and_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    gym.register("SnnRlForgetful-v0", lambda **_: Forgetful(50))
    try:
        assert look(Recipe("SnnRlForgetful-v0"), 1) == (2,)
        assert "'SnnRlForgetful-v0' does not repeat itself by its seed and actions" in capsys.readouterr().out
        assert look(Recipe("CartPole-v1"), 1) == (4,)
        assert not capsys.readouterr().out
    finally:
        gym.registry.pop("SnnRlForgetful-v0")


def cues(seed: int, wrapped: str) -> VecEnv:
    venv: VecEnv = DummyVecEnv([lambda: Resumable(Monitor(Recall(1)))] * 2)
    venv.seed(seed)
    if "monitored" in wrapped:
        venv = VecMonitor(venv)
    if "stacked" in wrapped:
        venv = VecFrameStack(venv, 2)
    return VecNormalize(venv) if "normalized" in wrapped else venv


@pytest.mark.filterwarnings("ignore:The environment is already wrapped with a `Monitor`")
@pytest.mark.parametrize("wrapped", ["", "normalized", "stacked and monitored"])
def test_a_model_in_python_goes_on_from_its_checkpoint(wrapped: str, tmp_path: Path) -> None:
    settings = {"buffer_size": 100, "train_freq": 3, "exploration_fraction": 0.9, "target_update_interval": 24}
    straight = dqn(cues(0, wrapped), **settings)
    straight.learn(240)
    again = dqn(cues(0, wrapped), **settings)
    assert not again.load_checkpoint(tmp_path / "c")
    again._total_timesteps = 0
    for until in (60, 150, 240):
        model: SpikingDQN = dqn(cues(5, wrapped), **{**settings, "seed": 5}) if until > 60 else again
        assert model.load_checkpoint(tmp_path / "c") == (until > 60)
        stop = StopAt(until if until < 240 else 1_000)
        model.learn(240 - model.num_timesteps, reset_num_timesteps=False, callback=[Checkpoints(tmp_path / "c", 0.0), stop])
    ours, theirs = everything(model), everything(straight)
    assert all(th.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    model.save(tmp_path / "model.zip")
    with pytest.raises(UserError, match="is of another model"):
        dqn(cues(0, wrapped), **settings, policy_kwargs={"net_arch": [7]}).load_checkpoint(tmp_path / "c")


class StopAt(Checkpoints):
    """Ends learning between two rollouts, as a kill does: what came after the last checkpoint is lost."""

    def __init__(self, steps: int) -> None:
        super().__init__("nowhere")
        self.steps = steps

    def _on_rollout_start(self) -> None:
        pass

    def _on_step(self) -> bool:
        return self.num_timesteps < self.steps

    def _on_training_end(self) -> None:
        pass


HANGS = """
import os, signal, sys, threading, time
from pathlib import Path
from snn_rl.training.interrupts import Interrupts
def twice():
    for _ in range(2):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=twice, daemon=True).start()
with Interrupts(lambda: "nothing was written", print):
    while True:
        try:
            {}
        except BaseException:
            pass
"""


@pytest.mark.parametrize("hangs", ["time.sleep(100)", "threading.Event().wait()"])
def test_a_second_interrupt_ends_what_catches_everything(hangs: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS.format(hangs)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 130
    assert "stopping: a checkpoint is written at the next update" in done.stdout
    assert done.stderr == "snn_rl: interrupted twice, and the environment does not answer; nothing was written\n"


def test_runs_that_are_killed_end_as_those_that_are_not() -> None:
    done = subprocess.run(
        [sys.executable, TOOLS / "kills.py", "--runs", "2", "--only", "distill", "td", "--seed", "1"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(TOOLS.parent)}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed 2 of 2, identical 2" in done.stdout
    assert "resume: 0 of 2 runs" in done.stdout
