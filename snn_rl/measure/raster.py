"""Pictures of a recording: a raster of spikes, and traces of membranes. Time is in decisions, each of T timesteps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.measure.pictures import picture, suffix
from snn_rl.measure.plots import ANN, COLOURS
from snn_rl.measure.recording import Recording
from snn_rl.store.files import whole

MOST = 50  # neurons of a layer that a raster shows: those that spike in most different ways


def raster(recording: Recording, path: str | Path | None = None, *, decisions: int = 60, neurons: int = MOST) -> Figure:
    """Which neurons spiked when: a panel for each layer, a row for each neuron, a dot for each spike.

    Args:
        recording: of :func:`~snn_rl.measure.recording.record`.
        path: where the picture is written too, as .png, .svg or .pdf.
        decisions: the first so many.
        neurons: of a layer at most; of larger layers those whose spike rate varies most over the decisions shown.
    """
    figure = _figure(recording, "spikes", 1.3)
    for n, (name, layer) in enumerate(recording.layers.items()):
        axes = figure.add_subplot(len(recording.layers), 1, n + 1)
        spikes = _by_timestep(layer.spikes[:decisions])
        shown = _liveliest(spikes, neurons)
        at, neuron = np.nonzero(spikes[:, shown])
        axes.plot(at / recording.T, neuron, ".", color=COLOURS[n % len(COLOURS)], markersize=3)
        axes.set_xlim(-0.5, len(spikes) / recording.T - 0.5)
        axes.set_ylim(-1, len(shown))
        axes.set_yticks([])
        axes.set_ylabel(f"{name}\n{len(shown)} of {spikes.shape[1]:,}")
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(_time(recording))
    return _written(figure, path)


def traces(
    recording: Recording,
    layer: str | None = None,
    neurons: Sequence[int] | None = None,
    path: str | Path | None = None,
    *,
    decisions: int = 60,
) -> Figure:
    """The membrane potentials of some neurons, their threshold and their spikes.

    Args:
        recording: of :func:`~snn_rl.measure.recording.record`.
        layer: name of the layer; the last one if None.
        neurons: their indices in the flattened layer; if None the four whose spikes vary most.
        path: where the picture is written too, as .png, .svg or .pdf.
        decisions: the first so many.

    Raises:
        UserError: if there is no such layer or neuron.
    """
    name = layer or list(recording.layers)[-1]
    if name not in recording.layers:
        raise UserError(f"no layer '{name}'; choose from {', '.join(recording.layers)}")
    chosen = recording.layers[name]
    spikes, membranes = _by_timestep(chosen.spikes[:decisions]), _by_timestep(chosen.membranes[:decisions])
    shown = list(_liveliest(spikes, 4)) if neurons is None else list(neurons)
    if not shown or not all(0 <= neuron < spikes.shape[1] for neuron in shown):
        raise UserError(f"layer '{name}' has the neurons 0 to {spikes.shape[1] - 1:,}, got {neurons}")
    figure = _figure(recording, f"membranes of {name}", 1.2, len(shown))
    time = np.arange(len(spikes)) / recording.T
    for n, neuron in enumerate(shown):
        axes = figure.add_subplot(len(shown), 1, n + 1)
        axes.plot(time, membranes[:, neuron], color=COLOURS[0], linewidth=1.2, label="membrane after its reset")
        axes.axhline(chosen.v_th, color=ANN, linestyle=":", linewidth=1, label="threshold")
        fired = np.flatnonzero(spikes[:, neuron])
        axes.plot(time[fired], np.full(len(fired), chosen.v_th), "|", color=COLOURS[1], markersize=9, label="spike")
        axes.set_ylabel(f"neuron {neuron}")
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(_time(recording))
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3)
    return _written(figure, path)


def _by_timestep(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """``(decisions, T, *neurons)`` as ``(decisions * T, neurons)``."""
    return values.reshape(values.shape[0] * values.shape[1], -1)


def _liveliest(spikes: NDArray[np.generic], most: int) -> NDArray[np.int64]:
    """The neurons whose spikes vary most, in the order of the layer."""
    return np.sort(np.argsort(-spikes.astype(np.float32).var(0), kind="stable")[:most])


def _time(recording: Recording) -> str:
    return "decision" if recording.T == 1 else f"decision (of {recording.T} timesteps)"


def _figure(recording: Recording, what: str, height: float, rows: int | None = None) -> Figure:
    rows = len(recording.layers) if rows is None else rows
    figure = Figure(figsize=(7, height * rows + 1), dpi=150, layout="constrained")
    figure.suptitle(f"{recording.agent}: {what}", x=0.02, ha="left", fontsize=11)
    return figure


def _written(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        with whole(Path(path)) as new:
            new.write_bytes(picture(figure, suffix(path)))
    return figure
