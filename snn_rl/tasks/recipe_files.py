"""Recipes from their files ``envs/*.toml``: found, merged with what they are based on, and checked key by key."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_FRAMES, MAX_NEURONS
from snn_rl.core.surrogate import Surrogate
from snn_rl.store.bounded import toml
from snn_rl.store.files import data_folder, folder_name
from snn_rl.tasks.catalogue import recipe_names
from snn_rl.tasks.recipes import (
    OBJECTIVES,
    ConvertRecipe,
    EvaluateRecipe,
    PruneRecipe,
    Recipe,
    TDRecipe,
    TrainRecipe,
)

LARGEST = 1e300  # of a number in a recipe


def recipe_files(env_id: str) -> list[Path]:
    """The files of an environment's recipe, those that it is based on first; none where it has no recipe.

    Each is ``envs/<id>.toml`` in the current folder, else the package's; one of the current folder may so be based on the
    package's of the same id.

    Raises:
        UserError: if a file cannot be read, or is based on what has no recipe.
    """
    files: list[Path] = []
    wanted = env_id
    while wanted:
        name = f"{folder_name(wanted)}.toml"
        places = [folder.resolve() / name for folder in (Path("envs"), data_folder("envs"))]
        path = next((place for place in places if place.is_file() and place not in files), None)
        if path is None and not files:
            break
        if path is None:
            raise UserError(f"{files[0]}: no recipe for its base '{wanted}'; recipes: {', '.join(recipe_names())}")
        files.insert(0, path)
        wanted = read_recipe(path).base
    return files


def read_recipe(path: Path, *changes: Path) -> Recipe:
    """Reads one TOML recipe, and files that change some of its keys.

    Raises:
        UserError: naming the file and the key that is unknown or has the wrong type.
    """
    merged: dict[str, Any] = {}
    for file in (path, *changes):
        try:
            table = toml(file)
        except UserError:
            raise
        except OSError as error:
            raise UserError(f"cannot read '{file}': {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"{file.name} is not valid TOML: {error}") from error
        recipe = _fill(Recipe, table, file.name)  # so that what is wrong is said of the right file
        for key, value in table.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return cast(Recipe, _fill(Recipe, merged, path.name) if changes else recipe)


def changed(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with some of its numbers set anew.

    Args:
        recipe: as it was read.
        settings: each ``TABLE.KEY=VALUE`` or ``KEY=VALUE``, in the words of a recipe: ``prune.learning_rate=3e-4``.

    Raises:
        UserError: if there is no such key, or the value cannot be.
    """
    for setting in settings:
        key, value = setting_of(setting)
        *section, name = key.split(".")
        table: dict[str, Any] = {"id": recipe.id, key: value} if not section else {"id": recipe.id, section[0]: {name: value}}
        new = _fill(Recipe, table, f"--recipe-set {setting}")
        if name in ("id", "base") and not section:
            raise UserError(f"--recipe-set {setting}: '{name}' says which recipe it is; give --env")
        if section:
            own = dataclasses.replace(getattr(recipe, section[0]), **{name: getattr(getattr(new, section[0]), name)})
            recipe = dataclasses.replace(recipe, **{section[0]: own})
        else:
            recipe = dataclasses.replace(recipe, **{name: getattr(new, name)})
    return recipe


def setting_of(text: str) -> tuple[str, Any]:
    """Key and value of ``TABLE.KEY=VALUE``; the value is TOML, a bare word is a text.

    Raises:
        UserError: if it is not of that form.
    """
    key, equals, written = (part.strip() for part in text.partition("="))
    if not equals or not re.fullmatch(r"\w+(\.\w+)?", key) or not written or "\n" in text:
        raise UserError(f"--recipe-set takes TABLE.KEY=VALUE, as in prune.learning_rate=3e-4, got '{text}'")
    try:
        return key, tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        if re.fullmatch(r"[\w-]+", written):
            return key, written
        raise UserError(
            f"--recipe-set {key}: '{written}' is no value of a recipe; write it as in TOML: 3e-4, [7, 8], true"
        ) from None


