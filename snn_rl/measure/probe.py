"""What the membranes remember: how well a linear probe finds a hidden velocity in them, carried or zeroed.

The agent plays with its membranes carried (and 5 % random actions, so that no two games are alike). The same observations
then go through the same network with the membranes zeroed before each decision. A third probe reads the observation itself.
All three see the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch as th
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from snn_rl.core.network import QNetwork, State
from snn_rl.measure import plots
from snn_rl.measure.hidden import HIDDEN, KEY, Hidden, Reveal
from snn_rl.measure.ridge import SPLITS, LinearProbe, Matrix, fit
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole, write_json
from snn_rl.store.provenance import versions
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Decision, Start, play

Determinations = dict[str, dict[str, dict[str, float]]]

SHOWN = 200  # environment steps in the figure
EPSILON = 0.05  # random actions: greedy games of Pong repeat each other, and a probe would know them by heart
SPANS = (0, 1, 2, 4, 8, 16, 40)  # environment steps that the membranes had to settle
MOST_WINDOWS = 500
CHUNK = 50  # of them at a time


@dataclass
class Trace:
    """One episode, step by step: what was seen ``(steps, inputs)``, the greedy action ``(steps,)``, each layer's membranes
    after the decision ``(steps, neurons)``, what is hidden ``(steps, quantities)`` (NaN: not there); and the return."""

    observations: Matrix
    greedy: NDArray[np.int64]
    membranes: dict[str, Matrix]
    hidden: Matrix
    total: float


def trace(agent: Agent, recipe: Recipe, starts: Sequence[Start], progress: Progress | None = None) -> list[Trace]:
    """Plays episodes with the membranes carried, 5 % of the actions random, and writes down what happens in them; ``progress``
    counts them."""
    hidden = HIDDEN[recipe.id]
    env = Reveal(make_env(recipe, frames=agent.frames), hidden)
    traces: list[Trace] = []
    steps: list[Decision] = []
    for decision in play(agent.network, [env], starts, EPSILON):
        decision.layers = []  # the spikes would take as much memory as the membranes
        steps.append(decision)
        if decision.done[0]:
            traces.append(_trace(agent.network, steps, hidden))
            steps = []
            if progress is not None:
                progress.advance(len(traces), {"last return": traces[-1].total})
    env.close()
    return traces


def _trace(network: QNetwork, steps: Sequence[Decision], hidden: Hidden) -> Trace:
    """What the decisions of one episode in one environment tell."""
    each = [_membranes(network, step.state) for step in steps]
    return Trace(
        observations=np.stack([step.observation[0].reshape(-1) for step in steps]),
        greedy=np.array([int(step.q[0].argmax()) for step in steps]),
        membranes={name: np.concatenate([membranes[name] for membranes in each]) for name in each[0]},
        hidden=hidden.quantities(np.stack([step.infos[0][KEY] for step in steps])),
        total=sum(float(step.reward[0]) for step in steps),
    )


def _membranes(network: QNetwork, state: State) -> dict[str, Matrix]:
    """Each spiking layer's membranes ``(batch, neurons)``; behind them a state has the last spikes of recurrent layers."""
    return {name: v.flatten(1).numpy() for name, v, _ in zip(network.layer_names, state, network.lifs, strict=False)}


def zeroed(network: QNetwork, observations: Matrix, shape: Sequence[int]) -> dict[str, Matrix]:
    """Each layer's membranes after decisions that all began from rest, ``(steps, neurons)``."""
    with th.no_grad():
        _, state = network(th.as_tensor(observations).reshape(-1, *shape))
    return _membranes(network, state)


def measure(
    agent: Agent, traces: Sequence[Trace], names: Sequence[str]
) -> tuple[Determinations, dict[tuple[str, str], LinearProbe]]:
    """R^2 of the linear probes, ``{quantity: {read from: {"carried" | "zeroed": R^2}}}``; ``observation`` stands for itself.
    And the probes of a layer's carried membranes, by ``(quantity, layer)``."""
    rest = [zeroed(agent.network, one.observations, agent.observation_shape) for one in traces]
    seen = [one.observations for one in traces]
    result: Determinations = {}
    probes: dict[tuple[str, str], LinearProbe] = {}
    for n, quantity in enumerate(names):
        wanted = [one.hidden[:, n] for one in traces]
        result[quantity] = {"observation": {"alone": fit(seen, wanted).r_squared}}
        for layer in traces[0].membranes:
            carried = probes[quantity, layer] = fit([one.membranes[layer] for one in traces], wanted)
            from_rest = fit([one[layer] for one in rest], wanted)
            result[quantity][layer] = {"carried": carried.r_squared, "zeroed": from_rest.r_squared}
    return result, probes


