"""Environments and their recipes: reads ``envs/*.toml`` into frozen dataclasses and builds the environments they describe.

Observations leave here channel first with their frames already stacked: an image of K frames is ``(K * channels, height,
width)`` uint8, a vector of K frames is ``(K * length,)``; before an episode's first frame the stack holds zeros, as in
Stable-Baselines3's ``VecFrameStack``.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import ale_py
import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import AtariWrapper, NoopResetEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from snn_rl.errors import UserError
from snn_rl.partial import LastFrames

gym.register_envs(ale_py)  # so that nobody has to know that Atari ids appear only after this import

ATARI_STARTS = 30  # no-op steps 1..30 at an episode's start (Mnih et al. 2015)


@dataclass(frozen=True)
class TrainRecipe:
    """How the ANN is trained. The words are Stable-Baselines3's."""

    total_timesteps: int = 100_000
    n_envs: int = 1
    net_arch: tuple[int, ...] = (256, 256)
    learning_rate: float = 1e-3
    buffer_size: int = 50_000
    learning_starts: int = 1_000
    batch_size: int = 64
    gamma: float = 0.99
    n_steps: int = 3
    train_freq: int = 4
    gradient_steps: int = 1
    target_update_interval: int = 500
    exploration_fraction: float = 0.2
    exploration_final_eps: float = 0.05
    max_grad_norm: float = 10.0
    eval_freq: int = 10_000
    eval_episodes: int = 20
    stop_at: float | None = None


@dataclass(frozen=True)
class ConvertRecipe:
    """How thresholds are found: the percentile of a layer's pre-activations over observations of real play."""

    percentile: float = 99.0
    observations: int = 2_000
    recurrent: bool = False  # synapses within each dense layer, from its spikes to its current at the next timestep
    standardize: bool = False  # the first layer's currents, where something is hidden from the agent
    decay: float | tuple[float, float] = 0.5  # of each layer; a pair: of its channels, spread between the two


@dataclass(frozen=True)
class PruneRecipe:
    """How each stage of temporal pruning is trained. Sequences are in environment steps."""

    objective: str = "distill"
    gradient_steps: tuple[int, ...] = (2_000,)  # at T = 1, 2, 3, ...; the last number also for every higher T
    learning_rate: float = 1e-3
    batch_size: int = 16
    sequence_length: int = 12
    burn_in: int = 4
    n_envs: int = 8
    play_steps: int = 1  # environment steps in each environment per gradient step
    buffer_size: int = 20_000
    learning_starts: int = 1_000
    exploration_eps: float = 0.05
    temperature: float = 2.0  # of the distilled policies, in median gaps between the two best actions
    spike_penalty: float = 0.0  # weight of the spikes' cost in the loss of distillation
    evaluations: int = 5  # in the last half of a stage; the best network is kept
    eval_episodes: int = 20
    td_timesteps: int = 100_000  # environment steps of a stage with the objective td
    td_learning_rate: float = 1e-4


@dataclass(frozen=True)
class EvaluateRecipe:
    """How many episodes are played; 30 is every start of a greedy Atari agent without sticky actions."""

    episodes: int = 100


@dataclass(frozen=True)
class Recipe:
    """One environment: how it is built, and how its agents are trained, converted, pruned and evaluated."""

    id: str
    frames: int = 1
    teacher: str = ""  # id of the environment that is this one with nothing hidden; its ANN can teach
    half: bool = False  # store weights in half precision; an agent is scored as stored
    train: TrainRecipe = field(default_factory=TrainRecipe)
    convert: ConvertRecipe = field(default_factory=ConvertRecipe)
    prune: PruneRecipe = field(default_factory=PruneRecipe)
    evaluate: EvaluateRecipe = field(default_factory=EvaluateRecipe)
    is_default: bool = False

    @property
    def ann_env(self) -> str:
        """Id of the environment of the ANN that is converted and teaches: this one, or the one with nothing hidden."""
        return self.teacher or self.id

    @property
    def atari(self) -> bool:
        """Whether the id is an Atari game of the Arcade Learning Environment."""
        return _spec(self.id).entry_point == "ale_py.env:AtariEnv"


