"""Files by strangers, read within bounds: what is too large, too deep or no regular file is refused before it is read."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from snn_rl.core.errors import UserError

MAX_JSON, MAX_DEPTH, MAX_PARTS, MAX_VALUES = 16 << 20, 64, 1_000_000, 3_000_000
MAX_TOML, MAX_DOTS = 64 << 10, 200
MAX_TENSORS = 160_000_000  # bytes of one file's tensors: with the network built from them it stays below 1 GB

_KINDS = {
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISDIR: "a folder",
}


def content(path: Path, most: int) -> bytes:
    """What a regular file holds.

    Args:
        path: of the file; a link is followed.
        most: bytes that it may have.

    Raises:
        UserError: if it is no regular file or too large.
        OSError: if it cannot be read.
    """
    with opened(path, most) as file:
        read = file.read(most + 1)  # it may have grown meanwhile
    if len(read) > most:
        raise UserError(f"'{path}' has more than {most:,} bytes, which are refused there")
    return read


@contextmanager
def opened(path: Path, most: int) -> Iterator[BinaryIO]:
    """A regular file of at most so many bytes, to read from; see :func:`content`."""
    _check_regular(path, path.stat().st_mode)  # a socket cannot even be opened
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))  # a FIFO must not block
    with open(handle, "rb") as file:
        found = os.fstat(handle)
        _check_regular(path, found.st_mode)  # it may be another one meanwhile
        if found.st_size > most:
            raise UserError(f"'{path}' has {found.st_size:,} bytes; more than {most:,} are refused there")
        yield file


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((words for is_kind, words in _KINDS.items() if is_kind(mode)), "something else")
        raise UserError(f"'{path}' is {kind} where a file is expected")


def toml(path: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        ValueError: if it is none, or has a line of more than 200 dots: Python takes seconds and gigabytes for such keys.
        UserError: if it is no file or too large.
        OSError: if it cannot be read.
    """
    written = content(path, MAX_TOML).decode()
    if any(line.count(".") > MAX_DOTS for line in written.split("\n")):  # what else ends a line elsewhere does not in TOML
        raise ValueError(f"a line has more than {MAX_DOTS} dots")
    try:
        return tomllib.loads(written)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def parse_json(found: bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: if it is none, has more than 16 MiB, a million lists and objects or three million values, or is nested
            more than 64 deep.
    """
    if len(found) > MAX_JSON:
        raise ValueError(f"its JSON has {len(found):,} bytes; more than {MAX_JSON:,} are refused")
    if found.count(b"[") + found.count(b"{") > MAX_PARTS:
        raise ValueError(f"its JSON has more than {MAX_PARTS:,} lists and objects")
    if found.count(b",") > MAX_VALUES:  # each takes a microsecond or two to be checked
        raise ValueError(f"its JSON has more than {MAX_VALUES:,} values")
    try:
        value = json.loads(found)
    except RecursionError:
        raise ValueError(f"its JSON is nested more than {MAX_DEPTH} deep") from None
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inside = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, list | dict))
        level = [inner for one in inside for inner in one]
        if not level:
            return value
    raise ValueError(f"its JSON is nested more than {MAX_DEPTH} deep")
