"""Writes the tables of ``docs/licences.md`` from what the installed packages say of themselves. For maintainers.

python tools/licences.py
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata, requires

from lock import CONSTRAINTS, ROOT, pinned
from packaging.requirements import Requirement

PAGE = ROOT / "docs" / "licences.md"
BEGIN, END = "<!-- {}: made by `python tools/licences.py`, do not edit -->", "<!-- end: {} -->"
UNSAID = "not said in its metadata; see its source"
LONGEST = 60  # of a licence in a line: some packages have the whole text there


def licence(name: str) -> str:
    """What a package's metadata says: an expression, a short text, or classifiers."""
    found = metadata(name)
    words = [line.rpartition("::")[2].strip() for line in found.get_all("Classifier", []) if line.startswith("License ::")]
    words = [word for word in words if word != "OSI Approved"]
    expression, text = ((found.get_all(key) or [""])[0] for key in ("License-Expression", "License"))
    first = text.strip().partition("\n")[0].strip()
    short = first if 0 < len(first) <= LONGEST and first != "UNKNOWN" else ""
    return expression or "; ".join(words) or short or UNSAID


def needed(name: str = "snn-rl") -> set[str]:
    """The packages that come with the package without any extra, with those that they need."""
    found: set[str] = set()
    todo = [name]
    while todo:
        try:
            lines = requires(todo.pop()) or []
        except PackageNotFoundError:  # of another system
            continue
        wanted = [Requirement(line) for line in lines]
        new = {_normal(one.name) for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})} - found
        found |= new
        todo += sorted(new)
    return found | {"pygame-ce"}  # of gymnasium[classic-control]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def tables() -> dict[str, str]:
    """By name: what is installed with the package, and what extras and development need besides."""
    names = sorted(pinned(CONSTRAINTS.read_text(encoding="utf-8")))
    own = needed()
    parts = {"with-the-package": [one for one in names if one in own], "besides": [one for one in names if one not in own]}
    head = "| package | licence |\n| --- | --- |\n"
    return {part: head + "\n".join(f"| {one} | {licence(one)} |" for one in inside) for part, inside in parts.items()}


def filled(text: str) -> str:
    """The page with its tables."""
    for name, table in tables().items():
        before, rest = text.split(BEGIN.format(name))
        text = before + "\n\n".join([BEGIN.format(name), table, END.format(name)]) + rest.split(END.format(name))[1]
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
