"""What the membranes remember: how well a linear read-out finds a hidden velocity in them, carried or zeroed.

The agent plays with its membranes carried (and 5 % random actions, so that no two games are alike). The same observations
then go through the same network with the membranes zeroed before each decision, and through nothing at all (the observation
itself is read). All three read-outs see the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch as th
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.measure import plots
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole, write_json
from snn_rl.store.provenance import versions
from snn_rl.tasks.environments import begin, load_recipe, make_env
from snn_rl.tasks.partial import FULL
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Start, check_fits, random_actions

Matrix = NDArray[np.float64]
Read = Callable[[Matrix], Matrix]
Determinations = dict[str, dict[str, dict[str, float]]]

PENALTIES = tuple(10.0**k for k in range(-3, 5))  # of the ridge regression, per sample; chosen on episodes of their own
SPLITS = 3  # every third episode is learnt from, the next chooses the penalty, the next is reported
SHOWN = 200  # environment steps in the figure
EPSILON = 0.05  # random actions: greedy games of Pong repeat each other, and a read-out would know them by heart
PONG_BALL = {"horizontal": 49, "vertical": 54}  # bytes of the console's memory (Atari Annotated RAM Interface, 2019)
PONG_NO_BALL = 0  # the ball's vertical position while none is in play
MOST_STEPS = 1_500  # of each third of the episodes; more are thinned out evenly
SPANS = (0, 1, 2, 4, 8, 16, 40)  # environment steps that the membranes had to settle
MOST_WINDOWS = 500
CHUNK = 50  # of them at a time


@dataclass
class Trace:
    """One episode, step by step: what was seen, the greedy action, each layer's membrane after the decision
    ``(steps, neurons)``, the hidden quantities ``(steps, quantities)`` (NaN where there is none) and the return."""

    observations: Matrix
    greedy: NDArray[np.int64]
    membranes: dict[str, Matrix]
    hidden: Matrix
    total: float


def _cartpole(env: gym.Env[Any, Any], info: dict[str, Any], before: Matrix | None) -> tuple[Matrix, Matrix]:
    return np.asarray(info[FULL], dtype=np.float64)[-4:][[1, 3]], np.zeros(0)


def _pong(env: gym.Env[Any, Any], info: dict[str, Any], before: Matrix | None) -> tuple[Matrix, Matrix]:
    """The ball's movement since the step before, in pixels per environment step."""
    memory = cast(Any, env.unwrapped).ale.getRAM()
    ball = np.array([float(memory[byte]) for byte in PONG_BALL.values()])
    known = before is not None and ball[1] != PONG_NO_BALL and before[1] != PONG_NO_BALL
    return (ball - before if known and before is not None else np.full(2, np.nan)), ball


Reader = Callable[[gym.Env[Any, Any], dict[str, Any], Matrix | None], tuple[Matrix, Matrix]]

_OF_CARTPOLE = ("cart velocity", "pole angular velocity"), _cartpole
_OF_PONG = ("ball velocity, horizontal", "ball velocity, vertical"), _pong
HIDDEN: dict[str, tuple[tuple[str, ...], Reader]] = {
    "CartPoleNoVel-v1": _OF_CARTPOLE,
    "CartPoleFlicker-v1": _OF_CARTPOLE,
    "PongNoFrameskip-v4": _OF_PONG,
    "PongFlickerNoFrameskip-v4": _OF_PONG,
}
"""Of each environment the hidden quantities' names, and what reads them: given the environment, the last info and what it
returned second at the step before."""


def trace(agent: Agent, recipe: Recipe, begins: Sequence[Start]) -> list[Trace]:
    """Plays episodes with the membranes carried, 5 % of the actions random, and writes down what happens in them."""
    _, read = HIDDEN[recipe.id]
    env, network, traces = make_env(recipe, frames=agent.frames), agent.network, []
    check_fits(network, agent.observation_shape, env.action_space)
    for start in begins:
        observation, info = begin(env, *start)
        rng = random_actions(start)
        state = network.initial_state(1, agent.observation_shape)
        seen, greedy, hidden, total, before, done = [], [], [], 0.0, None, False
        membranes: list[list[Matrix]] = [[] for _ in network.lifs]
        while not done:
            value, before = read(env, info, before)
            with th.no_grad():
                q, state = network(th.as_tensor(observation[None]), state)
            seen.append(observation.reshape(-1))
            greedy.append(int(q.argmax()))
            hidden.append(value)
            for layer, v in zip(membranes, state, strict=False):
                layer.append(v.reshape(-1).numpy())
            action = int(rng.integers(q.shape[1])) if rng.random() < EPSILON else greedy[-1]
            observation, reward, terminated, truncated, info = env.step(action)
            total, done = total + float(reward), terminated or truncated
        kept = {name: np.stack(layer) for name, layer in zip(network.layer_names, membranes, strict=False)}
        traces.append(Trace(np.stack(seen), np.array(greedy), kept, np.stack(hidden), total))
    env.close()
    return traces


def zeroed(network: QNetwork, observations: Matrix, shape: Sequence[int]) -> dict[str, Matrix]:
    """Each layer's membranes after decisions that all began from rest, ``(steps, neurons)``."""
    with th.no_grad():
        _, state = network(th.as_tensor(observations).reshape(-1, *shape))
    return {name: v.flatten(1).numpy() for name, v in zip(network.layer_names, state, strict=False)}