def settling(agent: Agent, traces: Sequence[Trace]) -> dict[str, float]:
    """How far back the memory reaches: ``{n: share}`` of decisions that are those of play although the membranes began at
    rest only n environment steps before (what ``burn_in`` steps bring a replayed sequence to). They are decisions at which
    the membranes had been carried for more than the most of these steps; ``{}`` where no episode is that long.
    """
    ends = [(one, t) for one in traces for t in range(max(SPANS) + 1, len(one.greedy))]
    if not ends:
        return {}
    ends = ends[:: -(-len(ends) // MOST_WINDOWS)]
    played = np.array([one.greedy[t] for one, t in ends])
    shares = {}
    for n in SPANS:
        same = 0
        for some in range(0, len(ends), CHUNK):  # all at once would take gigabytes where observations are images
            windows = np.stack([one.observations[t - n : t + 1] for one, t in ends[some : some + CHUNK]], 1)
            with th.no_grad():
                q, _ = agent.network.unroll(th.as_tensor(windows).unflatten(-1, agent.observation_shape))
            same += int((q[-1].argmax(-1).numpy() == played[some : some + CHUNK]).sum())
        shares[str(n)] = same / len(ends)
    return shares


def telling_neuron(traces: Sequence[Trace], quantity: int, layer: str) -> int:
    """Index of the layer's neuron whose membrane goes most with (or against) a hidden quantity."""
    wanted = np.concatenate([one.hidden[:, quantity] for one in traces])
    known = np.isfinite(wanted)
    y, v = wanted[known], np.concatenate([one.membranes[layer] for one in traces])[known]
    y, v = y - y.mean(), v - v.mean(0)
    return int(np.argmax(np.abs(y @ v) / (np.linalg.norm(v, axis=0) * np.linalg.norm(y) + 1e-9)))


def probe(agent: Agent, starts: Sequence[Start], out: Path, progress: bool = False) -> tuple[Determinations, dict[str, float]]:
    """Plays an agent and reads its membranes; writes ``memory.json`` and ``memory.png`` into a folder.

    Args:
        agent: spiking, with its membranes carried.
        starts: of the episodes.
        out: the folder.
        progress: show a bar.

    Returns:
        What :func:`measure` and what :func:`settling` found.

    Raises:
        UserError: if the episodes are too few or too short to find anything in.
        OSError: if a file cannot be written.
    """
    names = HIDDEN[agent.env].names
    with Progress(len(starts), "episodes", f"probe {agent.label}", progress) as bar:
        traces = trace(agent, load_recipe(agent.env, agent.frames), starts, bar)
        bar.note = "fitting linear probes"
        result, probes = measure(agent, traces, names)
        bar.note = "measuring how far back the memory reaches"
        settled = settling(agent, traces)
    rows = []
    for n, name in enumerate(names):
        layer = max(traces[0].membranes, key=lambda layer: result[name][layer]["carried"])
        rows.append(_shown(traces, name, n, layer, probes[name, layer]))
    with whole(out / "memory.png") as path:
        plots.membranes(rows, agent.label).savefig(path, format="png")
    record = {
        "agent": agent.label,
        "episodes": len(traces),
        "steps": sum(len(one.hidden) for one in traces),
        "return": float(np.mean([one.total for one in traces])),
        "r_squared": result,
        "settling": settled,
        "shown": [{"quantity": row.quantity, "layer": row.layer, "neuron": row.neuron} for row in rows],
        "versions": versions(),
    }
    write_json(record, out / "memory.json")
    return result, settled


def _shown(traces: Sequence[Trace], quantity: str, number: int, layer: str, fitted: LinearProbe) -> plots.Membranes:
    """What the figure shows of a quantity: the beginning of the longest episode that its probe was not fitted to."""
    longest = max(traces[SPLITS - 1 :: SPLITS], key=lambda one: len(one.hidden))
    membranes, neuron = longest.membranes[layer][:SHOWN], telling_neuron(traces, number, layer)
    hidden, read = longest.hidden[:SHOWN, number], fitted.read(membranes)
    return plots.Membranes(quantity, hidden, layer, read, neuron, membranes[:, neuron])


def show(result: Determinations, label: str) -> None:
    """Prints the table of :func:`measure`."""
    table = Table(title=f"{label}: linear probes of what is hidden, R² on new episodes")
    for heading in ("hidden", "read from", "carried", "zeroed"):
        table.add_column(heading, justify="left" if heading in ("hidden", "read from") else "right")
    for quantity, sources in result.items():
        for source, values in sources.items():
            cells = [f"{values[key]:.3f}" if key in values else "" for key in ("carried", "zeroed")]
            table.add_row(quantity, source, *(cells if source != "observation" else [f"{values['alone']:.3f}"] * 2))
    Console().print(table)
