"""Writes the tables of README.md, docs/claims.md and docs/memory.md from docs/results; run by ``make results``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import figures
import numpy as np

from snn_rl.measure.energy import energy as energy_of
from snn_rl.measure.energy import stored_counts
from snn_rl.measure.results import mean_energy
from snn_rl.measure.stats import over_trainings
from snn_rl.measure.tables import robust
from snn_rl.measure.technology import names, price_list
from snn_rl.store import agents
from snn_rl.store.card import Energy
from snn_rl.tasks.environments import load_recipe

DOCS = Path(__file__).parents[1] / "docs"
README, MEMORY, CLAIMS = DOCS.parent / "README.md", DOCS / "memory.md", DOCS / "claims.md"
GAME = "PongNoFrameskip-v4"  # of docs/claims.md
BEGIN, END = "<!-- {}: made by `make results`, do not edit -->", "<!-- end of {} -->"
HEADLINE = (  # environment, agent, protocol, and the words for them
    (GAME, "ann", "greedy", "Pong, ANN", "4 frames"),
    (GAME, "ann-frames1-distill", "greedy", "Pong, ANN", "1 frame"),
    (GAME, "T1-frames1", "greedy", "Pong, spiking, T=1", "1 frame"),
    (
        "PongFlickerNoFrameskip-v4",
        "T1",
        "greedy",
        "Pong that flickers, spiking, T=1",
        "1 frame, hidden with probability 0.5",
    ),
    (
        "PongFlickerNoFrameskip-v4",
        "T1",
        "greedy, membrane zeroed",
        "the same without its memory",
        "1 frame, hidden with probability 0.5",
    ),
)
REWARD = ("agent", "T", "mean return", "IQM [95 %]", "min .. max", "minus ANN")
COST = ("spikes", "uJ", "all", "synapses", "layer 1 x T")


def greedy(row: dict[str, Any]) -> bool:
    """Played without random actions."""
    return str(row["protocol"]).startswith("greedy")


def cell(value: float | None, form: str) -> str:
    """A number, or '-' where nothing was measured."""
    return "-" if value is None else format(value, form)


def line(row: dict[str, Any], noisy: list[str]) -> list[str]:
    """One agent's greedy play; ``noisy``: its mean returns under other protocols."""
    reward, energy = row["return"], row["energy"]
    protocol = row["protocol"].removeprefix("greedy").removeprefix(", ")
    difference = row["minus_ann"]["mean"] if row["minus_ann"] else None
    spiking = row["T"] > 0
    return [
        row["agent"] + (f", {protocol}" if protocol else ""),
        str(row["T"]) if spiking else "ANN",
        f"{reward['mean']:.2f}",
        robust(reward),
        f"{reward['min']:g} .. {reward['max']:g}",
        cell(difference, "+.2f"),
        *noisy,
        cell(row["mean_spike_rate"], ".3f"),
        cell(energy.get("snn_uj" if spiking else "ann_uj"), ".3g"),
        *(
            cell(energy.get(key) if spiking else None, ".2f")
            for key in ("ratio", "ratio_synaptic", "ratio_first_layer_times_T")
        ),
    ]


def markdown(headings: Sequence[str], lines: list[list[str]], words: int) -> str:
    """A Markdown table; all columns but the first ``words`` hold numbers."""
    rule = ["---"] * words + ["---:"] * (len(headings) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *lines])


def table(rows: list[dict[str, Any]]) -> str:
    """Agents, one line each for greedy play (membranes zeroed: one more); other protocols have a column."""
    means = {(row["agent"], row["protocol"]): f"{row['return']['mean']:.2f}" for row in rows}
    noisy = list(dict.fromkeys(row["protocol"] for row in rows if not greedy(row)))
    lines = []
    for row in filter(greedy, rows):
        carried = row["protocol"] == "greedy"
        lines.append(line(row, [means.get((row["agent"], protocol), "-") if carried else "-" for protocol in noisy]))
    return markdown([*REWARD, *noisy, *COST], lines, 2)


def headline(rows: list[dict[str, Any]]) -> str:
    """What the README begins with."""
    found = {(row["env"], row["agent"], row["protocol"]): row for row in rows}
    lines = []
    for game, agent, protocol, player, seen in HEADLINE:
        row = found[game, agent, protocol]
        reward, energy = row["return"], row["energy"]
        costs = [energy.get("snn_uj" if row["T"] else "ann_uj"), None if row["T"] else energy["ann_effective_uj"]]
        cells = [f"{reward['mean']:.2f}", robust(reward), str(row["training_seeds"]), *(cell(cost, ".3g") for cost in costs)]
        lines.append([player, seen, *cells])
    return markdown(["", "sees", "mean return", "IQM [95 %]", "trainings", "uJ per decision", "zeros skipped"], lines, 2)


