"""Atari games under all their ids: one recipe, one set of agents, and a sentence on what differs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import StickyActionEnv

from snn_rl import load_agent
from snn_rl.measure.scores import Protocol
from snn_rl.store import agents
from snn_rl.tasks.catalogue import base_id, game, register
from snn_rl.tasks.environments import begin, load_recipe, make_env
from snn_rl.tasks.recipes import ATARI_STARTS
from snn_rl.training.conversion import load_ann
from snn_rl.training.options import Options
from snn_rl.training.run import plan_for

PONG = "PongNoFrameskip-v4"


@pytest.mark.parametrize(
    ("env_id", "sticky", "said"),
    [
        ("ALE/Pong-v5", 0.25, f"{PONG} with sticky actions of 0.25 (in training and in play): recipes and agents"),
        ("PongNoFrameskip-v0", 0.25, f"{PONG} with sticky actions of 0.25"),
        ("Pong-v0", 0.25, "sticky actions of 0.25 (in training and in play) and 2 to 4 frames a step, drawn at random"),
        ("Pong-v4", 0.0, f"{PONG} with 2 to 4 frames a step, drawn at random (here always 4): recipes and agents"),
        ("PongDeterministic-v4", 0.0, f"is the same as {PONG}: recipes and agents of the one are for both"),
        ("PongDeterministic-v0", 0.25, f"{PONG} with sticky actions of 0.25"),
    ],
)
def test_every_id_of_a_game_has_its_recipe_and_says_what_differs(
    env_id: str, sticky: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, usual = load_recipe(env_id, 1), load_recipe(PONG, 1)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 1
    assert told[0].startswith(f"{env_id} is ")
    assert said in told[0]
    assert recipe == dataclasses.replace(usual, id=env_id, sticky=sticky)
    assert recipe.atari


def test_an_id_of_no_other_game_is_itself() -> None:
    own = (PONG, "PongFlickerNoFrameskip-v4", "CartPole-v1", "CartPole-v0", "Nonsense-v4", "ALE/Nonsense-v5")
    assert [base_id(env_id) for env_id in own] == list(own)
    assert base_id("ALE/SpaceInvaders-v5") == "SpaceInvadersNoFrameskip-v4"


def test_an_id_with_other_actions_is_another_game() -> None:
    register()
    usual = gym.registry["ALE/Pong-v5"]
    gym.registry["Pong-v5"] = dataclasses.replace(usual, kwargs={**usual.kwargs, "full_action_space": True})
    try:
        gym.registry["ALE/Pong-v5"] = dataclasses.replace(usual, kwargs={**usual.kwargs, "full_action_space": True})
        assert game("ALE/Pong-v5") is None
    finally:
        gym.registry["ALE/Pong-v5"] = usual
        gym.registry.pop("Pong-v5")


def stickiness(env: gym.Env[np.ndarray, int]) -> float:
    layer: gym.Env = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, StickyActionEnv):
            return layer.action_repeat_probability
        layer = layer.env
    return 0.0


def test_actions_stick_where_the_id_says_so_and_else_all_is_the_same() -> None:
    assert stickiness(make_env(load_recipe("ALE/Pong-v5", 1))) == 0.25
    assert stickiness(make_env(load_recipe("ALE/Pong-v5", 1), training=True)) == 0.25
    assert stickiness(make_env(load_recipe("ALE/Pong-v5", 1), sticky=0.0)) == 0.0
    assert stickiness(make_env(load_recipe(PONG, 1))) == 0.0
    one, other = make_env(load_recipe(PONG)), make_env(load_recipe("PongDeterministic-v4"))
    assert np.array_equal(begin(one, 0, 3)[0], begin(other, 0, 3)[0])
    for action in (2, 2, 3, 0, 3):
        assert np.array_equal(one.step(action)[0], other.step(action)[0])
    assert isinstance(one.action_space, spaces.Discrete)
    assert one.action_space == other.action_space


def test_sticky_games_are_played_a_hundred_times_and_called_greedy() -> None:
    sticky, usual = load_recipe("ALE/Pong-v5", 1), load_recipe(PONG, 1)
    assert (len(Protocol().starts(sticky)), len(Protocol().starts(usual))) == (100, ATARI_STARTS)
    for protocol, recipe, name in (
        (Protocol(), sticky, "greedy"),
        (Protocol(sticky=0.25), sticky, "greedy"),
        (Protocol(sticky=0.0), sticky, "sticky 0"),
        (Protocol(sticky=0.0), usual, "greedy"),
        (Protocol(sticky=0.25), usual, "sticky 0.25"),
    ):
        assert protocol.in_(recipe).name == name


def test_the_shipped_ann_is_found_under_every_id(tmp_path: Path) -> None:
    plan = plan_for(Options("ALE/Pong-v5"))
    assert plan.ann is not None
    assert (plan.ann.where, plan.ann.env) == (f"{PONG}/ann", "ALE/Pong-v5")
    assert [agent.name for agent in plan.agents] == ["ann", "converted-T1-frames1", "T1-frames1"]
    assert not plan.view.hidden
    assert plan.out == Path("runs/ALE-Pong-v5-T1-seed0")
    assert load_ann(f"{PONG}/ann", load_recipe("PongDeterministic-v4")).env == "PongDeterministic-v4"


def test_a_shipped_agent_is_named_by_every_id_of_its_game() -> None:
    shipped = load_agent(f"{PONG}/T1-frames1")
    for agent in (load_agent("ALE/Pong-v5/T1-frames1"), load_agent(f"{PONG}/T1-frames1", "ALE/Pong-v5")):
        assert agent.label == "ALE/Pong-v5/T1-frames1"
        assert agents.fingerprint(agent.network) == agents.fingerprint(shipped.network)
        assert (agent.scores, agent.path) == ({}, None)


def test_a_recipe_of_ones_own_for_an_id_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/ALE-Pong-v5.toml").write_text(f'id = "ALE/Pong-v5"\nbase = "{PONG}"\nsticky = 0.1\n')
    assert load_recipe("ALE/Pong-v5").sticky == 0.1
    (tmp_path / "envs/BreakoutNoFrameskip-v4.toml").write_text('id = "BreakoutNoFrameskip-v4"\nframes = 2\n')
    assert load_recipe("ALE/Breakout-v5").frames == 2
