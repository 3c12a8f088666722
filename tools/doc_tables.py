"""Markdown tables of the pages, made from rows of ``summary.json`` and from records; tools/fill.py puts them in their places.

A row is one agent under one protocol, as :func:`snn_rl.measure.results.summarise` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import figures
import numpy as np

from snn_rl.measure.energy import energy as energy_of
from snn_rl.measure.energy import stored_counts
from snn_rl.measure.results import mean_energy
from snn_rl.measure.stats import over_trainings
from snn_rl.measure.technology import names, price_list
from snn_rl.store import agents
from snn_rl.store.card import Energy

Row = dict[str, Any]
ZEROED = "greedy, membrane zeroed"
RANDOM = (0.01, 0.05)
REWARD = ("agent", "T", "trainings", "mean return", "95 %", "min .. max", "minus ANN")
COST = ("spikes", "µJ", "all", "synapses", "layer 1 x T")


def cell(value: float | None, form: str) -> str:
    """A number, or '-' where nothing was measured."""
    return "-" if value is None else format(value, form)


def markdown(headings: Sequence[str], lines: Iterable[Sequence[str]], words: int) -> str:
    """A Markdown table; all columns but the first ``words`` hold numbers."""
    rule = ["---"] * words + ["---:"] * (len(headings) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *lines])


def numbers(values: Iterable[int]) -> str:
    """``1 or 3``."""
    return " or ".join(map(str, sorted(set(values))))


def interval(row: Row) -> str:
    """95 % interval of the mean return."""
    low, high = row["return"]["mean_ci95"]
    return f"[{low:.2f}, {high:.2f}]"


def greedy(row: Row) -> bool:
    """Played without random actions."""
    return str(row["protocol"]).startswith("greedy")


def _line(row: Row, noisy: Sequence[str]) -> list[str]:
    """One agent's greedy play; ``noisy``: its mean returns under other protocols."""
    reward, energy, spiking = row["return"], row["energy"], row["T"] > 0
    protocol = row["protocol"].removeprefix("greedy").removeprefix(", ")
    return [
        row["agent"] + (f", {protocol}" if protocol else ""),
        str(row["T"]) if spiking else "ANN",
        str(row["training_seeds"]),
        f"{reward['mean']:.2f}",
        interval(row),
        f"{reward['min']:g} .. {reward['max']:g}",
        cell(row["minus_ann"]["mean"] if row["minus_ann"] else None, "+.2f"),
        *noisy,
        cell(row["mean_spike_rate"], ".3f"),
        cell(energy.get("snn_uj" if spiking else "ann_uj"), ".3g"),
        *(
            cell(energy.get(key) if spiking else None, ".2f")
            for key in ("ratio", "ratio_synaptic", "ratio_first_layer_times_T")
        ),
    ]


def section(rows: Sequence[Row]) -> str:
    """The table of one environment under a line that says how it was measured: one line for each agent's greedy play
    (membranes zeroed: one more); other protocols have a column."""
    plain, noisy = [row for row in rows if greedy(row)], [row for row in rows if not greedy(row)]
    said = f"frames: {numbers(row['frames'] for row in rows)}; per agent and training "
    said += f"{numbers(row['episodes'] // row['training_seeds'] for row in plain)} greedy episodes"
    if noisy:
        said += f", {numbers(row['episodes'] // row['training_seeds'] for row in noisy)} with random or sticky actions"
    if any(row["agents_measured"] < row["training_seeds"] for row in plain):
        said += "; spikes and energy are those of the shipped training"
    means = {(row["agent"], row["protocol"]): f"{row['return']['mean']:.2f}" for row in noisy}
    protocols = list(dict.fromkeys(row["protocol"] for row in noisy))
    lines = []
    for row in plain:
        carried = row["protocol"] == "greedy"
        lines.append(_line(row, [means.get((row["agent"], one), "-") if carried else "-" for one in protocols]))
    return f"**{rows[0]['env']}** ({said})\n\n{markdown([*REWARD, *protocols, *COST], lines, 2)}"


