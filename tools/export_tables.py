"""Markdown tables of docs/exports.md, made from docs/results/exports; tools/fill.py puts them in their places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from doc_tables import markdown

WHY = {
    (
        "exact",
        "nirtorch",
    ): "an edge that closes a circle takes one step there; its modules for `LI`, `I`, `Threshold` and `Scale` are "
    "[four short ones of ours](../tools/nir_conformance.py), in float64",
    ("exact", "nirtorch alone"): "brings no modules for neurons: whoever uses it brings them",
    ("exact", "snntorch"): "knows no `LI`, `I`, `Threshold`, `Scale`",
    ("exact", "spikingjelly"): "knows no `LI`, `I`, `Threshold`, `Scale`",
    ("exact", "norse"): "knows no `LI`, `I`, `Threshold`, `Scale`",
    ("LIF", "nirtorch"): "what the file says: a neuron that resets to 0",
    ("LIF", "nirtorch alone"): "brings no modules for neurons",
    ("LIF", "snntorch"): "what the file says; no recurrent synapses, and with a convolution a batch of one only",
    ("LIF", "spikingjelly"): "what the file says; one decay for a layer only",
    ("LIF", "norse"): "ignores `r`, so currents are scaled by `dt / tau` (it warns)",
}
EXPORTS = Path(__file__).parents[1] / "docs" / "results" / "exports"


def tables() -> Iterator[tuple[str, str]]:
    """Each table with its name."""
    yield "onnx", onnx()
    yield "nir", nir()
    yield "counts", counts()


def onnx() -> str:
    """Whole games in onnxruntime, by agent."""
    found = json.loads((EXPORTS / "onnx.json").read_bytes())
    lines = [
        [
            row["agent"],
            f"{row['games']}",
            f"{row['decisions']:,}",
            f"{row['other_actions']:,}",
            _small(max(row["gaps"])) if row["gaps"] else "-",
            f"{row['alone']['other_actions']:,}" if "alone" in row else "-",
            f"{row['other_membranes']:,} of {row['membranes']:.1e}" if row["membranes"] else "-",
            _small(row["largest_q_difference"]),
        ]
        for row in found["agents"]
    ]
    floats = [row for row in found["agents"] if "int8" not in row["agent"]]
    other, decisions = (sum(row[key] for row in floats) for key in ("other_actions", "decisions"))
    said = f"onnxruntime {found['onnxruntime']}; of agents of floats {other:,} of {decisions:,} decisions have another action"
    actions = ("other actions", "their Q-values differ by at most", "other actions of Python, one game at a time")
    headings = ("agent", "games", "decisions", *actions, "other membranes", "largest difference of a Q-value")
    return f"{said}\n\n" + markdown(headings, lines, 1)


def _small(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def nir() -> str:
    """Spikes in importers of NIR: share that is not the agent's, and in brackets not that of the file's definition."""
    found = json.loads((EXPORTS / "nir.json").read_text(encoding="utf-8"))
    agents = list(dict.fromkeys(row["agent"] for row in found["rows"]))
    lines = []
    for (file, importer), why in WHY.items():
        rows = {row["agent"]: row for row in found["rows"] if (row["file"], row["importer"]) == (file, importer)}
        cells = [_share(rows[agent]) for agent in agents]
        name, _, alone = importer.partition(" ")
        lines.append([file, f"{name} {found['versions'][importer]} {alone}".strip(), why, *cells])
    return markdown(["file", "importer", "why", *agents], lines, 3)


def _share(row: dict[str, Any]) -> str:
    if "error" in row:
        return "refuses"
    if not row["not_the_agents"]:
        return "equal"
    return f"{row['not_the_agents'] / row['spikes']:.1%} ({row['not_as_defined'] / row['spikes']:.1%})"


def counts() -> str:
    """Operations per agent, as this package counts them and as others do."""
    found = json.loads((EXPORTS / "counts.json").read_text(encoding="utf-8"))
    lines = []
    for row in found["rows"]:
        own, theirs, zeros = row["ours"], row["neurobench"], row["neurobench_zeros"]
        columns = (own["ACs"], theirs["ACs"], zeros["ACs"], row["spikingjelly_acs"], own["MACs"], theirs["MACs"])
        lines.append([row["agent"], *(f"{count:,}" for count in columns)])
    neurobench, jelly = (f"{name} {version}" for name, version in found["versions"].items())
    headings = ("accumulates", neurobench, "its zero weights counted", jelly, "multiplications", neurobench)
    return markdown(["agent", *headings], lines, 1)
