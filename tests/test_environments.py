"""Recipes and the environments that they build."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import ale_py
import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import AtariWrapper
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecTransposeImage

from snn_rl.core.errors import UserError
from snn_rl.tasks.catalogue import recipe_names
from snn_rl.tasks.environments import begin, load_recipe, make_env, make_vec_env
from snn_rl.tasks.recipes import ATARI_STARTS, Recipe
from snn_rl.training import td

PONG = Recipe("PongNoFrameskip-v4", frames=4)
IDS = ["PongNoFrameskip-v4", "CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v3"]


@pytest.mark.parametrize("env_id", sorted({*IDS, *recipe_names()}))
def test_every_recipe_loads_and_builds_its_environment(env_id: str) -> None:
    recipe = load_recipe(env_id)
    assert recipe.id == env_id
    assert recipe.is_default == (env_id not in recipe_names())
    assert recipe.atari == ("NoFrameskip" in env_id)
    assert recipe.prune.objective in ("distill", "td")
    assert min(recipe.prune.gradient_steps) > 0
    env = make_env(recipe)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.observation_space.contains(env.step(0)[0])
    env.close()


gym.register("SnnRlPlain-v0", "gymnasium.envs.classic_control:CartPoleEnv")


def test_an_atari_game_without_recipe_gets_four_frames_and_a_vector_gets_one() -> None:
    assert load_recipe("BreakoutNoFrameskip-v4").frames == 4
    assert load_recipe("BreakoutNoFrameskip-v4").evaluate.episodes == ATARI_STARTS
    assert load_recipe("BreakoutNoFrameskip-v4").is_default
    assert (load_recipe("SnnRlPlain-v0").frames, load_recipe("SnnRlPlain-v0").is_default) == (1, True)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("PongNoFrameSkip-v4", "PongNoFrameskip-v4"), ("Cartpole-v1", "CartPole-v1"), ("LunarLandr-v3", "LunarLander-v3")],
)
def test_an_unknown_id_suggests_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UserError, match=f"unknown environment '{wrong}'; did you mean '{near}'"):
        load_recipe(wrong)


def test_a_recipe_whose_environment_nobody_registers_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "Mine-v7.toml").write_text('id = "Mine-v7"')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError,
        match="it has a recipe, but no module that registers it was named; one of your own is given as --env MODULE:ID",
    ):
        make_env(load_recipe("Mine-v7"))


class Words(gym.Env[str, int]):
    observation_space = spaces.Text(3)
    action_space = spaces.Discrete(2)


gym.register("Words-v0", Words)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Pendulum-v1", "needs Discrete actions"),
        ("Words-v0", "observations Text.*they must be vectors, images .* of bytes from 0 to 255, whole numbers, or a Dict of"),
    ],
)
def test_an_environment_that_no_q_network_can_play_is_an_error(env_id: str, message: str) -> None:
    with pytest.raises(UserError, match=f"'{env_id}' has .*{message}"):
        make_env(Recipe(env_id))


@pytest.mark.parametrize("frames", [0, -1])
def test_frames_out_of_range_are_an_error(frames: int) -> None:
    with pytest.raises(UserError, match="--frames must be at least 1"):
        make_env(Recipe("CartPole-v1"), frames=frames)


@pytest.mark.parametrize("sticky", [-0.1, 1.0, 2.0, float("nan")])
def test_stickiness_out_of_range_is_an_error(sticky: float) -> None:
    with pytest.raises(UserError, match="--sticky must lie in"):
        make_env(Recipe("CartPole-v1"), sticky=sticky)


def test_vectors_are_stacked_with_zeros_before_the_first() -> None:
    env = make_env(Recipe("CartPole-v1"), frames=3)
    plain = gym.make("CartPole-v1")
    first, second = plain.reset(seed=1)[0], plain.step(1)[0]
    zero = np.zeros(4, np.float32)
    assert np.array_equal(env.reset(seed=1)[0], np.concatenate([zero, zero, first]))
    assert np.array_equal(env.step(1)[0], np.concatenate([zero, first, second]))
    assert env.observation_space.shape == (12,)


def test_pong_is_bit_for_bit_the_pipeline_of_stable_baselines3() -> None:
    gym.register_envs(ale_py)

    def theirs() -> gym.Env:
        return AtariWrapper(gym.make("PongNoFrameskip-v4"), terminal_on_life_loss=False, clip_reward=False)

    venv = VecFrameStack(VecTransposeImage(DummyVecEnv([theirs])), 4)
    env = make_env(PONG)
    venv.seed(3)
    expected, observation = venv.reset(), env.reset(seed=3)[0]
    assert env.observation_space == venv.observation_space
    rng = np.random.default_rng(0)
    for _ in range(300):
        assert observation.dtype == np.uint8
        assert np.array_equal(observation, expected[0])
        action = int(rng.integers(6))
        expected, rewards, dones, _ = venv.step(np.array([action]))
        observation, reward, terminated, truncated, _ = env.step(action)
        assert (reward, terminated or truncated) == (rewards[0], dones[0])


def test_the_same_start_is_the_same_episode_and_other_starts_are_others() -> None:
    env = make_env(PONG)

    def opening(seed: int, start: int) -> bytes:
        seen = [begin(env, seed, start)[0]]
        return b"".join([*(o.tobytes() for o in seen), *(env.step(0)[0].tobytes() for _ in range(25))])

    openings = {start: opening(0, start) for start in (1, 2, 3, 15, 30)}
    assert len(set(openings.values())) == 5
    assert opening(0, 15) == openings[15]
    assert opening(99, 15) == openings[15]  # without sticky actions the start is all that differs


def test_a_seed_is_the_start_where_there_are_no_no_op_steps() -> None:
    env = make_env(Recipe("CartPole-v1"))
    first = begin(env, 5, None)[0]
    env.step(0)
    assert np.array_equal(begin(env, 5, None)[0], first)
    assert not np.array_equal(begin(env, 6, None)[0], first)


def test_training_logs_the_score_of_the_game_and_learns_from_its_sign() -> None:
    # Assault pays 21 points a hit
    recipe = Recipe("AssaultNoFrameskip-v4", frames=1)
    env, played = make_env(recipe, training=True), make_env(recipe)
    observation, other = begin(env, 0, 1)[0], begin(played, 0, 1)[0]
    rng, clipped, score, over = np.random.default_rng(0), [], 0.0, False
    info: dict = {}
    while not over:
        assert np.array_equal(observation, other)
        action = int(rng.integers(7))
        observation, reward, over, _, info = env.step(action)
        other, points, _, _, _ = played.step(action)
        clipped.append(reward)
        score += float(points)
        assert reward == np.sign(points)
    assert set(clipped) == {0.0, 1.0}
    assert info["episode"]["r"] == score > sum(clipped)


def test_sticky_actions_repeat_the_previous_action() -> None:
    class Remember(gym.Wrapper):
        taken: ClassVar[list[int]] = []

        def step(self, action: int):
            self.taken.append(int(action))
            return super().step(action)

    gym.register("SnnRlSticky-v0", lambda **_: Remember(gym.make("MountainCar-v0").unwrapped))
    try:
        env = make_env(Recipe("SnnRlSticky-v0"), sticky=0.25)
        env.reset(seed=0)
        given = [n % 3 for n in range(1500)]
        for action in given:
            env.step(action)
    finally:
        gym.registry.pop("SnnRlSticky-v0")
    different = np.mean([a != b for a, b in zip(given, Remember.taken, strict=True)])
    assert 0.2 < different < 0.3


def test_several_training_environments_are_seeded_apart_and_reproducibly() -> None:
    def first(seed: int) -> np.ndarray:
        venv = make_vec_env(Recipe("CartPole-v1"), 3, seed=seed)
        observation = venv.reset()
        venv.close()
        return observation

    assert first(1).shape == (3, 4)
    assert np.array_equal(first(1), first(1))
    assert len(np.unique(first(1), axis=0)) == 3
    assert not np.array_equal(first(1), first(50))


def test_training_environments_report_their_episodes() -> None:
    env = make_env(Recipe("CartPole-v1"), training=True)
    layer, kinds = env, []
    while isinstance(layer, gym.Wrapper):
        kinds.append(type(layer))
        layer = layer.env
    assert Monitor in kinds
    assert isinstance(env.action_space, spaces.Discrete)


class Image(gym.Env[np.ndarray, int]):
    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}


class NotFilmed(Image):
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def __init__(self) -> None:
        super().__init__((84, 84, 1))


gym.register("NotFilmed-v0", NotFilmed)
gym.register("Small-v0", lambda: Image((20, 20, 1)))
gym.register("ChannelFirst-v0", lambda: Image((3, 84, 84)))


def test_an_environment_that_cannot_be_filmed_is_an_error() -> None:
    with pytest.raises(UserError, match="takes no render_mode"):
        make_env(Recipe("NotFilmed-v0"), render_mode="rgb_array")


def test_images_that_no_network_here_can_see_are_an_error() -> None:
    with pytest.raises(UserError, match=r"channels first; they must be .*: channels are brought forward here"):
        make_env(Recipe("ChannelFirst-v0"))
    assert make_env(Recipe("Small-v0"), frames=2).observation_space.shape == (2, 20, 20)
    with pytest.raises(UserError, match="20x20 pixels and NatureCNN, which is trained from nothing, needs 36x36"):
        td.build(Recipe("Small-v0"), 0, seed=0, frames=1, carry=False, device=th.device("cpu"))


def test_an_id_that_stands_for_sticky_actions_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    load_recipe("ALE/Pong-v5")
    assert "is PongNoFrameskip-v4 with sticky actions of 0.25" in capsys.readouterr().out
    load_recipe("BreakoutNoFrameskip-v4")
    assert "sticky" not in capsys.readouterr().out