def data_folder(name: str) -> Path:
    """The catalogue folder ``envs`` or ``agents``: beside the installed package, else in the checkout."""
    installed = Path(__file__).parent / "data" / name
    return installed if installed.is_dir() else Path(__file__).parent.parent / name


def recipe_names() -> list[str]:
    """Ids of the environments that have a recipe."""
    return sorted(path.stem for path in data_folder("envs").glob("*.toml") if ".frames" not in path.stem)


def load_recipe(env_id: str, frames: int | None = None) -> Recipe:
    """The recipe of an environment, or the defaults where it has none (``is_default`` says so).

    ``envs/<id>.frames<k>.toml``, where there is one, says what is different for agents that see ``frames`` = k frames.

    Raises:
        UserError: if Gymnasium does not know the id (the nearest is suggested), or a recipe holds an unknown key.
    """
    _spec(env_id)
    path = data_folder("envs") / f"{env_id.replace('/', '-')}.toml"
    if path.is_file():
        fewer = path.with_name(f"{path.stem}.frames{frames}.toml")
        return read_recipe(path, *[fewer] * fewer.is_file())
    images = len(cast(tuple[int, ...], make_env(Recipe(env_id)).observation_space.shape)) == 3
    default = Recipe(env_id, is_default=True)
    recipe = dataclasses.replace(default, **_ATARI_DEFAULTS) if images else default
    print(f"{env_id} has no recipe: using defaults for {'images' if images else 'vectors'}, {recipe.frames} frame(s)")
    return recipe


def read_recipe(path: Path, *changes: Path) -> Recipe:
    """Reads one TOML recipe, and files that change some of its keys.

    Raises:
        UserError: naming the file and the key that is unknown or has the wrong type.
    """
    merged: dict[str, Any] = {}
    for file in (path, *changes):
        try:
            table = tomllib.loads(file.read_text())
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{file.name} is not valid TOML: {error}") from error
        recipe = _fill(Recipe, table, file.name)  # so that what is wrong is said of the right file
        for key, value in table.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return cast(Recipe, _fill(Recipe, merged, path.name) if changes else recipe)


def _fill(kind: type[Any], table: dict[str, Any], where: str) -> Any:
    """Makes a dataclass of a table, refusing unknown keys and wrong types."""
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name != "is_default"}
    values = {}
    for key, value in table.items():
        if key not in fields:
            nearest = difflib.get_close_matches(key, fields, 1)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else f"; known keys: {', '.join(fields)}"
            raise UserError(f"{where}: unknown key '{key}'{hint}")
        wanted = str(fields[key].type)
        section = _SECTIONS.get(wanted)
        if section:
            if not isinstance(value, dict):
                raise UserError(f"{where}: '{key}' must be a table, written [{key}]")
            values[key] = _fill(section, value, f"{where} [{key}]")
            continue
        if wanted == "tuple[int, ...]" and isinstance(value, list) and all(type(v) is int for v in value):
            value = tuple(value)
        elif wanted.endswith("tuple[float, float]") and isinstance(value, list):
            if len(value) != 2 or any(type(v) not in (int, float) for v in value):
                raise UserError(f"{where}: '{key}' must be a number or a pair of numbers, got {value!r}")
            value = (float(value[0]), float(value[1]))
        elif wanted.startswith("float") and type(value) in (int, float):
            value = float(value)
        elif wanted not in ("int", "str", "bool") or type(value).__name__ != wanted:
            raise UserError(f"{where}: '{key}' must be {wanted}, got {value!r}")
        values[key] = value
    if "id" in fields and "id" not in values:
        raise UserError(f"{where}: 'id' is missing; give the Gymnasium id of the environment")
    return kind(**values)


_SECTIONS: dict[str, type[Any]] = {kind.__name__: kind for kind in (TrainRecipe, ConvertRecipe, PruneRecipe, EvaluateRecipe)}


