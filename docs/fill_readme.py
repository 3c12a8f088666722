"""Writes the results table of README.md from docs/results/*/summary.json; run by ``make results``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- results: made by `make results`, do not edit -->", "<!-- end of results -->"
HEADINGS = (
    "agent",
    "T",
    "mean return",
    "IQM [95 %]",
    "min .. max",
    "minus ANN",
    "spikes",
    "uJ",
    "all",
    "synapses",
    "layer 1 x T",
)


def cell(value: float | None, form: str) -> str:
    """A number, or '-' where nothing was measured."""
    return "-" if value is None else format(value, form)


def line(row: dict[str, Any]) -> list[str]:
    """One agent."""
    reward, energy = row["return"], row["energy"]
    protocol = row["protocol"].removeprefix("greedy").removeprefix(", ")
    difference = row["minus_ann"]["mean"] if row["minus_ann"] else None
    spiking = row["T"] > 0
    return [
        row["agent"] + (f", {protocol}" if protocol else ""),
        str(row["T"]) if spiking else "ANN",
        f"{reward['mean']:.2f}",
        f"{reward['iqm']:.2f} [{reward['ci95'][0]:.2f}, {reward['ci95'][1]:.2f}]",
        f"{reward['min']:g} .. {reward['max']:g}",
        cell(difference, "+.2f"),
        cell(row["mean_spike_rate"], ".3f"),
        cell(energy["snn_uj" if spiking else "ann_uj"], ".3g"),
        *(
            cell(energy.get(key) if spiking else None, ".2f")
            for key in ("ratio", "ratio_synaptic", "ratio_first_layer_times_T")
        ),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table; what is not greedy, or not carried, is said behind the agent's name."""
    lines = [HEADINGS, ["---"] * 2 + ["---:"] * (len(HEADINGS) - 2)]
    lines += [line(row) for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Replaces what stands between the two marks."""
    parts = []
    for path in sorted((HERE / "results").glob("*/summary.json")):
        rows = json.loads(path.read_text())
        greedy = [row for row in rows if row["protocol"] == "greedy"]
        seeds, episodes = (max(row[key] for row in greedy) for key in ("training_seeds", "episodes"))
        many = f"{seeds} training seeds, " if seeds > 1 else "1 training seed, "
        parts.append(
            f"**{rows[0]['env']}** ({many}{episodes} episodes per agent, frames: {rows[0]['frames']}, greedy)\n\n{table(rows)}"
        )
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(before + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + after)


if __name__ == "__main__":
    main()
