"""Which environments there are: Gymnasium's ids, Atari's, this package's own, and those of modules of the user's."""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.store.files import data_folder

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


def recipe_names() -> list[str]:
    """Ids of the environments that have a recipe."""
    return sorted(path.stem for path in data_folder("envs").glob("*.toml") if ".frames" not in path.stem)


def imported(env: str) -> str:
    """The id in ``MODULE:ID``, after importing the module, as ``gymnasium.make`` does; a plain id as it is.

    Raises:
        UserError: if the module cannot be imported.
    """
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
    try:
        return gym.spec(env_id)
    except (gym.error.Error, ModuleNotFoundError) as error:
        if module:
            raise UserError(
                f"'{env_id}' is registered by the module '{module}': import it first, or give --env {module}:{env_id}"
            ) from error
        known = [*recipe_names(), *gym.registry]
        nearest = difflib.get_close_matches(env_id, known, 1, cutoff=0.6)
        hint = f"did you mean '{nearest[0]}'?" if nearest else f"environments with a recipe: {', '.join(recipe_names())}"
        if env_id in known:  # a recipe without its environment
            hint = "it has a recipe, but no module that registers it was named"
        raise UserError(f"unknown environment '{env_id}'; {hint}; one of your own is given as --env MODULE:ID") from error