def read_out(inputs: Sequence[Matrix], wanted: Sequence[Matrix]) -> tuple[float, Read]:
    """Ridge regression: its coefficient of determination on episodes that it has not seen (the last of every three), and
    what it reads out of ``(steps, inputs)``.

    Args:
        inputs: of each episode, ``(steps, inputs)``.
        wanted: of each episode, ``(steps,)``; steps with NaN are left out.

    Raises:
        UserError: if there are too few episodes, or the quantity never changes.
    """
    if len(inputs) < SPLITS:
        raise UserError(f"a read-out needs at least {SPLITS} episodes, got {len(inputs)}")
    (x, y), (x_choice, y_choice), (x_test, y_test) = (
        _pool(inputs[split::SPLITS], wanted[split::SPLITS]) for split in range(SPLITS)
    )
    centre, scale, level = x.mean(0), x.std(0) + 1e-6, y.mean()
    x, x_choice, x_test = ((part - centre) / scale for part in (x, x_choice, x_test))
    dual = x.shape[1] > len(x)  # the smaller of two equal systems
    gram = x @ x.T if dual else x.T @ x
    best, chosen = (-np.inf, -np.inf), np.zeros(x.shape[1])
    for penalty in PENALTIES:
        system = gram + penalty * len(x) * np.eye(len(gram))
        weights = x.T @ np.linalg.solve(system, y - level) if dual else np.linalg.solve(system, x.T @ (y - level))
        scores = [_determination(part @ weights + level, true) for part, true in ((x_choice, y_choice), (x_test, y_test))]
        if scores[0] > best[0]:
            best, chosen = (scores[0], scores[1]), weights
    return best[1], lambda seen: (seen - centre) / scale @ chosen + level


def _pool(inputs: Sequence[Matrix], wanted: Sequence[Matrix]) -> tuple[Matrix, Matrix]:
    y = np.concatenate(wanted)
    known = np.flatnonzero(np.isfinite(y))
    known = known[:: -(-len(known) // MOST_STEPS) or 1]
    return np.concatenate(inputs)[known].astype(np.float64), y[known]


def _determination(guess: Matrix, true: Matrix) -> float:
    spread = float(np.square(true - true.mean()).sum())
    if not spread:
        raise UserError("the hidden quantity never changes in these episodes; play more of them (--episodes)")
    return 1 - float(np.square(guess - true).sum()) / spread


def measure(agent: Agent, traces: Sequence[Trace], names: Sequence[str]) -> tuple[Determinations, dict[tuple[str, str], Read]]:
    """R^2 of the read-outs, ``{quantity: {read from: {"carried" | "zeroed": R^2}}}``; ``observation`` stands for itself. And
    what reads a quantity out of a layer's carried membranes, by ``(quantity, layer)``."""
    rest = [zeroed(agent.network, one.observations, agent.observation_shape) for one in traces]
    seen = [one.observations for one in traces]
    result: Determinations = {}
    readers: dict[tuple[str, str], Read] = {}
    for n, quantity in enumerate(names):
        wanted = [one.hidden[:, n] for one in traces]
        result[quantity] = {"observation": {"alone": read_out(seen, wanted)[0]}}
        for layer in traces[0].membranes:
            carried, readers[quantity, layer] = read_out([one.membranes[layer] for one in traces], wanted)
            result[quantity][layer] = {"carried": carried, "zeroed": read_out([one[layer] for one in rest], wanted)[0]}
    return result, readers


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


def probe(agent: Agent, begins: Sequence[Start], out: Path) -> tuple[Determinations, dict[str, float]]:
    """Plays an agent and reads its membranes; writes ``memory.json`` and ``memory.png`` into a folder.

    Returns:
        What :func:`measure` and what :func:`settling` found.
    """
    names, _ = HIDDEN[agent.env]
    traces = trace(agent, load_recipe(agent.env, agent.frames), begins)
    (result, readers), settled = measure(agent, traces, names), settling(agent, traces)
    shown = max(traces[SPLITS - 1 :: SPLITS], key=lambda one: len(one.hidden))  # the read-out has not seen it
    layers = [max(shown.membranes, key=lambda layer: result[name][layer]["carried"]) for name in names]
    neurons = [telling_neuron(traces, n, layer) for n, layer in enumerate(layers)]
    rows = []
    for n, (name, layer, index) in enumerate(zip(names, layers, neurons, strict=True)):
        membranes = shown.membranes[layer][:SHOWN]
        read = readers[name, layer](membranes)
        rows.append((name, shown.hidden[:SHOWN, n], layer, read, index, membranes[:, index]))
    with whole(out / "memory.png") as path:
        plots.memory(rows, agent.label).savefig(path, format="png")
    record = {
        "agent": agent.label,
        "episodes": len(traces),
        "steps": sum(len(one.hidden) for one in traces),
        "return": float(np.mean([one.total for one in traces])),
        "r_squared": result,
        "settling": settled,
        "shown": [
            dict(zip(("quantity", "layer", "neuron"), one, strict=True)) for one in zip(names, layers, neurons, strict=True)
        ],
        "versions": versions(),
    }
    write_json(record, out / "memory.json")
    return result, settled


def show(result: Determinations, label: str) -> None:
    """Prints the table of :func:`measure`."""
    table = Table(title=f"{label}: linear read-out of what is hidden, R² on new episodes")
    for heading in ("hidden", "read from", "carried", "zeroed"):
        table.add_column(heading, justify="left" if heading in ("hidden", "read from") else "right")
    for quantity, sources in result.items():
        for source, values in sources.items():
            cells = [f"{values[key]:.3f}" if key in values else "" for key in ("carried", "zeroed")]
            table.add_row(quantity, source, *(cells if source != "observation" else [f"{values['alone']:.3f}"] * 2))
    Console().print(table)
