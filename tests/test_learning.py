"""Slow: things are really learnt (minutes; `make test-slow`)."""

from pathlib import Path

import gymnasium as gym
import pytest
import torch as th
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.monitor import Monitor
from test_lstm import difference

from snn_rl import SpikingDQN
from snn_rl.measure.scores import Protocol, evaluate
from snn_rl.sb3.zips import load_agent
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.recipes import Recipe
from snn_rl.training.conversion import convert
from snn_rl.training.stages import pruning_job, run_stage


@pytest.mark.slow
def test_distillation_straight_at_t1_reaches_its_ann_on_cartpole(tmp_path: Path) -> None:
    recipe = load_recipe("CartPole-v1")
    ann = agents.load("CartPole-v1/ann")
    agent = convert(ann, recipe, 1)
    agent = run_stage(pruning_job(agent, ann, recipe, 1, tmp_path / "T1", "distill", seed=5), th.device("cpu"))
    assert evaluate(agent, recipe).score.returns.mean >= 475


@pytest.mark.slow
def test_a_student_remembers_as_its_teacher_does(tmp_path: Path) -> None:
    """A teacher by hand sees no velocities and always balances the pole; with its state zeroed it falls after 28 steps."""
    recipe = Recipe("CartPoleNoVel-v1").for_memory()
    ann = load_agent(difference(), recipe.id)
    agent = run_stage(
        pruning_job(convert(ann, recipe, 1), ann, recipe, 1, tmp_path / "T1", "distill", seed=0), th.device("cpu")
    )
    assert evaluate(agent, recipe).score.returns.mean >= 450
    assert evaluate(agent, recipe, Protocol(zeroed=True)).score.returns.mean < 60


@pytest.mark.slow
def test_spiking_dqn_learns_cartpole_from_reward_alone() -> None:
    model = SpikingDQN(
        "MlpPolicy",
        "CartPole-v1",
        T=1,
        n_steps=3,
        learning_rate=1e-3,
        learning_starts=1_000,
        target_update_interval=200,
        exploration_fraction=0.2,
        policy_kwargs={"net_arch": [128, 128]},
        seed=0,
    )
    callback = EvalCallback(Monitor(gym.make("CartPole-v1")), eval_freq=5_000, n_eval_episodes=20, verbose=0)
    model.learn(30_000, callback=callback)
    assert callback.best_mean_reward >= 195  # what CartPole-v0 called solved; a random policy gets about 20
