"""Files that are there whole or not at all, the catalogue, and the folders of runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.store.bounded import MAX_JSON, content, parse_json

SETTINGS = "settings.json"
CARD, EPISODES = "card.json", "episodes.csv"  # of an agent's folder


def data_folder(name: str) -> Path:
    """The catalogue folder ``envs`` or ``agents``: beside the installed package, else in the checkout."""
    installed = Path(__file__).parents[1] / "data" / name
    return installed if installed.is_dir() else Path(__file__).parents[2] / name


def folder_name(env_id: str) -> str:
    """The id of an environment as the name of a folder or a file: ``ALE-Pong-v5``. No id leads to another folder."""
    name = env_id.replace("/", "-").replace("\\", "-")
    return name if name.strip(".") else "-" * (len(name) + 1)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to; it takes the place of ``path`` once all went well.

    Otherwise the temporary file is removed and what was at ``path`` is still there. A link stays a link; what is no regular
    file (a pipe, ``/dev/stdout``) is written to directly.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.stem}.new-{os.getpid()}{path.suffix}")
    try:
        yield new
        with new.open("r+b") as file:  # Windows flushes only what may be written to
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a new folder beside ``path`` to fill; it is renamed to ``path``, which must be free, once all went well."""
    new = path.parent / f".{path.name}.new-{os.getpid()}"
    try:
        new.mkdir(parents=True)
        yield new
        new.rename(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Raises OSError if a file could not be written at ``path``: before the work, not after it.

    Raises:
        UserError: if a file stands where a folder is needed.
        OSError: of ``path``, for any other reason.
    """
    in_the_way = next((parent for parent in path.parents if parent.is_file()), None)
    if in_the_way is not None:
        raise UserError(f"'{in_the_way}' is a file, no folder that '{path}' could be written to; choose another place")
    path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        return  # a pipe or a device
    probe = path.with_name(f".{path.name}.probe-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from error


def check_new(folder: Path) -> None:
    """Raises UserError if an output folder exists, OSError if it cannot be written: before the work, not after it."""
    if folder.exists():
        raise UserError(f"'{folder}' exists already; choose another --out or remove it")
    check_writable(folder)


def write_json(value: Any, path: Path) -> None:
    """Writes a JSON file; NaN is an error."""
    with whole(path) as new:
        new.write_bytes(f"{json.dumps(value, indent=1, allow_nan=False)}\n".encode())


def begin_run(out: Path, settings: dict[str, Any], resume: bool) -> None:
    """Makes a run's folder with its settings, or checks that it is the one to resume.

    Raises:
        UserError: if the folder exists and is not to be resumed, is no run, or was begun with other settings.
    """
    written = out / SETTINGS
    if not resume:
        if (out / SETTINGS).is_file():
            raise UserError(f"'{out}' exists already; add --resume to go on with that run, choose another --out or remove it")
        check_new(out)
        out.mkdir(parents=True)
    elif written.is_file():
        try:
            before = parse_json(content(written, MAX_JSON))
            if not isinstance(before, dict):
                raise ValueError("no object")
        except ValueError as error:
            raise UserError(f"'{written}' is damaged; remove '{out}' to start anew") from error
        for key, value in settings.items():
            if before.get(key) != value:
                raise UserError(f"'{out}' was begun with {key} = {before.get(key)!r}, not {value!r}; use the same options")
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"'{out}' is no run that could be resumed; choose another --out")
    else:
        print(f"nothing to resume in '{out}': a new run begins there")
    write_json(settings, written)
