"""What a ``SpikingDQN`` writes into its zip about its network, and how that is read from a file by a stranger."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypedDict, cast

import torch as th
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import Spec
from snn_rl.sb3.layers import build_network

MAX_LAYERS, MAX_T, MAX_NEURONS = 1_000, 1_000, 100_000_000  # more than that is no agent


class Description(TypedDict):
    """A network without its weights, in plain JSON, under the names that an agent's card has for them."""

    network: Spec
    T: int
    carry: bool
    input_scale: float
    observation_shape: list[int]


def _whole(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


_POSSIBLE: dict[str, Callable[[object], bool]] = {
    "network": lambda it: isinstance(it, list) and len(it) <= MAX_LAYERS and all(isinstance(layer, dict) for layer in it),
    "T": lambda it: _whole(it, 0, MAX_T),
    "carry": lambda it: type(it) is bool,
    "input_scale": lambda it: type(it) in (int, float) and math.isfinite(cast(float, it)),
    "observation_shape": lambda it: isinstance(it, list) and len(it) in (1, 3) and all(_whole(n, 1, MAX_NEURONS) for n in it),
}


def described(network: QNetwork, observation_shape: tuple[int, ...]) -> Description:
    """The description of a network for observations of this shape."""
    return Description(
        network=network.spec,
        T=network.T,
        carry=network.carry,
        input_scale=network.input_scale,
        observation_shape=list(observation_shape),
    )


def checked(content: object, where: str) -> Description:
    """The description in a file.

    Args:
        content: what the file's JSON holds in its place.
        where: the file, for messages.

    Raises:
        UserError: if it is none, or describes what cannot be an agent.
    """
    if not isinstance(content, dict):
        raise _damaged(where, "it is no object")
    for key, possible in _POSSIBLE.items():
        if not possible(content.get(key)):
            raise _damaged(where, f"its {key} is {str(content.get(key))[:40]}")
    return cast(Description, {key: content[key] for key in _POSSIBLE})


def network_of(description: Description, tensors: dict[str, Tensor], where: str) -> QNetwork:
    """The network of a description, with the weights, thresholds and decays of a file.

    Nothing is allocated before every layer is known to have the size of its tensors.

    Args:
        description: a checked one.
        tensors: the network's state dict.
        where: the file, for messages.

    Raises:
        UserError: if the two do not belong together.
    """
    given = {key: tuple(value.shape) for key, value in tensors.items()}
    try:
        with th.device("meta"):
            outline = _build(description)
            shapes = outline.shapes(description["observation_shape"])
    except (RuntimeError, TypeError, ValueError) as error:
        raise _damaged(where, str(error).splitlines()[0]) from error
    if given != {key: tuple(value.shape) for key, value in outline.state_dict().items()}:
        raise _damaged(where, "its layers are not those of the weights")
    if sum(map(math.prod, shapes)) > MAX_NEURONS:
        raise _damaged(where, f"it has more than {MAX_NEURONS:,} neurons")
    network = _build(description)
    network.load_state_dict(tensors)
    return network


def _build(description: Description) -> QNetwork:
    return build_network(description["network"], description["T"], description["input_scale"], description["carry"])


def _damaged(where: str, reason: str) -> UserError:
    return UserError(f"the description of the network in '{where}' is damaged ({reason}); copy or save the file anew")
