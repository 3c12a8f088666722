"""Temporary files that killed processes left behind."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import psutil

TEMPORARY = re.compile(r"\..+\.(?:new|probe)-(\d+)(?:\..+)?")  # as :func:`name` makes them


def temporary(path: Path, suffix: str = "") -> Path:
    """Where this process writes what shall become ``path``: beside it, hidden, with the number of the process."""
    return path.with_name(f".{path.name.removesuffix(suffix)}.new-{os.getpid()}{suffix}")


def is_temporary(name: str) -> bool:
    """Whether a file or a folder of that name is temporary."""
    return TEMPORARY.fullmatch(name) is not None


def remove(folder: Path) -> None:
    """Removes the temporary files and folders of dead processes from a folder and those in it.

    A number may meanwhile be that of another process: one that began after the file was written did not write it.
    """
    for where, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(where, name)
            found = TEMPORARY.fullmatch(name)
            if found is None or _lives(int(found[1]), path):
                continue
            if name in folders:
                folders.remove(name)
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _lives(pid: int, path: Path) -> bool:
    """Whether the process that wrote a file is still at it."""
    try:
        process = psutil.Process(pid)
        begun_before = process.create_time() <= path.lstat().st_mtime + 1  # clocks are read to a hundredth of a second
        return begun_before and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except (psutil.Error, OSError):
        return False
