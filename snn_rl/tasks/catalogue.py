"""Which environments there are: Gymnasium's ids, Atari's, this package's own, and those of modules of the user's."""

from __future__ import annotations

import difflib
import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.store.files import data_folder, folder_name

ATARI = "ale_py.env:AtariEnv"

_imported: dict[str, str] = {}  # id -> the module that the user named with it


@cache
def register() -> None:
    """Makes Gymnasium know Atari's ids and the tasks of :mod:`snn_rl.tasks.partial`, once."""
    import ale_py
    import gymnasium as gym

    from snn_rl.tasks import partial

    gym.register_envs(ale_py)
    partial.register()


@dataclass(frozen=True)
class Game:
    """An Atari game under one of its ids.

    Attributes:
        base: the id under which its recipe and its shipped agents are kept: ``PongNoFrameskip-v4``.
        sticky: probability with which the id repeats the previous action, at each frame of the emulator.
        frameskip: frames of one step of the id; the least and the most where they are drawn at random. Here a decision always
            takes 4: :func:`~snn_rl.tasks.environments.make_env` steps the emulator frame by frame.
    """

    base: str
    sticky: float = 0.0
    frameskip: tuple[int, int] = (1, 1)

    def told(self, env_id: str) -> str:
        """One sentence on what the id has in common with ``base``, and what differs."""
        low, high = self.frameskip
        differs = [f"sticky actions of {self.sticky:g} (in training and in play)"] * (self.sticky > 0)
        differs += [f"{low} to {high} frames a step, drawn at random (here always 4)"] * (low != high)
        frames = "" if low != high else ", and a decision is 4 frames"
        what = f"{self.base} with {' and '.join(differs)}" if differs else f"the same as {self.base}"
        return f"{env_id} is {what}: recipes and agents of the one are for both, the actions are the same{frames}"


def game(env_id: str) -> Game | None:
    """The Atari game that an id stands for: ``ALE/Pong-v5``, ``Pong-v0`` and ``-v4``, ``PongDeterministic-v0`` and ``-v4`` and
    ``PongNoFrameskip-v0`` are the game of ``PongNoFrameskip-v4``. None for any other environment, and for one that
    the user registered with other actions, modes or observations than these have."""
    found = re.fullmatch(r"(?:ALE/(\w+)-v5|(\w+?)(Deterministic|NoFrameskip)?-v([04]))", env_id)
    if found is None:
        return None
    import gymnasium as gym

    register()
    base = f"{found[1] or found[2]}NoFrameskip-v4"
    if base not in gym.registry or gym.registry[base].entry_point != ATARI:
        return None
    if found[3] == "Deterministic" and env_id not in gym.registry:  # older versions of ale-py know these ids
        return Game(base, 0.25 if found[4] == "0" else 0.0, (4, 4))
    if env_id not in gym.registry:
        return None
    own, usual = dict(gym.registry[env_id].kwargs), dict(gym.registry[base].kwargs)
    sticky, skip = own.pop("repeat_action_probability", 0.0), own.pop("frameskip", 1)
    del usual["repeat_action_probability"], usual["frameskip"]
    if own != usual:
        return None
    return Game(base, sticky, (skip, skip) if isinstance(skip, int) else (skip[0], skip[1] - 1))


def base_id(env_id: str) -> str:
    """The id under which recipe and shipped agents of an environment are kept: of an Atari game one for all its ids."""
    found = game(env_id)
    return env_id if found is None else found.base


def recipe_names() -> list[str]:
    """Ids of the environments that have a recipe."""
    return sorted(path.stem for path in data_folder("envs").glob("*.toml") if ".frames" not in path.stem)


def imported(env: object) -> str:
    """The id in ``MODULE:ID``, after importing the module, as ``gymnasium.make`` does; a plain id as it is.

    Raises:
        UserError: if the module cannot be imported, and for an environment in the place of its id.
    """
    if not isinstance(env, str):
        own = getattr(getattr(env, "spec", None), "id", None)
        hint = f"'{own}'" if own else "such as 'CartPole-v1', or 'MODULE:ID' where a module of yours registers it"
        raise UserError(f"give the id of the environment, {hint}, not a {type(env).__name__}: it is built as its recipe says")
    module, _, env_id = env.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever is wrong in the user's module
            raise UserError(f"cannot import '{module}' of '{env}': {type(error).__name__}: {error}") from error
        _imported[env_id] = module
    return env_id


def module_of(env_id: str) -> str:
    """The module that the user named as ``MODULE:ID``; "" for ids that need none."""
    return _imported.get(env_id, "")


def spec(env_id: str, module: str = "") -> Any:
    """What Gymnasium knows of an id.

    Args:
        env_id: the id, without a module.
        module: that registers it, where a card names one: for the message.

    Raises:
        UserError: if it knows nothing; its module or the nearest id is suggested.
    """
    import gymnasium as gym

    register()
    found = game(env_id)
    try:
        return gym.spec(env_id if found is None else found.base)
    except (gym.error.Error, ModuleNotFoundError) as error:
        if module:
            raise UserError(
                f"'{env_id}' is registered by the module '{module}': import it first, or give --env {module}:{env_id}"
            ) from error
        known = [*recipe_names(), *gym.registry]
        nearest = difflib.get_close_matches(env_id, known, 1, cutoff=0.6)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"environments with a recipe: {', '.join(recipe_names())}"
        if (Path("envs") / f"{folder_name(env_id)}.toml").is_file():  # the user's recipe without its environment
            hint = "it has a recipe, but no module that registers it was named"
        raise UserError(f"unknown environment '{env_id}'; {hint}; one of your own is given as --env MODULE:ID") from error
