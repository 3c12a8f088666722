"""The time of a decision against what it depends on: how many pixels changed, and how many neurons spike.

The event-driven engine decides by itself how it computes the first layer. Here each way is also taken throughout: by events
(changed pixels, one after the other) and dense (all of it). Other layers go by spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.engine.tables import Sizes
from snn_rl.speed.decisions import Frames, event_agent, in_onnxruntime
from snn_rl.speed.timing import contest
from snn_rl.store.agents import Agent

SHARES = (0.001, 0.003, 0.007, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
THRESHOLDS = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03, 0.01, 0.001)
STEPS = 40  # decisions that are timed in a row
WAYS = {"engine": None, "events": 2**31 - 1, "dense": 0}
"""By name what :class:`~snn_rl.engine.tables.Sizes` then says for ``most``."""


def measure(frames: Frames, rounds: int) -> dict[str, Any] | str:
    """Times each way, as a multiple of the dense one where every pixel changes and every neuron spikes.

    Args:
        frames: observations of a real game, ``(decisions, frames, 84, 84)``.
        rounds: how many.

    Returns:
        Two lists, ``changed`` and ``spikes``, of rows with the ``share`` of pixels or neurons and the times. ``noise``: the
        engine's time for images of noise as a multiple of the dense way's for them, of ``all``: the dense way where every
        neuron spikes too, and of ANNs in ONNX Runtime with 8 bits. A text where the engine cannot be had.
    """
    try:
        agent = event_agent()
    except UserError as error:
        return str(error)
    network: Any = agent.network
    rng, game = np.random.default_rng(0), np.ascontiguousarray(frames[:STEPS, -1:])
    numbers, tiles = network._net[3], network._net[2][Sizes._fields.index("tiles")]
    usual = numbers[tiles : 2 * tiles].copy()
    tasks: dict[str, Callable[[], object]] = {}
    rates: dict[float, float] = {}
    for share in SHARES:
        play = changing(rng, game[-1], share)
        tasks |= {f"changed {share} {way}": _task(agent, play, way, usual) for way in WAYS}
    for factor in THRESHOLDS:
        lowered = np.maximum(usual * factor, 1).astype(np.int32)
        rates[factor] = _rate(agent, game, lowered)
        tasks |= {f"spikes {factor} {way}": _task(agent, game, way, lowered) for way in WAYS}
    every = np.full_like(usual, -(2**29))
    tasks["all"] = _task(agent, changing(rng, game[-1], 1.0), "dense", every)
    others: dict[str, Callable[[], object] | str] = dict(tasks)
    for name, n in (("ort_int8_4", 4), ("ort_int8_1", 1)):
        try:
            others[name] = in_onnxruntime(n, frames[:STEPS, -n:], STEPS)
        except (ImportError, UserError) as error:
            others[name] = str(error)
    timed = contest(others, rounds)
    numbers[tiles : 2 * tiles] = usual

    def row(kind: str, of: float, share: float) -> dict[str, float | None]:
        return {"share": share, **{way: timed.ratio(f"{kind} {of} {way}", "all") for way in WAYS}}

    return {
        "changed": [row("changed", share, share) for share in SHARES],
        "spikes": [row("spikes", factor, rates[factor]) for factor in THRESHOLDS],
        "noise": {
            "dense": timed.ratio("changed 1.0 engine", "changed 1.0 dense"),
            "all": timed.ratio("changed 1.0 engine", "all"),
            **{name: timed.ratio("changed 1.0 engine", name) for name in ("ort_int8_4", "ort_int8_1")},
        },
    }


def changing(rng: np.random.Generator, image: Frames, share: float) -> Frames:
    """Images ``(steps, 1, 84, 84)`` of which such a share of pixels changes each time; the first is given."""
    play = np.repeat(image[None], STEPS, 0).reshape(STEPS, -1)
    for step in range(1, STEPS):
        play[step] = play[step - 1]
        at = rng.permutation(play.shape[1])[: round(share * play.shape[1])]
        play[step, at] += rng.integers(1, 256, len(at)).astype(np.uint8)
    return play.reshape(STEPS, *image.shape)


def _task(agent: Agent, play: Frames, way: str, thresholds: NDArray[np.int32]) -> Callable[[], object]:
    network: Any = agent.network
    tables, numbers = network._net[2], network._net[3]
    most, tiles = Sizes._fields.index("most"), tables[Sizes._fields.index("tiles")]
    usual, forced = int(tables[most]), WAYS[way]

    def run() -> None:
        numbers[tiles : 2 * tiles] = thresholds
        tables[most] = usual if forced is None else forced
        state = None
        for observation in play:
            _, state = network.sums(observation[None], state, None)
        tables[most] = usual

    return run


def _rate(agent: Agent, play: Frames, thresholds: NDArray[np.int32]) -> float:
    """Spikes per neuron and decision."""
    network: Any = agent.network
    numbers, tiles = network._net[3], network._net[2][Sizes._fields.index("tiles")]
    numbers[tiles : 2 * tiles] = thresholds
    state, spikes = None, np.zeros((network.T, 1, network.program.neurons), np.uint8)
    total = 0
    for observation in play:
        _, state = network.sums(observation[None], state, None, spikes)
        total += int(spikes.sum())
    return total / len(play) / spikes.size


def plot(found: dict[str, Any]) -> Figure:
    """Both curves, with the place where events and the dense way cost the same."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes: Sequence[Any] = figure.subplots(1, 2, sharey=True)
    words = {"changed": "share of pixels that changed", "spikes": "spikes per neuron and decision"}
    looks = {"engine": ("black", "-", 2.5), "events": ("tab:orange", "--", 1.5), "dense": ("tab:blue", "--", 1.5)}
    names = {"engine": "the engine", "events": "by events throughout", "dense": "dense throughout"}
    for one, (kind, word) in zip(axes, words.items(), strict=True):
        rows = sorted(found[kind], key=lambda row: float(row["share"]))
        for way, (color, style, wide) in looks.items():
            one.plot([row["share"] for row in rows], [row[way] for row in rows], style, color=color, lw=wide, label=names[way])
        at = crossover(rows)
        if at is not None:
            one.axvline(at, color="gray", lw=1)
            one.annotate(f"{at:.2g}", (at, 0.02), xycoords=("data", "axes fraction"), ha="right", color="gray")
        one.set_xlabel(word)
        one.set_ylim(bottom=0)
    axes[0].set_xscale("log")
    axes[0].set_ylabel("time of a decision\n(1: every pixel changes, every neuron spikes)")
    axes[0].legend(frameon=False)
    return figure


def crossover(rows: Sequence[dict[str, float]]) -> float | None:
    """The share from which on the dense way costs less, between those that were timed; None where there is none."""
    for before, now in pairwise(rows):
        a, b = (row["events"] - row["dense"] for row in (before, now))
        if a <= 0 < b:
            return before["share"] + (now["share"] - before["share"]) * -a / (b - a)
    return None
