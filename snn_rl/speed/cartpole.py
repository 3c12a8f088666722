"""Decisions of CartPole, in C and by what else computes them, on observations of a real episode."""

from __future__ import annotations

from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.engine.agents import load as load_integers
from snn_rl.exports.compiled import compile_c
from snn_rl.speed.decisions import predicting
from snn_rl.speed.timing import Task
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import play, starts

CARTPOLE = "CartPole-v1"
NAMES = ("c_int8", "event_int8", "torch_snn", "torch_ann")
Observations = NDArray[np.float32]


def recorded(decisions: int) -> Observations:
    """What the shipped agent sees in its first episode, ``(decisions, 4)``."""
    agent = agents.load(f"{CARTPOLE}/T1")
    recipe = load_recipe(CARTPOLE)
    env = make_env(recipe, frames=agent.frames)
    try:
        steps = play(agent.network, [env], starts(recipe, 1, 0))
        return np.concatenate([step.observation for step in islice(steps, decisions)])
    finally:
        env.close()


def contestants(seen: Observations) -> dict[str, Task | str]:
    """Each decides once for every observation; a text says why one cannot."""
    tasks: dict[str, Task | str] = {}
    for name in NAMES:
        try:
            tasks[name] = _contestant(name, seen)
        except ImportError as error:
            tasks[name] = f"{error.name} is not installed: pip install 'snn-rl[event]'"
        except UserError as error:
            tasks[name] = str(error)
    return tasks


def _contestant(name: str, seen: Observations) -> Task:
    if name == "c_int8":
        compiled = compile_c(load_integers(f"{CARTPOLE}/T1-int8"))
        return partial(compiled.last, np.ascontiguousarray(compiled.integers.seen(seen).astype(np.int16)))
    if name == "event_int8":
        return predicting(load_integers(f"{CARTPOLE}/T1-int8", "event"), seen)
    return predicting(agents.load(f"{CARTPOLE}/{'ann' if name == 'torch_ann' else 'T1'}"), seen)
