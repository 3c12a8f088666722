"""Figures of experiments, from what tools/experiments.py wrote; drawn by tools/fill.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snn_rl.measure.plots import COLOURS, legend, panel

LEAST_SPAN = 0.05  # of an axis, as a part of its largest number: less would make a difference of nothing look large


def runs(record: dict[str, Any], value: Any) -> list[dict[str, Any]]:
    """The trainings with one value of the key that was varied."""
    return [one for one in record["results"] if one[record["experiment"]["key"]] == value]


def shown(value: Any) -> str:
    """A value of the key that was varied, in words."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(one)}" for key, one in value.items())
    if isinstance(value, list):
        return " to ".join(map(shown, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def words(key: str) -> str:
    """A key of a recipe in words."""
    return {"start": "T of the first stage"}.get(key, key.replace("_", " "))


def measured(record: dict[str, Any]) -> list[Any]:
    """The values of the key of which there is a training: an experiment may not be finished."""
    return [value for value in record["experiment"]["values"] if runs(record, value)]


def mean_return(run: dict[str, Any]) -> float:
    """Of one training's agent."""
    return float(np.mean([episode["return"] for episode in run["episodes"]]))


def by_value(record: dict[str, Any]) -> Figure:
    """Mean return of each training (dots) and of all (lines), for each value."""
    setting = record["experiment"]
    figure, plot = panel(f"{setting['env']}, T={setting['T']}", words(setting["key"]), "mean return of each training")
    for x, value in enumerate(measured(record)):
        returns = [mean_return(run) for run in runs(record, value)]
        one, all_of_them = (None, None) if x else ("a training", "mean of the trainings")
        plot.scatter([x] * len(returns), returns, color=COLOURS[0], zorder=3, label=one)
        plot.hlines(np.mean(returns), x - 0.25, x + 0.25, color=COLOURS[1], linewidth=2, label=all_of_them or "")
    several = any(isinstance(value, dict) for value in measured(record))
    labels = [words(shown(value)).replace(", ", "\n") for value in measured(record)]
    plot.set_xticks(range(len(labels)), labels, fontsize="small" if several else None)
    if several:
        figure.set_figwidth(1.4 * figure.get_figwidth())
    plot.margins(x=0.15)
    low, high = plot.get_ylim()
    missing = LEAST_SPAN * max(abs(low), abs(high)) - (high - low)
    if missing > 0:
        plot.set_ylim(low - missing / 2, high + missing / 2)
    legend(figure, plot)
    return figure


def by_energy(record: dict[str, Any]) -> Figure:
    """Mean return against energy per decision: one point for each training whose energy was kept, a line through the means
    of each value."""
    setting = record["experiment"]
    figure, plot = panel(f"{setting['env']}, T={setting['T']}", "energy per decision (µJ)", "mean return of each training")
    middle = []
    for n, value in enumerate(measured(record)):
        points = np.array([(run["energy"]["snn_uj"], mean_return(run)) for run in runs(record, value) if "energy" in run])
        if not len(points):
            continue
        plot.scatter(*points.T, color=COLOURS[n % len(COLOURS)], zorder=3, label=f"{words(setting['key'])} = {shown(value)}")
        middle.append(points.mean(0))
    plot.plot(*np.array(middle).T, color="#999999", linewidth=1, zorder=2, label="their means")
    legend(figure, plot)
    return figure


def draw(record: dict[str, Any]) -> Figure:
    """The figure of an experiment."""
    return by_energy(record) if record["experiment"]["key"] == "spike_penalty" else by_value(record)
