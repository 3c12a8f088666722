"""The plots: reward, energy and spike rates against T, from ``report.summarise``; how learning went; what membranes hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

ANN, COLOURS = "#333333", ("#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00")  # Okabe and Ito's, for the colour-blind
PARTS = {  # of an SNN's energy, from the bottom of the stack to its top
    "first_layer_uj": ("first layer (MACs, once per decision)", "#0072B2"),
    "accumulate_uj": ("accumulates (one per spike and synapse)", "#56B4E9"),
    "neuron_uj": ("neuron updates", "#E69F00"),
    "membrane_uj": ("membrane traffic", "#F0E442"),
}


def draw(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """The plots of one environment by file name, of its greedy (else its first) protocol; none where no agent spikes."""
    protocols = [row["protocol"] for row in rows]
    protocol = "greedy" if "greedy" in protocols else protocols[0]
    anns = [row for row in rows if row["protocol"] == protocol and not row["T"]]
    snns = [dict(row) for row in rows if row["protocol"] == protocol and row["T"]]
    snns.sort(key=lambda row: (row["T"], row["series"]))
    several = len({row["frames"] for row in snns}) > 1
    kinds: dict[str, str] = {}  # what tells agents of the same T apart -> its colour
    for row in snns:
        name = re.sub(r"-?frames\d+", "", row["series"]).strip("-") or "distilled"
        zeroed = ["zeroed"] * (not row["carry"] and "zeroed" not in name)
        row["kind"] = ", ".join([name, *zeroed, *[_frames(row["frames"])] * several])
        kinds.setdefault(row["kind"], COLOURS[len(kinds) % len(COLOURS)])
    title, out = f"{rows[0]['env']}, {protocol}", {}
    if snns:
        out["reward_vs_T.png"] = _reward(title, snns, anns, kinds)
    if measured := [row for row in snns if row["energy"]]:
        out["energy_vs_T.png"] = _energy(title, measured, anns)
    if measured := [row for row in snns if row["spike_rate"]]:
        out["spike_rate.png"] = _rates(title, measured, kinds)
    return out


def _ann(name: str) -> str:
    return re.sub("^ann", "ANN", name)


def _frames(number: int) -> str:
    return f"{number} frame{'s' * (number > 1)}"


def panel(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot in the style of all others."""
    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    axes.set_title(title, loc="left", fontsize=11)
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def _gap(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float] | None:
    """The widest stretch without any of the intervals, where it takes more than half of what they span: below it lies what
    would make all differences above it invisible."""
    edges, top, widest = sorted(zip(lows, highs, strict=True)), -np.inf, (0.0, 0.0)
    for low, high in edges:
        if np.isfinite(top) and low - top > widest[1] - widest[0]:
            widest = (float(top), low)
        top = max(top, high)
    return widest if widest[1] - widest[0] > 0.5 * (max(highs) - min(lows)) else None