def _spec(env_id: str) -> Any:
    try:
        return gym.spec(env_id)
    except (gym.error.Error, ModuleNotFoundError) as error:
        known = [*recipe_names(), *gym.registry]
        nearest = difflib.get_close_matches(env_id, known, 1, cutoff=0.4)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"environments with a recipe: {', '.join(recipe_names())}"
        raise UserError(f"unknown environment '{env_id}'; {hint}") from error


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
    recipe: Recipe,
    *,
    frames: int | None = None,
    full_frames: int | None = None,
    sticky: float = 0.0,
    training: bool = False,
    render_mode: str | None = None,
) -> gym.Env[np.ndarray, int]:
    """One environment, ready for a Q-network: discrete actions, channel-first stacked observations, whole games.

    Args:
        recipe: the environment's recipe.
        frames: frames per observation; the recipe's number if None.
        full_frames: frames that a teacher sees, in ``info["full_observation"]``, where they are more.
        sticky: probability that the previous action is repeated (Machado et al. 2018), per emulator frame on Atari.
        training: clip Atari rewards to their sign and log episodes with SB3's Monitor, which sits below the clipping so
            that the logged return is the game's score.
        render_mode: Gymnasium's.

    Raises:
        UserError: for continuous actions, for observations that are neither vectors nor images, for missing dependencies.
    """
    frames = recipe.frames if frames is None else frames
    if frames < 1:
        raise UserError(f"--frames must be at least 1, got {frames}")
    if not 0 <= sticky < 1:
        raise UserError(f"--sticky must lie in [0, 1), got {sticky}")
    kwargs: dict[str, Any] = {"render_mode": render_mode}
    if recipe.atari:  # one emulator frame per step and no stickiness of its own: the wrapper below adds both
        kwargs |= {"frameskip": 1, "repeat_action_probability": 0.0}
    try:
        env: gym.Env[Any, Any] = gym.make(recipe.id, **kwargs)
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        raise UserError(f"'{recipe.id}' needs a package that is not installed: {error}") from error
    if not isinstance(env.action_space, spaces.Discrete) or env.action_space.start != 0:
        raise UserError(f"'{recipe.id}' has actions {env.action_space}; a Q-network needs Discrete actions from 0")
    if training:
        env = Monitor(env)
    if recipe.atari:
        env = AtariWrapper(env, terminal_on_life_loss=False, clip_reward=training, action_repeat_probability=sticky)
    elif sticky:
        env = gym.wrappers.StickyAction(env, sticky)
    box = env.observation_space
    image = isinstance(box, spaces.Box) and len(box.shape) == 3 and box.dtype == np.uint8
    if not image and not (isinstance(box, spaces.Box) and len(box.shape) == 1):
        raise UserError(f"'{recipe.id}' has observations {box}; they must be a vector or an image (height, width, channels)")
    stacked = max(frames, full_frames or 0)
    env = _ChannelFirst(gym.wrappers.FrameStackObservation(env, stacked, padding_type="zero"))
    return env if stacked == frames else LastFrames(env, frames, stacked)


def make_vec_env(
    recipe: Recipe, n_envs: int, *, seed: int, frames: int | None = None, full_frames: int | None = None
) -> VecEnv:
    """``n_envs`` training environments, see :func:`make_env`."""
    venv = DummyVecEnv([lambda: make_env(recipe, frames=frames, full_frames=full_frames, training=True)] * n_envs)
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


_ATARI_DEFAULTS: dict[str, Any] = {
    "frames": 4,
    "half": True,
    "train": TrainRecipe(
        total_timesteps=2_000_000,
        n_envs=8,
        net_arch=(512,),
        learning_rate=1e-4,
        buffer_size=100_000,
        learning_starts=10_000,
        batch_size=32,
        train_freq=4,
        target_update_interval=1_000,
        exploration_fraction=0.1,
        exploration_final_eps=0.01,
        eval_freq=100_000,
        eval_episodes=10,
    ),
    "prune": PruneRecipe(learning_rate=3e-4, eval_episodes=10, td_timesteps=1_000_000),
    "evaluate": EvaluateRecipe(episodes=ATARI_STARTS),
}
