"""Decisions of one environment, on frames of a real game of Pong: this package's agents and engines, and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.engine.agents import load as load_integers
from snn_rl.speed.timing import Task
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import play, starts
from snn_rl.training.integers import to_integers

PONG = "PongNoFrameskip-v4"
SPIKING, INTEGER = f"{PONG}/T1-frames1", f"{PONG}/T1-frames1-int8"
ANNS = {4: f"{PONG}/ann", 1: f"{PONG}/ann-frames1-distill"}
NAMES: tuple[str, ...] = ("event_int8", "event_float", "c_int8", "torch_snn", "torch_ann_4", "torch_ann_1")
NAMES += ("ort_fp32_4", "ort_fp32_1", "ort_int8_4", "ort_int8_1")
CALIBRATION = 40  # observations from which onnxruntime takes the ranges of its 8-bit numbers
Frames = NDArray[np.uint8]


def recorded(decisions: int) -> Frames:
    """What an ANN of four frames sees in the first decisions of a game, ``(decisions, 4, 84, 84)``."""
    ann = agents.load(ANNS[4])
    recipe = load_recipe(ann.env, ann.frames)
    env = make_env(recipe, frames=ann.frames)
    try:
        return np.stack([step.observation[0] for step in islice(play(ann.network, [env], starts(recipe, 1, 0)), decisions)])
    finally:
        env.close()


def contestants(frames: Frames) -> dict[str, Task | str]:
    """Each decides once for every observation; a text says why one cannot."""
    seen = {4: frames, 1: np.ascontiguousarray(frames[:, -1:])}
    makers: dict[str, Callable[[], Task]] = {
        "event_int8": lambda: predicting(event_agent(), seen[1]),
        "event_float": lambda: predicting(load_integers(SPIKING, "event"), seen[1]),
        "c_int8": partial(in_c, seen[1]),
        "torch_snn": lambda: predicting(agents.load(SPIKING), seen[1]),
        "torch_ann_4": lambda: predicting(agents.load(ANNS[4]), seen[4]),
        "torch_ann_1": lambda: predicting(agents.load(ANNS[1]), seen[1]),
    }
    for n in (4, 1):
        makers[f"ort_fp32_{n}"] = partial(in_onnxruntime, n, seen[n], None)
        makers[f"ort_int8_{n}"] = partial(in_onnxruntime, n, seen[n], CALIBRATION)
    tasks: dict[str, Task | str] = {}
    for name, maker in makers.items():
        try:
            tasks[name] = maker()
        except ImportError as error:
            tasks[name] = f"{error.name} is not installed: pip install 'snn-rl[{'event' if 'event' in name else 'onnx'}]'"
        except UserError as error:
            tasks[name] = str(error)
    return {name: tasks[name] for name in NAMES}


def predicting(agent: Agent, seen: NDArray[Any]) -> Task:
    """Whole decisions through ``predict``, as a user makes them, the state carried."""

    def run() -> None:
        state = None
        for observation in seen:
            _, state = agent.predict(observation, state)

    return run


def integer_agent(engine: str = "torch") -> Agent:
    """The shipped agent of integers; where there is none, the float one is rounded."""
    if INTEGER in agents.shipped():
        return load_integers(INTEGER, engine)
    agent = agents.load(SPIKING)
    return to_integers(agent, load_recipe(agent.env, agent.frames))


def event_agent() -> Agent:
    """The same, computed by events."""
    agent = integer_agent("event")
    if agent.network.changes is not None:
        return agent
    from snn_rl.engine.event import EventAgent, EventNetwork

    network: Any = agent.network
    return EventAgent(**{**vars(agent), "network": EventNetwork(network.integers, agent.observation_shape)})


def in_c(seen: Frames) -> Task:
    """The exported C, compiled for this machine."""
    from snn_rl.exports.compiled import compile_c

    compiled = compile_c(integer_agent())

    def run() -> None:
        compiled.reset()
        for observation in seen:
            compiled.decide_integers(observation)

    return run


def in_onnxruntime(frames: int, seen: Frames, calibration: int | None) -> Task:
    """An ANN in onnxruntime, on one thread: in float32, or in 8 bits by its static quantisation."""
    from snn_rl.speed.runtimes import session

    ann = agents.load(ANNS[frames])
    layers = [*ann.network.synapses]
    plain = [part for layer in layers[:-1] for part in (*layer.children(), th.nn.ReLU())]
    network = th.nn.Sequential(*plain, *layers[-1].children())
    scaled = (seen * np.float32(ann.network.input_scale))[:, None]
    decide = session(network, scaled[0], None if calibration is None else scaled[:: -(-len(scaled) // calibration)])

    def run() -> None:
        for observation in scaled:
            decide(observation)

    return run
