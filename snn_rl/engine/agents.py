"""Agents of integers, from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from snn_rl.core.errors import UserError
from snn_rl.core.outline import check_shapes, outline
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.semantics import Integers, from_arrays
from snn_rl.store import agents, weights
from snn_rl.store.agents import Agent, check_neurons, find
from snn_rl.store.card import damaged, read

ENGINES = ("torch", "event")
"""What computes an agent of integers: the reference, or the engine that is fast on one core. Spikes, membranes and actions are
the same."""
NUMBA = "the event engine needs numba: pip install 'snn-rl[event]', or choose the engine torch"


def is_integer(where: str | Path) -> bool:
    """Whether an agent's folder, or the name of a shipped agent, is one of integers.

    Raises:
        UserError: if it is not there or damaged.
    """
    return read(find(where))[0].integer is not None


def load(where: str | Path, engine: str = "torch") -> Agent:
    """Loads an agent of integers.

    Args:
        where: its folder, or the name of a shipped one.
        engine: one of :data:`ENGINES`.

    Raises:
        UserError: if it is not there, damaged, of other numbers, or holds weights with which a sum could overflow.
    """
    if engine not in ENGINES:
        raise UserError(f"no engine '{engine}'; choose from {', '.join(ENGINES)}")
    folder = find(where)
    card, played = read(folder)
    if card.integer is None and engine == "event":
        return _float_event(agents.load(folder))
    if card.integer is None:
        raise UserError(f"'{folder}' is an agent of float numbers; python -m snn_rl.quantize makes one of integers from it")
    try:
        tensors = weights.read(folder, card.files)
        weights.shapes(tensors, weights.INTEGERS)
        if card.T < 1 or not card.integer.q_scale > 0:
            raise ValueError(f"an agent of integers has T and q_scale above 0, got {card.T} and {card.integer.q_scale}")
        outline(card.network, card.T, card.input_scale, card.carry, card.observation_shape)
        arrays = load_arrays(tensors)
        integers = from_arrays(card.network, card.T, card.carry, card.input_scale, card.integer, arrays)
        network = IntegerNetwork(integers)
        check_shapes(network, {key: value.shape for key, value in arrays.items()})
        check_neurons(card, network)
    except UserError as error:
        raise UserError(f"'{folder}': {error}") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise damaged(folder, error) from error
    kind = Agent
    if engine == "event":
        network, kind = _event(integers, card.observation_shape)
    shape, module = tuple(card.observation_shape), card.module or ""
    made, scores, more = card.made, card.scores, card.more
    return kind(card.env, card.name, network, shape, card.frames, made, scores, played, folder, module, more, card.integer)


def _float_event(agent: Agent) -> Agent:
    """An agent of float numbers that the event-driven engine plays."""
    try:
        from snn_rl.engine.event import EventAgent, FloatEventNetwork
    except ImportError as error:
        raise UserError(NUMBA) from error
    return EventAgent(**{**vars(agent), "network": FloatEventNetwork(agent.network, agent.observation_shape)})


def _event(integers: Integers, observation_shape: Sequence[int]) -> tuple[IntegerNetwork, type[Agent]]:
    try:
        from snn_rl.engine.event import EventAgent, EventNetwork
    except ImportError as error:
        raise UserError(NUMBA) from error
    return EventNetwork(integers, observation_shape), EventAgent
