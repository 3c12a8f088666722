"""What several exports say of an agent in the same words: its state, what it sees, and its layers with their borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch as th

from snn_rl.core.network import QNetwork
from snn_rl.engine.semantics import pair
from snn_rl.store.agents import Agent, fingerprint

PIXEL = 1 / 255


@dataclass(frozen=True)
class Membrane:
    """A tensor of an agent's state: what it holds, and its shape without the batch."""

    what: str
    shape: tuple[int, ...]


def state(agent: Agent) -> list[Membrane]:
    """The tensors of :data:`~snn_rl.core.network.State`, in its order; none for an ANN."""
    network = agent.network
    if not network.spiking:
        return []
    shapes, names = network.shapes(agent.observation_shape), network.layer_names
    membranes = [Membrane(f"membranes of {name}", shape) for name, shape in zip(names, shapes, strict=False)]
    return membranes + [Membrane(f"last spikes of {names[int(n)]}", shapes[int(n)]) for n in network.recurrent]


def actions(agent: Agent) -> int:
    """How many there are."""
    seen = th.zeros(1, *agent.observation_shape, device=next(agent.network.parameters()).device)
    with th.no_grad():
        return int(agent.network(seen)[0].shape[1])


def pixels(network: QNetwork, observation_shape: Sequence[int]) -> bool:
    """Whether it sees images as bytes from 0 to 255."""
    return len(observation_shape) == 3 and abs(network.input_scale - PIXEL) < 1e-9


def border(layer: dict[str, Any]) -> tuple[int, int, int, int]:
    """Zeros that a Conv2d or AvgPool2d of a spec puts above, left of, below and right of an image."""
    padding = layer["padding"]
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":  # PyTorch puts the odd one behind
        sizes = zip(pair(layer["kernel_size"]), pair(layer["dilation"]), strict=True)
        high, wide = (gap * (size - 1) for size, gap in sizes)
        return high // 2, wide // 2, high - high // 2, wide - wide // 2
    high, wide = pair(padding)
    return high, wide, high, wide


def facts(agent: Agent) -> dict[str, str]:
    """What a file says of the agent that it was made from."""
    network = agent.network
    return {
        "agent": agent.label,
        "weights": fingerprint(network),
        "T": str(network.T),
        "frames": str(agent.frames),
        "membranes": "none" if not network.spiking else "carried" if network.carry else "zeroed",
        "input_scale": repr(network.input_scale),
        "values": "logits" if agent.made.logits else "Q-values",
        **({} if network.image is None else {"image": "x".join(map(str, network.image))}),
    }