def _fill(kind: type[Any], table: dict[str, Any], where: str) -> Any:
    """Makes a dataclass of a table, refusing unknown keys and wrong types."""
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in ("is_default", "module")}
    values = {}
    for key, value in table.items():
        if key not in fields:
            nearest = difflib.get_close_matches(key[:60], fields, 1)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else f"; known keys: {', '.join(fields)}"
            raise UserError(f"{where}: unknown key {key[:60]!r}{hint}")
        wanted = str(fields[key].type)
        section = _SECTIONS.get(wanted)
        if section:
            if not isinstance(value, dict):
                raise UserError(f"{where}: '{key}' must be a table, written [{key}]")
            values[key] = _fill(section, value, f"{where} [{key}]")
            continue
        if wanted == "tuple[int, ...]" and isinstance(value, list) and all(type(v) is int for v in value):
            value = tuple(value)
        elif "tuple[float, float]" in wanted and isinstance(value, list):
            if len(value) != 2 or any(type(v) not in (int, float) for v in value):
                raise UserError(f"{where}: '{key}' must be a number or a pair of numbers, got {repr(value)[:60]}")
            value = (_float(value[0]), _float(value[1]))
        elif wanted.startswith("float") and type(value) in (int, float):
            value = _float(value)
        elif wanted not in ("int", "str", "bool") or type(value).__name__ != wanted:
            raise UserError(f"{where}: '{key}' must be {_WORDS.get(wanted, wanted)}, got {repr(value)[:60]}")
        if key in _IDS and ":" in value:
            raise UserError(f"{where}: '{key}' names a module, which no file may; give it as --env MODULE:ID, and here the ID")
        _check_range(key, value, where)
        values[key] = value
    if "id" in fields and "id" not in values:
        raise UserError(f"{where}: 'id' is missing; give the Gymnasium id of the environment")
    return kind(**values)


def _float(number: float) -> float:
    """Infinity, which is refused, for a whole number that no float holds."""
    return float(number) if abs(number) <= LARGEST else math.inf


def _check_range(key: str, value: Any, where: str) -> None:
    """Refuses a value that no training could use: before hours of training, not after them."""
    if key == "surrogate":
        try:
            Surrogate.read(value)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
    if key == "objective" and value not in OBJECTIVES:
        raise UserError(f"{where}: unknown objective {value[:60]!r}; choose from {', '.join(OBJECTIVES)}")
    if value == ():
        raise UserError(f"{where}: '{key}' must hold at least one number")
    for number in value if isinstance(value, tuple) else (value,):
        if type(number) in (int, float):
            low, high = _RANGES.get(key, (0.0, math.inf))
            if not (low <= number <= high and abs(number) <= LARGEST and (key in _RANGES or number > 0)):
                above = "on" if math.isinf(high) else f"to {high:g}"
                wanted = f"a finite number from {low:g} {above}" if key in _RANGES else "a finite number above 0"
                raise UserError(f"{where}: '{key}' must be {wanted}, got {repr(value)[:60]}")
            if number > _MOST.get(key, LARGEST):
                raise UserError(f"{where}: '{key}' must be at most {_MOST[key]:,}, got {repr(value)[:60]}")


_FRACTIONS = (
    "advantage_alpha cool_down exploration_eps exploration_final_eps exploration_fraction flicker gamma stop_at_share tau"
)
_FROM_ZERO = "adam_eps burn_in learning_starts neuron_rate spike_penalty spiking_frames"
_RANGES: dict[str, tuple[float, float]] = {  # of the numbers that may be 0 or must not be large
    **dict.fromkeys((*_FRACTIONS.split(), "sticky"), (0.0, 1.0)),
    **dict.fromkeys(_FROM_ZERO.split(), (0.0, math.inf)),
    "decay": (0.001, 1.0),  # lif.MIN_DECAY
    "percentile": (0.001, 100.0),
    "stop_at": (-math.inf, math.inf),
}
_IDS = ("id", "base", "teacher")  # of environments
_MOST = {"frames": MAX_FRAMES, "spiking_frames": MAX_FRAMES, "n_envs": 100_000, "net_arch": MAX_NEURONS}
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "float | None": "a number",
    "str": "a text",
    "bool": "true or false",
    "tuple[int, ...]": "a list of whole numbers",
}
_SECTIONS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (TrainRecipe, ConvertRecipe, PruneRecipe, TDRecipe, EvaluateRecipe)
}
