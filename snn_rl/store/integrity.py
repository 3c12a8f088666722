"""SHA-256 sums, by which a flipped bit is found: of an agent's files, of its card, and of the catalogue. Torch is not needed.

A new card holds the sums of the files beside it and its own, which is that of its JSON without this number. Cards of older
agents hold none; those of the catalogue are listed in ``agents/SHA256SUMS``, which ``sha256sum -c`` reads too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.store.bounded import content
from snn_rl.store.files import data_folder, whole

OWN = "sha256"
LIST = "SHA256SUMS"


def digest(content: bytes | memoryview) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def of_card(card: Mapping[str, Any]) -> str:
    """The sum of a card, by its JSON with sorted keys and without its own sum."""
    plain = {key: value for key, value in card.items() if key != OWN}
    return digest(json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def check_card(card: Mapping[str, Any]) -> None:
    """Refuses a card that is not as it was written.

    Raises:
        ValueError: if its sum is another, or it has those of its files without its own.
    """
    if OWN not in card and "files" not in card:
        return
    if card.get(OWN) != of_card(card):
        raise ValueError(
            f"card.json is not as it was written: its {OWN} is another; if you changed it yourself, remove '{OWN}' and "
            "'files' from it"
        )


def check_files(sums: Mapping[str, str], found: Mapping[str, bytes]) -> None:
    """Refuses files that are not those that a card names.

    Args:
        sums: by the file's name; two, with a space between, while one is being replaced by the other.
        found: what the files hold.

    Raises:
        ValueError: naming the file.
    """
    for name, written in found.items():
        if name in sums and digest(written) not in sums[name].split():
            raise ValueError(f"{name} is not as it was written: its sha256 is another than in card.json")


def check_listed(folder: Path, found: Mapping[str, bytes]) -> None:
    """Refuses files of the catalogue that are not those that its list names.

    Raises:
        ValueError: naming the file.
    """
    place = _place(folder)
    if place is None:
        return
    sums = _listed()
    for name, written in found.items():
        if sums.get(f"{place}/{name}", digest(written)) != digest(written):
            raise ValueError(f"{name} is not as it was shipped: its sha256 is another than in agents/{LIST}")


def relist(folder: Path) -> None:
    """Takes an agent's files into the list, if it lies in the catalogue."""
    place = _place(folder)
    if place is None:
        return
    sums = {name: value for name, value in _listed().items() if not name.startswith(f"{place}/")}
    sums |= {f"{place}/{path.name}": digest(path.read_bytes()) for path in folder.iterdir() if path.is_file()}
    with whole(data_folder("agents") / LIST) as new:
        new.write_bytes("".join(f"{value}  {name}\n" for name, value in sorted(sums.items())).encode())


def listed_agents() -> set[str]:
    """Names of all agents of the catalogue; not all of them come with the installed package."""
    return {name.rpartition("/")[0] for name in _listed() if name.count("/") == 2}


def _place(folder: Path) -> str | None:
    """The name of an agent in the catalogue; None elsewhere."""
    folder, root = folder.resolve(), data_folder("agents").resolve()
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else None


def _listed() -> dict[str, str]:
    path = data_folder("agents") / LIST
    if not path.is_file():
        return {}
    lines = [line.partition("  ") for line in content(path, 1 << 20).decode().splitlines()]
    if any(len(value) != 64 or not name for value, _, name in lines):
        raise UserError(f"'{path}' is damaged; restore it, or install the package anew")
    return {name: value for value, _, name in lines}
