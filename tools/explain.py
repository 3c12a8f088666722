"""The pictures of docs/how-it-works.md: ``python tools/explain.py`` draws them into docs/pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from matplotlib.figure import Figure

from snn_rl import load_agent, raster, record, traces
from snn_rl.core.lif import lif_step
from snn_rl.measure.pictures import picture
from snn_rl.measure.plots import ANN, COLOURS, DPI, WIDTH
from snn_rl.store.files import whole

OUT = Path(__file__).parents[1] / "docs" / "pictures"
AGENT = "CartPoleNoVel-v1/T1"
INPUT, V_TH, DECAY, STEPS = 0.8, 1.0, 0.5, 10  # the neuron of docs/what-is-a-spike.md


def played(carried: bool) -> tuple[list[float], list[float], list[int]]:
    """The neuron's membrane at each timestep before it fires and after its reset, and the timesteps at which it fires."""
    current, v_th, decay = th.tensor([INPUT]), th.tensor([V_TH]), th.tensor([DECAY])
    v, before, after, fired = th.zeros(1), [], [], []
    for step in range(STEPS):
        v = v if carried else th.zeros(1)
        before.append(float(decay * v + current))
        z, v = lif_step(current, v, v_th, decay)
        after.append(float(v))
        if z.item():
            fired.append(step)
    return before, after, fired


def neuron() -> Figure:
    """Membranes that go on, and membranes that are zeroed, under the same input."""
    figure = Figure(figsize=(WIDTH, 3.6), dpi=DPI, layout="constrained")
    above, below = figure.subplots(2, sharex=True, sharey=True)
    for axes, carried in ((above, True), (below, False)):
        before, after, fired = played(carried)
        _style(axes)
        times, path = list[float](), list[float]()
        for step in range(STEPS):
            start = after[step - 1] if carried and step else 0.0
            times += [step - 0.5, step - 0.3, step, step + 0.3, step + 0.5]
            path += [start, DECAY * start, before[step], after[step], after[step]]
        axes.plot(times, path, color=COLOURS[0], linewidth=1.2)
        axes.plot(range(STEPS), before, "o", color=COLOURS[0], markersize=4, label="membrane, input added")
        axes.axhline(V_TH, color=ANN, linestyle=":", linewidth=1, label="threshold")
        axes.plot(fired, [1.65] * len(fired), "|", color=COLOURS[1], markersize=10, markeredgewidth=2, label="spike")
        axes.set_ylabel("carried" if carried else "zeroed")
    above.set_title(f"an input of {INPUT:g}, a decay of {DECAY:g}, one timestep per decision", loc="left", fontsize=10)
    below.set_xlabel("decision")
    below.set_xticks(range(STEPS), range(1, STEPS + 1))
    above.set_ylim(-0.05, 1.9)
    figure.legend(*above.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def surrogate() -> Figure:
    """What a spike is forward, and what stands for its derivative backward."""
    figure = Figure(figsize=(WIDTH, 2.2), dpi=DPI, layout="constrained")
    v = th.linspace(-0.5, 2.5, 601).requires_grad_()
    z, _ = lif_step(v, th.zeros_like(v), th.tensor([V_TH]), th.tensor([DECAY]))
    (slope,) = th.autograd.grad(z.sum(), v)
    drawn = (("forward: the spike", z), ("backward: its derivative", slope))
    for axes, (title, values) in zip(figure.subplots(1, 2), drawn, strict=True):
        _style(axes)
        axes.plot(v.detach().numpy(), np.asarray(values.detach()), color=COLOURS[0])
        axes.axvline(V_TH, color=ANN, linestyle=":", linewidth=1)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("membrane, in thresholds")
    return figure


def _style(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draws all of them."""
    recording = record(load_agent(AGENT), episodes=1)
    drawn = {
        "neuron": neuron(),
        "surrogate": surrogate(),
        "spikes": raster(recording, neurons=30),
        "membranes": traces(recording, "fc1"),
    }
    OUT.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        with whole(OUT / f"{name}.png") as new:
            new.write_bytes(picture(figure, "png"))


if __name__ == "__main__":
    main()
