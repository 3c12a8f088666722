"""Markdown tables of docs/integers.md, made from docs/results/integers; tools/fill.py puts them in their places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from doc_tables import markdown

INTEGERS = Path(__file__).parents[1] / "docs" / "results" / "integers"


def tables() -> Iterator[tuple[str, str]]:
    """Each table with its name."""
    yield "equality", equality()
    yield "mcu", mcu()


def equality() -> str:
    """What tools/equality.py compared, by agent; the parts of an agent's episodes are added up."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(INTEGERS.glob("equality-*.json")):
        row = json.loads(path.read_bytes())
        found.setdefault(row["agent"], []).append(row)
    headings = ("agent", "episodes", "decisions", "spikes", "membranes")
    return markdown(
        headings,
        [[agent, *(f"{sum(row[key] for row in rows):,}" for key in headings[1:])] for agent, rows in found.items()],
        1,
    )


def mcu() -> str:
    """What tools/mcu.py counted, by agent."""
    found = json.loads((INTEGERS / "mcu.json").read_bytes())
    lines = [
        [row["agent"], *(f"{row[key]:,}" for key in ("decisions", "instructions", "most", "first", "flash", "ram"))]
        for row in found["agents"]
    ]
    headings = ("agent", "decisions", "instructions each", "at most", "the first", "flash, bytes", "RAM, bytes")
    return f"{found['compiler']}, {found['emulator']}\n\n" + markdown(headings, lines, 1)
