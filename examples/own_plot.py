"""A plot of your own from the numbers of a report: mean return against energy, with intervals over trainings.

python examples/own_plot.py
python examples/own_plot.py runs/a runs/b CartPole-v1 --out compare.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.figure import Figure

from snn_rl import report


def summary(agents: list[str]) -> list[dict[str, Any]]:
    """The rows of ``summary.json``: one per agent and protocol. Nothing is played, the agents' files say it all."""
    with TemporaryDirectory() as folder:
        report.main([*agents, "--out", folder])
        return [row for path in sorted(Path(folder).rglob("summary.json")) for row in json.loads(path.read_bytes())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="*", default=["CartPoleNoVel-v1"], help="folders of agents or of runs, shipped names")
    parser.add_argument("--out", type=Path, default=Path("own_plot.png"))
    args = parser.parse_args()
    figure = Figure(figsize=(7, 4), layout="constrained")
    plot = figure.subplots()
    for row in summary(args.agents):
        if row["protocol"] != "greedy":
            continue
        spent = row["energy"].get("snn_uj", row["energy"]["ann_uj"])  # microjoules per decision
        low, high = row["return"]["mean_ci95"]
        plot.plot([spent, spent], [low, high], color="grey")
        plot.plot(
            [spent], [row["return"]["mean"]], "o", label=f"{row['env']}/{row['agent']} ({row['training_seeds']} trainings)"
        )
    plot.set(xlabel="energy per decision (µJ)", ylabel="mean return", xscale="log")
    plot.legend(fontsize="small")
    figure.savefig(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
