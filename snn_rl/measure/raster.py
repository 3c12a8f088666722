"""Pictures of a recording: a raster of spikes, and traces of membranes. Time is in decisions, each of T timesteps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.measure.pictures import picture, suffix
from snn_rl.measure.plots import ANN, COLOURS, DPI, WIDTH
from snn_rl.measure.recording import Recording
from snn_rl.store.files import whole

MOST = 50  # neurons of a layer that a raster shows: those that spike in most different ways
SHOWN = 60  # timesteps that a picture shows, in whole decisions


def raster(
    recording: Recording, path: str | Path | None = None, *, decisions: int | None = None, neurons: int = MOST
) -> Figure:
    """Which neurons spiked when: a panel for each layer, a row for each neuron, a dot for each spike.

    Args:
        recording: of :func:`~snn_rl.measure.recording.record`.
        path: where the picture is written too, as .png, .svg or .pdf.
        decisions: the first so many; as many as 60 timesteps hold if None.
        neurons: of a layer at most; of larger layers those whose spike rate varies most over the decisions shown.
    """
    panels = _panels(recording, "a row for each neuron, a dot for each spike", len(recording.layers))
    for (name, layer), axes, colour in zip(recording.layers.items(), panels, cycle(COLOURS), strict=False):
        spikes = _by_timestep(layer.spikes[: _first(recording, decisions)])
        shown = _liveliest(spikes, neurons)
        at, neuron = np.nonzero(spikes[:, shown])
        size = min(4, 220 / len(spikes), 110 / len(shown))  # dots do not touch
        axes.plot(at / recording.T, neuron, ".", color=colour, markersize=size)
        axes.set_xlim(-0.5, len(spikes) / recording.T - 0.5)
        axes.set_ylim(-1, len(shown))
        axes.set_yticks([])
        axes.set_ylabel(f"{name}, {len(shown)}\nof {spikes.shape[1]:,}", fontsize=9)
    return _written(panels[0].figure, path)


def traces(
    recording: Recording,
    layer: str | None = None,
    neurons: Sequence[int] | None = None,
    path: str | Path | None = None,
    *,
    decisions: int | None = None,
) -> Figure:
    """The membrane potentials of some neurons, their threshold and their spikes.

    Args:
        recording: of :func:`~snn_rl.measure.recording.record`.
        layer: name of the layer; the last one if None.
        neurons: their indices in the flattened layer; if None the four whose spikes vary most.
        path: where the picture is written too, as .png, .svg or .pdf.
        decisions: the first so many; as many as 60 timesteps hold if None.

    Raises:
        UserError: if there is no such layer or neuron.
    """
    name = layer or list(recording.layers)[-1]
    if name not in recording.layers:
        raise UserError(f"no layer '{name}'; choose from {', '.join(recording.layers)}")
    chosen, first = recording.layers[name], _first(recording, decisions)
    spikes, membranes = _by_timestep(chosen.spikes[:first]), _by_timestep(chosen.membranes[:first])
    shown = list(_liveliest(spikes, 4)) if neurons is None else list(neurons)
    if not shown or not all(0 <= neuron < spikes.shape[1] for neuron in shown):
        raise UserError(f"layer '{name}' has the neurons 0 to {spikes.shape[1] - 1:,}, got {neurons}")
    panels = _panels(recording, f"membranes of {name}", len(shown))
    time = np.arange(len(spikes)) / recording.T
    for neuron, axes in zip(shown, panels, strict=True):
        axes.plot(time, membranes[:, neuron], color=COLOURS[0], linewidth=1.2, label="membrane after its reset")
        axes.axhline(chosen.v_th, color=ANN, linestyle=":", linewidth=1, label="threshold")
        fired = np.flatnonzero(spikes[:, neuron])
        axes.plot(time[fired], np.full(len(fired), chosen.v_th), "|", color=COLOURS[1], markersize=9, label="spike")
        axes.set_ylabel(f"neuron {neuron}", fontsize=9)
    figure = panels[0].figure
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    return _written(figure, path)


def _by_timestep(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """``(decisions, T, *neurons)`` as ``(decisions * T, neurons)``."""
    return values.reshape(values.shape[0] * values.shape[1], -1)


def _liveliest(spikes: NDArray[np.generic], most: int) -> NDArray[np.int64]:
    """The neurons whose spikes vary most, in the order of the layer."""
    return np.sort(np.argsort(-spikes.astype(np.float32).var(0), kind="stable")[:most])


def _first(recording: Recording, decisions: int | None) -> int:
    return max(SHOWN // recording.T, 1) if decisions is None else decisions


def _panels(recording: Recording, what: str, rows: int) -> list[Any]:
    """Axes above one another, which share their time."""
    figure = Figure(figsize=(WIDTH, 1.1 * rows + 0.9), dpi=DPI, layout="constrained")
    figure.suptitle(f"{recording.agent}: {what}", x=0.02, ha="left", fontsize=10)
    panels = list(figure.subplots(rows, sharex=True, squeeze=False)[:, 0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[-1].set_xlabel("decision" if recording.T == 1 else f"decision (of {recording.T} timesteps)")
    return panels


def _written(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        with whole(Path(path)) as new:
            new.write_bytes(picture(figure, suffix(path)))
    return figure
