"""Environments, as their recipes describe them.

Observations leave here channel first with their frames already stacked: an image of K frames is ``(K * channels, height,
width)`` uint8, a vector of K frames is ``(K * length,)``, a number is a one-hot vector; before an episode's first frame the
stack holds zeros, as in Stable-Baselines3's ``VecFrameStack``.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import AtariWrapper, NoopResetEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from snn_rl.core.errors import UserError
from snn_rl.store.files import data_folder
from snn_rl.tasks.catalogue import base_id, game, imported, module_of, register, spec
from snn_rl.tasks.partial import PartialFrames
from snn_rl.tasks.recipe_files import read_recipe, recipe_files
from snn_rl.tasks.recipes import IMAGE_DEFAULTS, Recipe

NUMBERS = (spaces.Discrete, spaces.MultiDiscrete)  # spaces that networks see one-hot
JOINED = (
    "gymnasium.wrappers.FlattenObservation(env) makes one vector of its parts, and gymnasium.wrappers."
    "TransformObservation(env, lambda seen: seen['image'], env.observation_space['image']) takes an image out of them"
)


def load_recipe(env_id: str, frames: int | None = None, module: str = "") -> Recipe:
    """The recipe of an environment, or the defaults where it has none (``is_default`` says so).

    It is ``envs/<id>.toml`` after those that it is based on, see :func:`~snn_rl.tasks.recipe_files.recipe_files`.
    ``envs/<id>.frames<k>.toml`` beside each of them, where there is one, says what is different for agents that see
    ``frames`` = k frames. An Atari game has one recipe under all its ids, see :func:`~snn_rl.tasks.catalogue.game`; it says
    how they differ. ``module`` is the one that registers the environment, where a card names it.

    Raises:
        UserError: if Gymnasium does not know the id (the nearest is suggested), or a recipe holds an unknown key or the id
            of another environment.
    """
    env_id = imported(env_id)
    spec(env_id, module)
    found = game(env_id)
    sticky = 0.0 if found is None else found.sticky
    if found is not None and found.base != env_id:
        _say(found.told(env_id))
    if files := recipe_files(env_id) or recipe_files(base_id(env_id)):
        path = files[-1]
        fewer = [file.with_name(f"{file.stem}.frames{frames}.toml") for file in files]
        recipe = read_recipe(*[file for pair in zip(files, fewer, strict=True) for file in pair if file.is_file()])
        if recipe.id not in (env_id, base_id(env_id)):
            raise UserError(f"{path}: id is '{recipe.id}', but a file of that name is for '{env_id}'")
        if path.parent != data_folder("envs").resolve():
            _say(f"recipe: {path}")
        module = module_of(env_id) or module
        return dataclasses.replace(recipe, id=env_id, module=module, sticky=recipe.sticky or sticky)
    images = len(cast(tuple[int, ...], make_env(Recipe(env_id)).observation_space.shape)) == 3
    default = Recipe(env_id, is_default=True, module=module_of(env_id) or module, sticky=sticky)
    recipe = dataclasses.replace(default, **IMAGE_DEFAULTS) if images else default
    kind = f"images; from nothing, agents see {recipe.frames} frames" if images else "vectors"
    _say(f"{env_id} has no recipe: using defaults for {kind}")
    return recipe


@cache
def _say(text: str) -> None:
    """Prints a line once: a command may ask for its recipe several times."""
    print(text)


def one_hot(space: spaces.Space[Any], observation: Any) -> np.ndarray:
    """A number as a one-hot vector, several as theirs in a row, as Stable-Baselines3 shows them to a network; float32."""
    return np.asarray(spaces.flatten(space, observation), np.float32)


class _OneHot(gym.ObservationWrapper[np.ndarray, int, Any]):
    """Observations of ``NUMBERS``, see :func:`one_hot`."""

    def __init__(self, env: gym.Env[Any, int]) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0, 1, (spaces.flatdim(env.observation_space),), np.float32)

    def observation(self, observation: Any) -> np.ndarray:
        return one_hot(self.env.observation_space, observation)


class _ChannelFirst(gym.ObservationWrapper[np.ndarray, int, np.ndarray]):
    """Stacked frames ``(K, height, width, channels)`` or ``(K, length)`` to one channel-first image or one vector."""

    def __init__(self, env: gym.Env[np.ndarray, int]) -> None:
        super().__init__(env)
        box = cast(spaces.Box, env.observation_space)
        self.observation_space = spaces.Box(self.observation(box.low), self.observation(box.high), dtype=cast(Any, box.dtype))

    def observation(self, observation: np.ndarray) -> np.ndarray:
        if observation.ndim == 2:
            return observation.reshape(-1)
        frames = np.moveaxis(observation, -1, 1)
        return np.ascontiguousarray(frames.reshape(-1, *frames.shape[2:]))


def make_env(
    recipe: Recipe | str,
    *,
    frames: int | None = None,
    teacher_frames: int = 0,
    sticky: float | None = None,
    training: bool = False,
    render_mode: str | None = None,
) -> gym.Env[np.ndarray, int]:
    """One environment, ready for a Q-network: discrete actions, channel-first stacked observations, whole games.

    Args:
        recipe: the environment's recipe, or its id.
        frames: frames per observation; the recipe's number if None.
        teacher_frames: frames that a teacher sees; where they are more, ``info["full_observation"]`` holds them.
        sticky: probability that the previous action is repeated (Machado et al. 2018), per emulator frame on Atari; the
            recipe's if None.
        training: clip Atari rewards to their sign and log episodes with SB3's Monitor, which sits below the clipping so
            that the logged return is the game's score.
        render_mode: Gymnasium's.

    Raises:
        UserError: for continuous actions, for observations that are neither vectors nor images, for missing dependencies.
    """
    recipe = load_recipe(recipe, frames) if isinstance(recipe, str) else recipe
    frames = recipe.frames if frames is None else frames
    sticky = recipe.sticky if sticky is None else sticky
    if frames < 1:
        raise UserError(f"--frames must be at least 1, got {frames}")
    if not 0 <= sticky < 1:
        raise UserError(f"--sticky must lie in [0, 1), got {sticky}")
    kwargs: dict[str, Any] = {"render_mode": render_mode} if render_mode else {}  # not every constructor has it
    if recipe.atari:  # one emulator frame per step and no stickiness of its own: the wrapper below adds both
        kwargs |= {"frameskip": 1, "repeat_action_probability": 0.0}
    register()
    try:
        env: gym.Env[Any, Any] = gym.make(base_id(recipe.id), **kwargs)
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        hint = "; python -m pip install 'snn-rl[box2d]'" if "box2d" in str(error).lower() else ""
        raise UserError(f"'{recipe.id}' needs a package that is not installed: {error}{hint}") from error
    except TypeError as error:
        if render_mode and "render_mode" in str(error):
            raise UserError(f"'{recipe.id}' cannot be filmed: its constructor takes no render_mode") from error
        raise
    if not isinstance(env.action_space, spaces.Discrete) or env.action_space.start != 0:
        raise UserError(f"'{recipe.id}' has actions {env.action_space}; a Q-network needs Discrete actions from 0")
    if training:
        env = Monitor(env)
    if recipe.atari:
        env = AtariWrapper(env, terminal_on_life_loss=False, clip_reward=training, action_repeat_probability=sticky)
    elif sticky:
        env = gym.wrappers.StickyAction(env, sticky)
    env = _visible(env, recipe.id)
    stacked = max(frames, teacher_frames)
    env = _ChannelFirst(gym.wrappers.FrameStackObservation(env, stacked, padding_type="zero"))
    return PartialFrames(env, frames, stacked, recipe.flicker) if stacked > frames or recipe.flicker else env


def _visible(env: gym.Env[Any, Any], env_id: str) -> gym.Env[Any, Any]:
    """The environment with numbers one-hot.

    Raises:
        UserError: for observations that are neither vectors nor images.
    """
    if isinstance(env.observation_space, NUMBERS):
        env = _OneHot(env)
    box = env.observation_space
    image = isinstance(box, spaces.Box) and len(box.shape) == 3 and box.dtype == np.uint8
    hint = f"; in an id of your own, {JOINED}" if isinstance(box, spaces.Dict | spaces.Tuple) else ""
    if not image and not (isinstance(box, spaces.Box) and len(box.shape) == 1):
        raise UserError(
            f"'{env_id}' has observations {box}; they must be a vector or an image (height, width, channels)" + hint
        )
    if image and box.shape and box.shape[0] < min(box.shape[1:]):
        raise UserError(
            f"'{env_id}' has images {box.shape} with their channels first; they must be (height, width, channels), so "
            "leave out its transposing wrapper: channels are brought forward here"
        )
    return env


def make_vec_env(recipe: Recipe, n_envs: int, *, seed: int, frames: int | None = None, teacher_frames: int = 0) -> VecEnv:
    """``n_envs`` training environments, see :func:`make_env`."""
    venv = DummyVecEnv([lambda: make_env(recipe, frames=frames, teacher_frames=teacher_frames, training=True)] * n_envs)
    venv.seed(seed)
    return venv


def begin(env: gym.Env[np.ndarray, int], seed: int, start: int | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Resets an environment to one reproducible start: ``start`` no-op steps on Atari (1 to 30), else the seed decides.

    Returns the first observation and its info.
    """
    layer: gym.Env[Any, Any] = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, NoopResetEnv):
            cast(Any, layer).override_num_noops = start
        layer = layer.env
    return env.reset(seed=seed)