def spike_rates(rows: list[dict[str, Any]]) -> str:
    """Spikes per neuron and timestep of each layer of the trained agents, of the mean layer and of the mean neuron."""
    layers, lines = list(rows[0]["spike_rate"]), []
    for row in rows:
        agent = agents.load(f"{row['env']}/{row['agent']}")
        neurons = [int(np.prod(shape)) for shape in agent.network.shapes(agent.observation_shape)]
        rates = [row["spike_rate"][layer] for layer in layers]
        means = [np.mean(rates), np.average(rates, weights=neurons), np.dot(rates, neurons) * row["T"] / sum(neurons)]
        lines.append([row["agent"], *(f"{rate:.3f}" for rate in [*rates, *means])])
    return markdown(["agent", *layers, "mean of the layers", "of the neurons", "of the neurons, per decision"], lines, 1)


def savings(rows: list[dict[str, Any]], skipping: dict[int, float]) -> str:
    """How many times less energy than an ANN's, by each way of counting; also against one that sees more, and against both
    where each multiplication by zero is left out (``skipping``: frames -> uJ)."""
    keys = {"ratio": "all", "ratio_synaptic": "synapses", "ratio_first_layer_times_T": "layer 1 x T"}
    keys["ratio_replaced"] = "all, against the ANN of four frames"
    lines = []
    for row in rows:
        cost = {"ratio_replaced": row["energy"]["ratio"], **row["energy"]}  # who sees four frames replaces that ANN anyway
        cells = [f"{cost[key]:.2f}" for key in keys]
        cells += [f"{skipping[frames] / cost['snn_uj']:.2f}" for frames in (max(skipping), row["frames"])]
        lines.append([row["agent"], f"{cost['snn_uj']:.3g}", *cells])
    sparse = ["that ANN skipping its zeros", "the ANN of as many frames skipping its zeros"]
    return markdown(["agent", "uJ", *keys.values(), *(f"all, against {ann}" for ann in sparse)], lines, 1)


def technologies(rows: list[dict[str, Any]]) -> str:
    """The same operations in other number formats: energy of agent and ANN, and how many times less the agent's is."""
    lines = []
    for row in rows:
        for name in names():
            cost = energy_of(stored_counts(row["energy"], row["T"], row["carry"]), price_list(name))
            parts = [f"{cost[key]:.3g}" for key in ("ann_uj", "snn_uj")]
            parts.append(f"{cost['neuron_uj'] + cost['membrane_uj']:.3g}")
            lines.append([row["agent"], name.upper(), *parts, f"{cost['ratio']:.2f}", f"{cost['ratio_synaptic']:.2f}"])
    return markdown(["agent", "numbers", "ANN, uJ", "uJ", "of these neurons and membranes", "all", "synapses"], lines, 2)


def lstm(path: Path) -> dict[str, Any]:
    """The row of the LSTM control, from what tools/recurrent_ppo.py wrote."""
    record = json.loads(path.read_text())
    groups = [np.array([episode["return"] for episode in one["episodes"]]) for one in record["runs"]]
    return {
        "env": record["env"],
        "agent": record["agent"],
        "T": 0,
        "frames": 1,
        "protocol": "greedy",
        "return": over_trainings(groups),
        "minus_ann": None,
        "mean_spike_rate": None,
        "energy": {},
        "training_seeds": len(groups),
        "agents_measured": len(groups),
        "episodes": sum(map(len, groups)),
    }


def read_outs(records: list[dict[str, Any]]) -> str:
    """R^2 of all linear read-outs that ``snn_rl.memory`` made, one line for each hidden quantity: carried / zeroed."""
    found_in = [found for record in records for found in record["r_squared"].values()]
    layers = sorted({layer for found in found_in for layer in found} - {"observation"})
    lines = []
    for record in records:
        for quantity, found in record["r_squared"].items():
            pairs = [found.get(layer) for layer in layers]
            cells = [f"{pair['carried']:.2f} / {pair['zeroed']:.2f}" if pair else "-" for pair in pairs]
            lines.append([record["agent"], quantity, f"{found['observation']['alone']:.2f}", *cells])
    return markdown(["agent", "hidden", "observation alone", *layers], lines, 2)


def settling(records: list[dict[str, Any]]) -> str:
    """Share of decisions that are those of play, the membranes at rest so many environment steps before."""
    spans = list(records[0]["settling"])
    lines = [[record["agent"], *(f"{record['settling'][span]:.0%}" for span in spans)] for record in records]
    return markdown(["agent", *spans], lines, 1)