def headline(rows: Sequence[Row], players: Sequence[tuple[str, str, str, str, str]]) -> str:
    """What the README begins with. ``players``: environment, agent, protocol, and the words for who plays and what it sees."""
    found = {(row["env"], row["agent"], row["protocol"]): row for row in rows}
    lines = []
    for env, agent, protocol, player, sees in players:
        row, noisy = found[env, agent, protocol], [found.get((env, agent, f"epsilon {one}")) for one in RANDOM]
        energy, spiking = row["energy"], row["T"] > 0
        lines.append(
            [
                player,
                sees,
                f"{row['return']['mean']:.2f}",
                interval(row),
                str(row["training_seeds"]),
                *(cell(one["return"]["mean"] if one and protocol == "greedy" else None, ".2f") for one in noisy),
                cell(energy["snn_uj" if spiking else "ann_uj"], ".3g"),
                cell(None if spiking else energy["ann_effective_uj"], ".3g"),
            ]
        )
    random = [f"{one:.0%} random actions".replace("%", " %", 1) for one in RANDOM]
    head = ["", "sees", "mean return", "95 %", "trainings", *random, "µJ per decision", "zeros skipped"]
    return markdown(head, lines, 2)


def short(
    rows: Sequence[Row], agents_of: Sequence[tuple[str, str, str, str]], against: Mapping[str, Mapping[str, Any]]
) -> str:
    """One line for each task: the spiking agent beside an ANN that sees as much.

    ``agents_of``: environment, spiking agent, ANN ('' for none), and the words for the task. ``against``: of each agent its
    energies beside those of ANNs, see opponent_tables.py.
    """
    found = {(row["env"], row["agent"], row["protocol"]): row for row in rows}
    lines = []
    for env, agent, ann, task in agents_of:
        own, zeroed, like = found[env, agent, "greedy"], found[env, agent, ZEROED], found.get((env, ann, "greedy"))
        met = against.get(f"{env}/{agent}", {})
        lines.append(
            [
                task,
                cell(like["return"]["mean"] if like else None, ".2f"),
                f"{own['return']['mean']:.2f}",
                interval(own),
                str(own["training_seeds"]),
                f"{zeroed['return']['mean']:.2f}",
                *(cell(met[name].factor if met else None, ".1f") for name in ("ours", "with weight fetches", "INT8")),
                cell(met["ours"].replaced / met["ours"].agent if met else None, ".1f"),
            ]
        )
    head = [
        "task",
        "ANN",
        "spiking, T=1",
        "95 %",
        "trainings",
        "membranes zeroed",
        "strongest ANN / agent",
        "with weight fetches",
        "in INT8",
        "dense ANN / agent",
    ]
    return markdown(head, lines, 1)


def spike_rates(rows: Sequence[Row]) -> str:
    """Spikes per neuron and timestep of each layer of the trained agents, of the mean layer and of the mean neuron."""
    layers, lines = list(rows[0]["spike_rate"]), []
    for row in rows:
        agent = agents.load(f"{row['env']}/{row['agent']}")
        neurons = [int(np.prod(shape)) for shape in agent.network.shapes(agent.observation_shape)]
        rates = [row["spike_rate"][layer] for layer in layers]
        means = [np.mean(rates), np.average(rates, weights=neurons), np.dot(rates, neurons) * row["T"] / sum(neurons)]
        lines.append([row["agent"], *(f"{rate:.3f}" for rate in [*rates, *means])])
    return markdown(["agent", *layers, "mean of the layers", "of the neurons", "of the neurons, per decision"], lines, 1)


def savings(rows: Sequence[Row], skipping: dict[int, float]) -> str:
    """How many times less energy than an ANN's, by each way of counting; also against one that sees more, and against both
    where each multiplication by zero is left out (``skipping``: frames -> µJ)."""
    keys = {"ratio": "all", "ratio_synaptic": "synapses", "ratio_first_layer_times_T": "layer 1 x T"}
    keys["ratio_replaced"] = "all, against the ANN of four frames"
    lines = []
    for row in rows:
        cost = {"ratio_replaced": row["energy"]["ratio"], **row["energy"]}  # who sees four frames replaces that ANN anyway
        cells = [f"{cost[key]:.2f}" for key in keys]
        cells += [f"{skipping[frames] / cost['snn_uj']:.2f}" for frames in (max(skipping), row["frames"])]
        lines.append([row["agent"], f"{cost['snn_uj']:.3g}", *cells])
    sparse = ["that ANN skipping its zeros", "the ANN of as many frames skipping its zeros"]
    return markdown(["agent", "µJ", *keys.values(), *(f"all, against {ann}" for ann in sparse)], lines, 1)


