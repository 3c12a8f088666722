"""Markdown tables of docs/exports.md, made from docs/results/exports; tools/fill.py puts them in their places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from doc_tables import markdown

EXPORTS = Path(__file__).parents[1] / "docs" / "results" / "exports"


def tables() -> Iterator[tuple[str, str]]:
    """Each table with its name."""
    yield "onnx", onnx()


def onnx() -> str:
    """Whole games in onnxruntime, by agent."""
    found = json.loads((EXPORTS / "onnx.json").read_bytes())
    lines = [
        [
            row["agent"],
            f"{row['games']}",
            f"{row['decisions']:,}",
            f"{row['other_actions']:,}",
            f"{row['other_membranes']:,} of {row['membranes']:.1e}" if row["membranes"] else "-",
            f"{row['largest_q_difference']:.1e}",
        ]
        for row in found["agents"]
    ]
    headings = ("agent", "games", "decisions", "other actions", "other membranes", "largest difference of a Q-value")
    return f"onnxruntime {found['onnxruntime']}\n\n" + markdown(headings, lines, 1)