def numbers(values: Iterable[int]) -> str:
    """``1 or 3``."""
    return " or ".join(map(str, sorted(set(values))))


def section(rows: list[dict[str, Any]]) -> str:
    """The table of one environment under a line that says how it was measured."""
    plain, noisy = [row for row in rows if greedy(row)], [row for row in rows if not greedy(row)]
    seeds = numbers(row["training_seeds"] for row in plain)
    said = (
        f"{seeds} training seed{'s' * (seeds != '1')}, frames: {numbers(row['frames'] for row in rows)}; per agent and seed "
    )
    said += f"{numbers(row['episodes'] // row['training_seeds'] for row in plain)} greedy episodes"
    if noisy:
        said += f", {numbers(row['episodes'] // row['training_seeds'] for row in noisy)} with random or sticky actions"
    if any(row["agents_measured"] < row["training_seeds"] for row in plain):
        said += "; spikes and energy are those of the shipped seed"
    return f"**{rows[0]['env']}** ({said})\n\n{table(rows)}"


def experiment(path: Path) -> str:
    """Table and figure of what tools/experiments.py wrote: a line for each value of the key that was varied. *converted* is
    what training began with; like spikes and energy it is not known of all shipped agents' trainings."""
    record = json.loads(path.read_text())
    setting = record["experiment"]
    key, image = setting["key"], path.with_suffix(".png")
    figures.draw(record).savefig(image)
    lines, begun = [], any("converted" in one for one in record["results"])
    for value in figures.measured(record):
        trained = figures.runs(record, value)
        groups = [np.array([episode["return"] for episode in one["episodes"]]) for one in trained]
        rates = [np.mean(list(one["spike_rate"].values())) for one in trained if "spike_rate" in one]
        measured = [Energy.from_json(one["energy"]) for one in trained if "energy" in one]
        before = ", ".join(f"{one['converted']['mean']:.2f}" for one in trained if "converted" in one)
        lines.append(
            [
                figures.shown(value),
                *[before or "-"] * begun,
                ", ".join(f"{group.mean():.2f}" for group in groups),
                robust(over_trainings(groups)),
                cell(float(np.mean(rates)) if rates else None, ".3f"),
                cell(mean_energy(measured).get("ratio"), ".2f"),
            ]
        )
    head = [f"`{key}`", *["converted"] * begun, "mean return of each training", "IQM [95 %]", "spikes", "all"]
    rows = markdown(head, lines, 1)
    return f"{rows}\n\n![Mean return of each training]({image.relative_to(DOCS)})"


def fill(path: Path, name: str, parts: list[str]) -> None:
    """Replaces what stands between two marks; without any parts they stay empty."""
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = path.read_text().split(begin)
    path.write_text(before + "\n\n".join([begin, *parts, end]) + rest.split(end)[1])


def main() -> None:
    """Tasks that hide something go to docs/memory.md, all others to the README; Pong with one frame to both."""
    readme, memory, every = [], [], []
    for path in sorted((DOCS / "results").glob("*/summary.json")):
        rows = json.loads(path.read_text())
        every += rows
        control = path.with_name("recurrent_ppo.json")
        if load_recipe(rows[0]["env"]).teacher:
            memory.append(section(([lstm(control)] if control.exists() else []) + rows))
            continue
        readme.append(section(rows))
        fewer = [row for row in rows if row["frames"] < max(one["frames"] for one in rows) or not row["T"]]
        if any(row["T"] for row in fewer):
            memory.append(section(fewer))
    fill(README, "headline", [headline(every)])
    fill(README, "results", readme)
    fill(MEMORY, "results", memory)
    records = [json.loads(path.read_text()) for path in sorted((DOCS / "results").glob("*/memory.json"))]
    fill(MEMORY, "read-outs", [read_outs(records)])
    fill(MEMORY, "settling", [settling(records)])
    for path in (DOCS / "results").glob("*/*.json"):
        for page in (MEMORY, CLAIMS):
            if BEGIN.format(path.stem) in page.read_text():
                fill(page, path.stem, [experiment(path)])
    rows = json.loads((DOCS / "results" / GAME / "summary.json").read_text())
    trained = [row for row in rows if row["T"] and row["protocol"] == "greedy" and row["series"] in ("", "frames1")]
    fill(CLAIMS, "spike-rates", [spike_rates(trained)])
    anns = [row for row in rows if not row["T"] and row["protocol"] == "greedy"]
    fill(CLAIMS, "technologies", [technologies([row for row in trained if row["T"] in (1, 5)])])
    fill(CLAIMS, "energy", [savings(trained, {row["frames"]: row["energy"]["ann_effective_uj"] for row in anns})])


if __name__ == "__main__":
    main()
