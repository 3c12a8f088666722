"""The plots: reward, energy and spike rates against T, from ``results.summarise``; how learning went; what membranes hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snn_rl.store.card import Points

ANN, COLOURS = "#333333", ("#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00")  # Okabe and Ito's, for the colour-blind
LINES = (("-", 3.5, "#aaaaaa"), ("--", 2.0, "#333333"), (":", 2.0, "#000000"), ("-.", 1.0, "#555555"))  # of ANNs
PARTS = {  # of an SNN's energy, from the bottom of the stack to its top
    "first_layer_uj": ("first layer (MACs, once per decision)", "#0072B2"),
    "accumulate_uj": ("accumulates (one per spike and synapse)", "#56B4E9"),
    "neuron_uj": ("neuron updates", "#E69F00"),
    "membrane_uj": ("membrane traffic", "#F0E442"),
}
WORDS = {  # parts of agents' names
    "ann": "ANN",
    "converted": "only converted",
    "distill": "distilled",
    "td": "learnt from reward",
    "zeroed": "membranes zeroed",
}


WIDTH, DPI = 5.2, 200  # inches: at half the width of a page letters of 9 and 10 points are still read


@dataclass(frozen=True)
class _Agent:
    """What the plots show of an agent: ``kind`` says in words what tells it from others of its T."""

    kind: str
    T: int
    frames: int
    of_chain: bool  # one of T5 to T1, which a line connects
    mean: float
    interval: tuple[float, float]
    over: str
    energy: Mapping[str, float]  # µJ; empty where nothing was measured
    spike_rate: Mapping[str, float]


def draw(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """The plots of one environment by file name, of its greedy (else its first) protocol; none where no agent spikes.

    Args:
        rows: of one environment, from :func:`~snn_rl.measure.results.summarise`.
    """
    protocols = [row["protocol"] for row in rows]
    protocol = "greedy" if "greedy" in protocols else protocols[0]
    rows = [row for row in rows if row["protocol"] == protocol]
    anns = _agents([row for row in rows if not row["T"]])
    snns = _agents(sorted((row for row in rows if row["T"]), key=lambda row: (row["T"], row["series"])))
    colours = {kind: COLOURS[n % len(COLOURS)] for n, kind in enumerate(dict.fromkeys(agent.kind for agent in snns))}
    title, out = f"{rows[0]['env']}, {protocol}", {}
    if snns:
        out["reward_vs_T.png"] = _reward(title, snns, anns, colours)
    if measured := [agent for agent in snns if agent.energy]:
        out["energy_vs_T.png"] = _energy(title, measured, anns)
    if measured := [agent for agent in snns if agent.spike_rate]:
        out["spike_rate.png"] = _rates(title, measured, colours)
    return out


def _agents(rows: Sequence[dict[str, Any]]) -> list[_Agent]:
    """Agents that appear together; their kinds name the frames where these differ."""
    several, agents = len({row["frames"] for row in rows}) > 1, []
    for row in rows:
        words = _words(re.sub(r"-?frames\d+", "", row["series"]).strip("-") or "distill")
        if row["T"] and not row["carry"] and WORDS["zeroed"] not in words:
            words.append(WORDS["zeroed"])
        agents.append(
            _Agent(
                kind=", ".join([*words, *[_frames(row["frames"])] * several]),
                T=row["T"],
                frames=row["frames"],
                of_chain=not row["series"],
                mean=row["return"]["mean"],
                interval=tuple(row["return"]["mean_ci95"]),
                over=row["return"]["over"],
                energy=row["energy"],
                spike_rate=row["spike_rate"] or {},
            )
        )
    return agents


def _words(name: str) -> list[str]:
    """A name in words: of ``ann-distill`` "ANN" and "distilled"; other names stay as they are, their folders too."""
    name, space, folder = name.partition(" ")
    words: list[str] = []
    for part in name.split("-"):
        if part in WORDS or not words or words[-1] in WORDS.values():
            words.append(WORDS.get(part, part))
        else:
            words[-1] += f"-{part}"
    return [*words[:-1], words[-1] + space + folder]


def _frames(number: int) -> str:
    return f"{number} frame{'s' * (number > 1)}"


def panel(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot in the style of all others."""
    figure = Figure(figsize=(WIDTH, 3.4), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    axes.set_title(title, loc="left", fontsize=11)
    _style(axes)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def legend(figure: Figure, axes: Axes, most: int = 3, title: str | None = None) -> None:
    """A legend under the plot, in as many columns as there is room for; the figure grows with its rows."""
    handles, labels = axes.get_legend_handles_labels()
    width = 0.32 + 0.066 * max(map(len, labels))  # of a column in inches
    columns = max(min(most, int(figure.get_figwidth() / width)), 1)
    rows = -(-len(labels) // columns) + (title is not None)
    figure.set_figheight(figure.get_figheight() + 0.2 * max(rows - 3, 0))
    close = {"handlelength": 1.2, "columnspacing": 1.0, "fontsize": 9, "title_fontsize": 9}
    figure.legend(handles, labels, title=title, frameon=False, loc="outside lower center", ncols=columns, **close)


def _reward(title: str, snns: list[_Agent], anns: list[_Agent], colours: dict[str, str]) -> Figure:
    """Mean return against T; the axis is broken where nothing lies in most of it."""
    intervals = [agent.interval for agent in (*snns, *anns)]
    gap = _gap(*zip(*intervals, strict=True))
    if gap and not any(agent.mean > gap[1] for agent in snns):
        gap = None  # nothing above it differs: all that is to be seen lies below
    figure = Figure(figsize=(WIDTH, 3.6), dpi=DPI, layout="constrained")
    parts = figure.subplots(2 if gap else 1, sharex=True, squeeze=False, height_ratios=(4, 1) if gap else None)[:, 0]
    for axes in parts:
        _style(axes)
        _returns(axes, snns, anns, colours)
    if gap:
        _break(parts[0], parts[1], intervals, gap)
    over = {agent.over for agent in (*snns, *anns)}
    words = over.pop() if len(over) == 1 else "trainings, of a single training over its episodes"
    parts[0].set_title(title, loc="left", fontsize=11)
    parts[0].set_ylabel("mean return, 95 % interval")
    parts[-1].set_xlabel("timesteps per decision T")
    parts[-1].set_xticks(range(1, max(agent.T for agent in snns) + 1))
    parts[-1].set_xlim(0.6, max(agent.T for agent in snns) + 0.6)
    legend(figure, parts[0], title=f"intervals over {words}")
    return figure


def _returns(axes: Axes, snns: list[_Agent], anns: list[_Agent], colours: dict[str, str]) -> None:
    for ann, (dash, width, colour) in zip(anns, LINES, strict=False):  # thinner from one to the next, where they are one
        axes.axhline(ann.mean, color=colour, linewidth=width, linestyle=dash, label=ann.kind)
        axes.axhspan(*ann.interval, color=ANN, alpha=0.12, linewidth=0)
    for n, (kind, colour) in enumerate(colours.items()):
        group = [agent for agent in snns if agent.kind == kind]
        mean = np.array([agent.mean for agent in group])
        error = np.abs(np.array([agent.interval for agent in group]).T - mean)
        T = [agent.T + 0.08 * n for agent in group]  # side by side where their T is the same
        style = "o-" if group[0].of_chain else "Ds^v"[n % 4]
        axes.errorbar(T, mean, error, fmt=style, color=colour, capsize=3, linewidth=1.8, markersize=6, label=kind)


def _gap(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float] | None:
    """The widest stretch without any of the intervals, where it takes more than half of what they span: below it lies what
    would make all differences above it invisible."""
    edges, top, widest = sorted(zip(lows, highs, strict=True)), -np.inf, (0.0, 0.0)
    for low, high in edges:
        if np.isfinite(top) and low - top > widest[1] - widest[0]:
            widest = (float(top), low)
        top = max(top, high)
    return widest if widest[1] - widest[0] > 0.5 * (max(highs) - min(lows)) else None


def _break(upper: Axes, lower: Axes, intervals: Sequence[tuple[float, float]], gap: tuple[float, float]) -> None:
    """Gives each of two axes its side of the gap and marks where they are broken."""
    bottom, top = min(low for low, _ in intervals), max(high for _, high in intervals)
    for axes, low, high, edge in ((lower, bottom, gap[0], 1), (upper, gap[1], top, 0)):
        room = max(0.15 * (high - low), 0.01 * (top - bottom))
        axes.set_ylim(low - room, high + room)
        axes.plot(0, edge, marker=[(-1, -0.5), (1, 0.5)], color="k", clip_on=False, transform=axes.transAxes)
    upper.spines["bottom"].set_visible(False)
    upper.tick_params(axis="x", length=0)


def _energy(title: str, snns: list[_Agent], anns: list[_Agent]) -> Figure:
    """Energy per decision: a bar for each ANN and for each agent, with its µJ and what part that is of its ANN's."""
    dense = {agent.energy["ann_uj"]: _frames(agent.frames) for agent in snns}
    several = len(dense) > 1
    rows = [(f"ANN, {seen}, dense" if several else "ANN, dense", uj) for uj, seen in dense.items()]
    sparse = {agent.energy["ann_effective_uj"]: agent.kind for agent in anns if "ann_effective_uj" in agent.energy}
    rows += [(f"{kind if len(sparse) > 1 else 'ANN'}, non-zero only", uj) for uj, kind in sparse.items()]
    rows.sort(key=lambda row: -row[1])
    names = [name for name, _ in rows] + [f"T={agent.T}, {agent.kind}" for agent in snns]
    figure, axes = panel(title, "energy per decision (µJ)", "")
    figure.set_figheight(0.27 * len(names) + 2.2)
    axes.barh(range(len(rows)), [uj for _, uj in rows], 0.7, color="#999999", label="ANN")
    for n, (_, uj) in enumerate(rows):
        axes.annotate(f"{uj:.3g}", (uj, n), (3, 0), textcoords="offset points", va="center", fontsize=9)
    y, left = np.arange(len(rows), len(names)), np.zeros(len(snns))
    for part, (name, colour) in PARTS.items():
        width = np.array([agent.energy[part] for agent in snns])
        axes.barh(y, width, 0.7, left, color=colour, label=name)
        left += width
    for n, agent in enumerate(snns):
        ratio = agent.energy["ratio"]
        words = f"{left[n]:.3g} = ANN " + (f"/ {ratio:.1f}" if ratio >= 1 else f"x {1 / ratio:.1f}")
        axes.annotate(words, (left[n], y[n]), (3, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_xlim(0, 1.45 * max(*left, *dense))  # room for the numbers
    says = "ANN / n: the dense ANN of the same shape uses n times as much"
    if any(agent.energy["ratio"] < 1 for agent in snns):
        says += "\nANN x n: this agent uses n times as much as that ANN"
    legend(figure, axes, most=2, title=says)
    return figure


def _rates(title: str, snns: list[_Agent], colours: dict[str, str]) -> Figure:
    """Spike rate of each layer: agents of one kind side by side in its colour, paler with T."""
    figure, axes = panel(title, "layer", "spikes per neuron and timestep")
    layers, width = list(dict.fromkeys(layer for agent in snns for layer in agent.spike_rate)), 0.8 / len(snns)
    snns = sorted(snns, key=lambda agent: list(colours).index(agent.kind))
    for n, agent in enumerate(snns):
        x = np.arange(len(layers)) + (n - (len(snns) - 1) / 2) * width
        like = [other.T for other in snns if other.kind == agent.kind]
        strength = 1 - 0.8 * like.index(agent.T) / len(like)
        colour = 1 - strength * (1 - np.array(to_rgb(colours[agent.kind])))  # no alpha: the grid would shine through
        rates = [agent.spike_rate.get(layer, np.nan) for layer in layers]
        axes.bar(x, rates, 0.9 * width, color=colour, label=f"T={agent.T}, {agent.kind}")
    axes.set_xticks(range(len(layers)), layers)
    legend(figure, axes)
    return figure


def learning(curves: Mapping[str, Mapping[int | None, Mapping[str, Points]]], title: str) -> Figure:
    """How learning from reward went: mean return of the games that were learnt from, and of the evaluations.

    Args:
        curves: by agent, then by training seed: ``training`` and ``selection``, lists of ``(environment steps, return)``.
        title: of the figure.
    """
    figure, axes = panel(title, "environment steps", "mean return")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    for n, (agent, seeds) in enumerate(curves.items()):
        colour, name = COLOURS[n % len(COLOURS)], ", ".join(_words(re.sub(r"^T(?=\d)", "T=", agent)))
        for k, curve in enumerate(seeds.values()):
            learnt, selected = (None, None) if k else (f"{name}: last 100 games of training", f"{name}: evaluations")
            axes.plot(*zip(*curve["training"], strict=True), color=colour, linewidth=1.2, label=learnt)
            axes.plot(*zip(*curve["selection"], strict=True), "o", color=colour, markersize=5, label=selected)
    legend(figure, axes, most=2)
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
    figure = Figure(figsize=(WIDTH, 1.8 * len(rows) + 0.8), dpi=DPI, layout="constrained")
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    for n, row in enumerate(rows):
        axes = figure.add_subplot(len(rows), 1, n + 1)
        other = axes.twinx()
        lines = axes.plot(row.hidden, color=ANN, linewidth=1.6, label="hidden from the agent")
        lines += axes.plot(row.read, color=COLOURS[0], linewidth=1.0, label="linear probe of all membranes")
        lines += other.plot(row.membrane, color=COLOURS[1], linewidth=0.8, alpha=0.7, label="one membrane")
        axes.set_ylabel(row.quantity, color=ANN)
        other.set_ylabel(f"{row.layer}, neuron {row.neuron}", color=COLOURS[1])
        axes.spines["top"].set_visible(False)
        other.spines["top"].set_visible(False)
    axes.set_xlabel("environment step")
    figure.legend(handles=lines, frameon=False, loc="outside lower center", ncols=2)
    return figure
