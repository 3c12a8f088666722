"""The agents that come with the package, and the folders of agents. Torch is not needed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from snn_rl.core.errors import UserError
from snn_rl.store import integrity
from snn_rl.store.files import CARD, data_folder


def find(where: str | Path) -> Path:
    """The folder of an agent, given as such or as the name of a shipped one.

    Raises:
        UserError: if it is not there.
    """
    path = Path(where)
    folder = path if is_folder(path) else data_folder("agents") / path
    if not (folder / CARD).is_file():
        raise UserError(_not_found(str(where), path))
    return folder


def is_folder(path: Path) -> bool:
    """Whether there is a folder.

    Raises:
        UserError: for what cannot be a path, such as a name that is too long.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise UserError(f"'{str(path)[:80]}' is no agent: {error.strerror}") from error


def shipped() -> list[str]:
    """Names of the agents that come with the package, ANN first, then by falling T."""
    root = data_folder("agents")
    names = [card.parent.relative_to(root).as_posix() for card in root.glob(f"*/*/{CARD}")]
    return sorted(names, key=_place)


def _place(name: str) -> tuple[str, int, str, int]:
    env, _, agent = name.rpartition("/")
    found = re.fullmatch(r"(.*)T(\d+)(.*)", agent)
    kind, T = (found[1] + found[3], int(found[2])) if found else (agent, 0)
    return env, 0 if agent.startswith("ann") else 1 if kind.startswith("converted") else 2, kind, -T


def _not_found(where: str, path: Path) -> str:
    if path.exists():
        inside = ", ".join(f"'{card.parent}'" for card in sorted(path.glob(f"*/{CARD}")))
        return f"'{where}' is not an agent: it has no {CARD}" + (f"; those in it are {inside}" if inside else "")
    names = shipped()
    if where in integrity.listed_agents() and where not in names:
        return f"'{where}' is in the repository but does not come with the installed package, which has {', '.join(names)}"
    if of_env := [name for name in names if name.startswith(f"{where.rstrip('/')}/")]:
        return f"'{where}' is an environment; its shipped agents are {', '.join(of_env)}"
    nearest: Iterable[str] = difflib.get_close_matches(where, names, 1, cutoff=0.3)
    hint = next((f"; did you mean the shipped agent '{name}'?" for name in nearest), "")
    return f"no agent '{where}': neither a folder, nor a shipped agent, nor an SB3 zip{hint}"
