"""Files that are there whole or not at all, the catalogue, and the folders of runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.store import leftovers, lock
from snn_rl.store.bounded import MAX_JSON, content, parse_json
from snn_rl.store.lock import Lock

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

    Otherwise the temporary file is removed and what was at ``path`` is still there. Both the file and its name are on the disk
    when this ends. A link stays a link; what is no regular file (a pipe, ``/dev/stdout``) is written to directly.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = leftovers.temporary(path, path.suffix)
    try:
        yield new
        sync(new)
        os.replace(new, path)
        sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a new folder beside ``path`` to fill; it is renamed to ``path``, which must be free, once all went well."""
    new = leftovers.temporary(path)
    try:
        new.mkdir(parents=True)
        yield new
        for file in new.rglob("*"):
            if file.is_file():
                sync(file)
        sync_folder(new)
        new.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def sync(path: Path) -> None:
    """Sees to it that a file is on the disk."""
    with path.open("r+b") as file:  # Windows flushes only what may be written to
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sees to it that the names in a folder are on the disk, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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


def begin_run(out: Path, settings: dict[str, Any], resume: bool) -> Lock:
    """Makes a run's folder with its settings, or checks that it is the one to resume; removes what killed processes left
    there.

    Returns:
        A lock on the folder, which is to be held as long as anything is written to it.

    Raises:
        UserError: if the folder exists and is not to be resumed, is no run, was begun with other settings, or another process
            writes to it.
    """
    begun = (out / SETTINGS).is_file()
    if begun and not resume:
        Lock(out).release()  # where somebody is at it, that is what to say
        raise UserError(f"'{out}' exists already; add --resume to go on with that run, choose another --out or remove it")
    if not resume:
        check_new(out)
    elif not begun and out.exists() and not all(_is_ours(path.name) for path in out.iterdir()):
        raise UserError(f"'{out}' is no run that could be resumed; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    held = Lock(out)
    try:
        leftovers.remove(out)
        _check_settings(out, settings, resume)
    except BaseException:
        held.release()
        raise
    return held


def _is_ours(name: str) -> bool:
    """Whether a run that was killed in its first write leaves such a file."""
    return name == lock.NAME or leftovers.is_temporary(name)


def _check_settings(out: Path, settings: dict[str, Any], resume: bool) -> None:
    """Writes a run's settings, or checks that they are those that it was begun with."""
    written = out / SETTINGS
    if written.is_file():
        try:
            before = parse_json(content(written, MAX_JSON))
            if not isinstance(before, dict):
                raise ValueError("no object")
        except ValueError as error:
            raise UserError(f"'{written}' is damaged; remove '{out}' to start anew") from error
        for key, value in settings.items():
            if before.get(key) != value:
                raise UserError(f"'{out}' was begun with {key} = {before.get(key)!r}, not {value!r}; use the same options")
        if before == settings:
            return  # a full disk does not keep a run from going on
    elif resume:
        print(f"nothing to resume in '{out}': a new run begins there")
    write_json(settings, written)