def technologies(rows: Sequence[Row]) -> str:
    """The same operations in other number formats: energy of agent and ANN, and how many times less the agent's is."""
    lines = []
    for row in rows:
        for name in names():
            cost = energy_of(stored_counts(row["energy"], row["T"], row["carry"]), price_list(name)).to_json()
            parts = [f"{cost[key]:.3g}" for key in ("ann_uj", "snn_uj")]
            parts.append(f"{cost['neuron_uj'] + cost['membrane_uj']:.3g}")
            lines.append([row["agent"], name.upper(), *parts, f"{cost['ratio']:.2f}", f"{cost['ratio_synaptic']:.2f}"])
    return markdown(["agent", "numbers", "ANN, µJ", "µJ", "of these neurons and membranes", "all", "synapses"], lines, 2)


def lstm(path: Path) -> Row:
    """The row of the LSTM control, from what tools/recurrent_ppo.py wrote."""
    record = json.loads(path.read_bytes())
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


def probes(records: Sequence[Row]) -> str:
    """R^2 of all linear probes that ``snn_rl.probe`` fitted, one line for each hidden quantity: carried / zeroed."""
    found_in = [found for record in records for found in record["r_squared"].values()]
    layers = sorted({layer for found in found_in for layer in found} - {"observation"})
    lines = []
    for record in records:
        for quantity, found in record["r_squared"].items():
            pairs = [found.get(layer) for layer in layers]
            cells = [f"{pair['carried']:.2f} / {pair['zeroed']:.2f}" if pair else "-" for pair in pairs]
            lines.append([record["agent"], quantity, f"{found['observation']['alone']:.2f}", *cells])
    return markdown(["agent", "hidden", "observation alone", *layers], lines, 2)


def settling(records: Sequence[Row]) -> str:
    """Share of decisions that are those of play, the membranes at rest so many environment steps before."""
    spans = list(records[0]["settling"])
    lines = [[record["agent"], *(f"{record['settling'][span]:.0%}" for span in spans)] for record in records]
    return markdown(["agent", *spans], lines, 1)


def swaps(found: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> str:
    """Mean returns with other membranes than an agent's own, by environment and agent: what tools/swaps.py wrote."""
    lines = []
    for env, of_agents in found.items():
        for agent, returns in of_agents.items():
            lines += [[f"{env}/{agent}", said, f"{np.mean(own):.2f}", str(len(own))] for said, own in returns.items()]
    return markdown(["agent", "membranes", "mean return", "episodes"], lines, 2)


def experiment(record: Row) -> str:
    """What tools/experiments.py wrote: a line for each value of the key that was varied. *converted* is what training began
    with; like spikes and energy it is not known of all shipped agents' trainings."""
    lines, begun = [], any("converted" in one for one in record["results"])
    for value in figures.measured(record):
        trained = figures.runs(record, value)
        means = [figures.mean_return(one) for one in trained]
        rates = [np.mean(list(one["spike_rate"].values())) for one in trained if "spike_rate" in one]
        spent = [Energy.from_json(one["energy"]) for one in trained if "energy" in one]
        before = ", ".join(f"{one['converted']['mean']:.2f}" for one in trained if "converted" in one)
        lines.append(
            [
                figures.shown(value),
                *[before or "-"] * begun,
                ", ".join(f"{one:.2f}" for one in means),
                f"{np.mean(means):.2f}",
                cell(float(np.mean(rates)) if rates else None, ".3f"),
                cell(mean_energy(spent).get("ratio"), ".2f"),
            ]
        )
    head = [
        f"`{record['experiment']['key']}`",
        *["converted"] * begun,
        "mean return of each training",
        "mean",
        "spikes",
        "all",
    ]
    return markdown(head, lines, 1)