def _reward(title: str, snns: list[dict[str, Any]], anns: list[dict[str, Any]], kinds: dict[str, str]) -> Figure:
    intervals = [row["return"]["mean_ci95"] for row in (*snns, *anns)]
    gap = _gap(*zip(*intervals, strict=True))
    if gap and not any(row["return"]["mean"] > gap[1] for row in snns):
        gap = None  # nothing above it differs: all that is to be seen lies below
    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    parts = figure.subplots(2 if gap else 1, sharex=True, squeeze=False, height_ratios=(4, 1) if gap else None)[:, 0]
    for axes in parts:
        _style(axes)
        for ann, dash in zip(anns, ("-", ":", "-.", "--"), strict=False):
            axes.axhline(ann["return"]["mean"], color=ANN, linewidth=1.5, linestyle=dash, label=_ann(ann["agent"]))
            axes.axhspan(*ann["return"]["mean_ci95"], color=ANN, alpha=0.12, linewidth=0)
        for n, (kind, colour) in enumerate(kinds.items()):
            group = [row for row in snns if row["kind"] == kind]
            mean = np.array([row["return"]["mean"] for row in group])
            error = np.abs(np.array([row["return"]["mean_ci95"] for row in group]).T - mean)
            T = [row["T"] + 0.08 * n for row in group]  # side by side where their T is the same
            style = "Ds^v"[n % 4] if group[0]["series"] else "o-"
            axes.errorbar(T, mean, error, fmt=style, color=colour, capsize=3, linewidth=1.8, markersize=6, label=kind)
    if gap:
        ends = (min(low for low, _ in intervals), *gap, max(high for _, high in intervals))
        for axes, low, high in ((parts[1], *ends[:2]), (parts[0], *ends[2:])):
            room = max(0.15 * (high - low), 0.01 * (ends[3] - ends[0]))
            axes.set_ylim(low - room, high + room)
        parts[0].spines["bottom"].set_visible(False)
        parts[0].tick_params(axis="x", length=0)
        parts[0].plot(
            0, 0, marker=[(-1, -0.5), (1, 0.5)], color="k", clip_on=False, transform=parts[0].transAxes
        )  # broken axis
        parts[1].plot(0, 1, marker=[(-1, -0.5), (1, 0.5)], color="k", clip_on=False, transform=parts[1].transAxes)
    parts[0].set_title(title, loc="left", fontsize=11)
    parts[0].set_ylabel("mean return, 95 % interval")
    parts[-1].set_xlabel("timesteps per decision T")
    parts[-1].set_xticks(range(1, max(row["T"] for row in snns) + 1))
    parts[-1].set_xlim(0.6, max(row["T"] for row in snns) + 0.6)
    figure.legend(*parts[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    return figure


def _energy(title: str, snns: list[dict[str, Any]], anns: list[dict[str, Any]]) -> Figure:
    figure, axes = panel(title, "timesteps per decision T", "energy per decision (uJ)")
    figure.set_figwidth(max(7, 0.95 * len(snns)))  # the words under and over the bars need room
    bottom = np.zeros(len(snns))
    for part, (name, colour) in PARTS.items():
        height = np.array([row["energy"][part] for row in snns])
        axes.bar(range(len(snns)), height, 0.62, bottom, color=colour, label=name)
        bottom += height
    for x, row in enumerate(snns):
        cost = row["energy"]
        words = [f"ANN / {cost['ratio']:.1f}"]
        if "ratio_replaced" in cost:  # two lines of ANNs
            words = [f"solid / {cost['ratio_replaced']:.1f}", f"dotted / {cost['ratio']:.1f}"]
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # a line of an ANN may lie behind it
        axes.text(x, bottom[x], "\n".join(words), ha="center", va="bottom", fontsize=8, bbox=paper)
    dense = {row["energy"]["ann_uj"]: _frames(row["frames"]) for row in snns}
    for (uj, seen), line in zip(sorted(dense.items(), reverse=True), ("-", ":", "-."), strict=False):
        axes.axhline(uj, color=ANN, linewidth=1.5, linestyle=line, label=f"ANN, dense{', ' + seen if len(dense) > 1 else ''}")
    sparse = {row["energy"]["ann_effective_uj"]: row["agent"] for row in anns if "ann_effective_uj" in row["energy"]}
    for n, (uj, name) in enumerate(sorted(sparse.items(), reverse=True)):
        label = f"{_ann(name) if len(sparse) > 1 else 'ANN'}, non-zero only"
        axes.axhline(uj, color=ANN, linestyle=(0, (4 - n % 3, 2 + n)), label=label)
    axes.set_xticks(range(len(snns)), ["\n".join([str(row["T"]), *row["kind"].split(", ")]) for row in snns])
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _rates(title: str, snns: list[dict[str, Any]], kinds: dict[str, str]) -> Figure:
    figure, axes = panel(title, "layer", "spikes per neuron and timestep")
    layers, width = list(dict.fromkeys(layer for row in snns for layer in row["spike_rate"])), 0.8 / len(snns)
    snns = sorted(snns, key=lambda row: list(kinds).index(row["kind"]))
    for n, row in enumerate(snns):  # agents of one kind side by side in its colour, paler with T
        x = np.arange(len(layers)) + (n - (len(snns) - 1) / 2) * width
        like = [other["T"] for other in snns if other["kind"] == row["kind"]]
        strength = 1 - 0.8 * like.index(row["T"]) / len(like)
        colour = 1 - strength * (1 - np.array(to_rgb(kinds[row["kind"]])))  # no alpha: the grid would shine through
        rates = [row["spike_rate"].get(layer, np.nan) for layer in layers]
        axes.bar(x, rates, 0.9 * width, color=colour, label=f"T={row['T']} {row['kind']}")
    axes.set_xticks(range(len(layers)), layers)
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def learning(curves: Mapping[str, Mapping[Any, Any]], title: str) -> Figure:
    """How learning from reward went: mean return of the games that were learnt from, and of the evaluations.

    Args:
        curves: by agent, then by training seed: ``training`` and ``selection``, lists of ``(environment steps, return)``.
        title: of the figure.
    """
    figure, axes = panel(title, "environment steps", "mean return")
    for n, (name, seeds) in enumerate(curves.items()):
        for k, curve in enumerate(seeds.values()):
            colour = COLOURS[n % len(COLOURS)]
            axes.plot(
                *zip(*curve["training"], strict=True),
                color=colour,
                linewidth=1.2,
                label=None if k else f"{name}, last 100 games",
            )
            label = None if k else f"{name}, selection"
            axes.plot(*zip(*curve["selection"], strict=True), "o", color=colour, markersize=5, label=label)
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    return figure


class Membranes(NamedTuple):
    """What the figure of membranes shows of one hidden quantity, by environment step: its values, what a linear probe reads
    out of a layer's membranes, and the membrane of one of the layer's neurons, each ``(steps,)``."""

    quantity: str
    hidden: NDArray[np.float64]
    layer: str
    read: NDArray[np.float64]
    neuron: int
    membrane: NDArray[np.float64]


def membranes(rows: Sequence[Membranes], title: str) -> Figure:
    """What membranes remember over environment steps, one panel for each hidden quantity."""
    figure = Figure(figsize=(7, 2.2 * len(rows) + 0.8), dpi=150, layout="constrained")
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    for n, row in enumerate(rows):
        axes = figure.add_subplot(len(rows), 1, n + 1)
        other = axes.twinx()
        lines = axes.plot(row.hidden, color=ANN, linewidth=1.6, label="hidden")
        lines += axes.plot(row.read, color=COLOURS[0], linewidth=1.0, label="linear probe of the layer's membranes")
        lines += other.plot(row.membrane, color=COLOURS[1], linewidth=0.8, alpha=0.7, label="one membrane")
        axes.set_ylabel(row.quantity, color=ANN)
        other.set_ylabel(f"{row.layer}, neuron {row.neuron}", color=COLOURS[1])
        axes.spines["top"].set_visible(False)
        other.spines["top"].set_visible(False)
    axes.set_xlabel("environment step")
    figure.legend(handles=lines, frameon=False, loc="outside lower center", ncols=3)
    return figure
