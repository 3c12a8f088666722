"""Environments, as their recipes describe them.

Observations leave here channel first with their frames already stacked: an image of K frames is ``(K * channels, height,
width)`` uint8, a vector of K frames is ``(K * length,)``, what comes in parts is one vector, see :mod:`~snn_rl.tasks.parts`.
Before an episode's first frame the stack holds zeros, as in Stable-Baselines3's ``VecFrameStack``.
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
from snn_rl.tasks.parts import Joined, Parts, in_parts, sees_image
from snn_rl.tasks.recipe_files import read_recipe, recipe_files
from snn_rl.tasks.recipes import IMAGE_DEFAULTS, Recipe
from snn_rl.tasks.resuming import Resumable, lost, repeats


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
            raise UserError(
                f"{path}: id is '{recipe.id}', but a file of that name is for '{env_id}'; rename it, or mend its id"
            )
        if path.parent != data_folder("envs").resolve():
            _say(f"recipe: {path}")
        module = module_of(env_id) or module
        return dataclasses.replace(recipe, id=env_id, module=module, sticky=recipe.sticky or sticky)
    images = sees_image(make_env(Recipe(env_id)).observation_space)
    default = Recipe(env_id, is_default=True, module=module_of(env_id) or module, sticky=sticky)
    recipe = dataclasses.replace(default, **IMAGE_DEFAULTS) if images else default
    kind = f"images; from nothing, agents see {recipe.frames} frames" if images else "vectors"
    _say(f"{env_id} has no recipe: using defaults for {kind}")
    return recipe


@cache
def _say(text: str) -> None:
    """Prints a line once: a command may ask for its recipe several times."""
    print(text)


class JoinedObservation(gym.ObservationWrapper[np.ndarray, int, Any]):
    """Observations in parts (a Dict, a Tuple, numbers) as one vector, see :class:`~snn_rl.tasks.parts.Joined`."""

    def __init__(self, env: gym.Env[Any, int]) -> None:
        super().__init__(env)
        self.observation_space = Joined.of(env.observation_space)

    def observation(self, observation: Any) -> np.ndarray:
        return cast(Joined, self.observation_space).parts.join(observation)


class _OneFrame(gym.ObservationWrapper[np.ndarray, int, np.ndarray]):
    """A stack ``(1, ...)`` of the newest frame: what ``FrameStackObservation`` gives for one, without its queue, which took
    a sixth (LunarLander) to a third (CartPole) of a step."""

    def __init__(self, env: gym.Env[np.ndarray, int]) -> None:
        super().__init__(env)
        box = cast(spaces.Box, env.observation_space)
        self.observation_space = spaces.Box(box.low[None], box.high[None], dtype=cast(Any, box.dtype))

    def observation(self, observation: np.ndarray) -> np.ndarray:
        copy = np.array(observation, dtype=self.observation_space.dtype)  # an environment may write into its own
        return copy[None]


class _ChannelFirst(gym.ObservationWrapper[np.ndarray, int, np.ndarray]):
    """Stacked frames ``(K, height, width, channels)`` or ``(K, length)`` to one channel-first image or one vector.

    Args:
        env: that shows them.
        parts: of each frame, where it was joined.
    """

    def __init__(self, env: gym.Env[np.ndarray, int], parts: Parts | None) -> None:
        super().__init__(env)
        self.parts, box = parts, cast(spaces.Box, env.observation_space)
        low, high = self.observation(box.low), self.observation(box.high)
        if parts is None:
            self.observation_space = spaces.Box(low, high, dtype=cast(Any, box.dtype))
        else:
            self.observation_space = Joined(parts.stacked(len(box.low)), low, high)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        if self.parts is not None:
            return self.parts.in_stack(observation)
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
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, frames)
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
    if render_mode and render_mode not in (env.metadata.get("render_modes") or ()):
        raise UserError(
            f"'{recipe.id}' cannot be filmed: its metadata have no '{render_mode}' among their render_modes; add it, or leave "
            "--video out"
        )
    if not isinstance(env.action_space, spaces.Discrete) or env.action_space.start != 0:
        raise UserError(f"'{recipe.id}' has actions {env.action_space}; a Q-network needs Discrete actions from 0")
    if training:
        env = Monitor(env)
    if recipe.atari:
        env = AtariWrapper(env, terminal_on_life_loss=False, clip_reward=training, action_repeat_probability=sticky)
    elif sticky:
        env = gym.wrappers.StickyAction(env, sticky)
    env = _visible(env, recipe.id)
    parts, stacked = getattr(env.observation_space, "parts", None), max(frames, teacher_frames)
    if parts is not None and (stacked > frames or recipe.flicker):
        raise UserError(
            f"'{recipe.id}' shows its observations in parts: its agents see as many frames as their ANN; leave --frames out"
        )
    frame = _OneFrame(env) if stacked == 1 else gym.wrappers.FrameStackObservation(env, stacked, padding_type="zero")
    env = _ChannelFirst(frame, parts)
    return PartialFrames(env, frames, stacked, recipe.flicker) if stacked > frames or recipe.flicker else env


def _visible(env: gym.Env[Any, Any], env_id: str) -> gym.Env[Any, Any]:
    """The environment with observations in parts joined.

    Raises:
        UserError: for observations that are neither vectors nor images, nor made of them.
    """
    if in_parts(env.observation_space):
        return JoinedObservation(env)
    box = env.observation_space
    image = isinstance(box, spaces.Box) and len(box.shape) == 3 and box.dtype == np.uint8
    if not image and not (isinstance(box, spaces.Box) and len(box.shape) == 1):
        raise UserError(
            f"'{env_id}' has observations {box}; they must be vectors, images (height, width, channels) of bytes "
            "from 0 to 255, whole numbers, or a Dict of these"
        )
    if image and box.shape and box.shape[0] < min(box.shape[1:]):
        raise UserError(
            f"'{env_id}' has images {box.shape} with their channels first; they must be (height, width, channels), so "
            "leave out its transposing wrapper: channels are brought forward here"
        )
    return env


def make_vec_env(
    recipe: Recipe,
    n_envs: int,
    *,
    seed: int,
    frames: int | None = None,
    teacher_frames: int = 0,
    resumable: bool = False,
) -> VecEnv:
    """``n_envs`` training environments, see :func:`make_env`; those of a training that may be interrupted are ``resumable``,
    see :class:`~snn_rl.tasks.resuming.Resumable`."""

    def make() -> gym.Env[np.ndarray, int]:
        env = make_env(recipe, frames=frames, teacher_frames=teacher_frames, training=True)
        return Resumable(env) if resumable else env

    venv = DummyVecEnv([make] * n_envs)
    venv.seed(seed)
    return venv


def look(recipe: Recipe, frames: int) -> tuple[int, ...]:
    """The shape of an observation of a training; says it if the environment cannot be brought back to where it stood."""
    one, other = (Resumable(make_env(recipe, frames=frames, training=True)) for _ in range(2))
    try:
        if not repeats(one, other):
            _say(lost(f"'{recipe.id}'"))
    except UserError:
        pass  # what it raises is said where something is learnt from it
    shape = one.observation_space.shape or ()
    for env in (one, other):
        env.close()
    return shape


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
