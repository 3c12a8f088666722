"""What a ``SpikingDQN`` writes into its zip about its network, and how that is read from a file by a stranger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Self

import torch as th
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.sb3.layers import build_network
from snn_rl.store.schema import Record, Table, Within

MAX_LAYERS, MAX_T, MAX_SIZE = 1_000, 1_000, 100_000_000  # more than that is no agent
_FIELDS = {
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "in_features", "out_features"),
    *("bias", "decays", "recurrent"),
}  # of layers; one that says on which device its weights lie is refused


@dataclass(frozen=True, kw_only=True)
class Description(Record):
    """A network without its weights, under the names that an agent's card has for what it says.

    ``observation_shape``: of one observation, with its stacked frames.
    """

    network: list[Table]
    T: Annotated[int, Within(0, MAX_T)]
    carry: bool
    input_scale: float
    observation_shape: list[Annotated[int, Within(1, MAX_SIZE)]]

    def __post_init__(self) -> None:
        if len(self.network) > MAX_LAYERS:
            raise ValueError(f"network has {len(self.network):,} layers")
        if len(self.observation_shape) not in (1, 3) or math.prod(self.observation_shape) > MAX_SIZE:
            raise ValueError("observation_shape is not that of a vector or an image")
        for n, layer in enumerate(self.network):
            for key, value in layer.items():
                if not _possible(key, value):
                    raise ValueError(f"network[{n}] says what no layer says: {key[:40]}")

    @classmethod
    def of(cls, network: QNetwork, observation_shape: tuple[int, ...]) -> Self:
        """The description of a network for observations of this shape."""
        return cls(
            network=network.spec,
            T=network.T,
            carry=network.carry,
            input_scale=network.input_scale,
            observation_shape=list(observation_shape),
        )

    @classmethod
    def read(cls, content: object, where: str) -> Self:
        """The description in a file.

        Args:
            content: what the file's JSON holds in its place.
            where: the file, for messages.

        Raises:
            UserError: if it is none, or describes what cannot be an agent.
        """
        try:
            return cls.from_json(content)
        except ValueError as error:
            raise _damaged(where, error) from error

    def build(self, tensors: dict[str, Tensor], where: str) -> QNetwork:
        """The network, with the weights, thresholds and decays of a file. Nothing is allocated before every layer is known
        to have the size of its tensors.

        Args:
            tensors: the network's state dict.
            where: the file, for messages.

        Raises:
            UserError: if the tensors are not those of the description.
        """
        try:
            with th.device("meta"):
                outline = self._untrained()
                neurons = sum(map(math.prod, outline.shapes(self.observation_shape)))
        except Exception as error:  # what PyTorch raises for sizes that do not fit is of many kinds
            raise _damaged(where, error) from error
        if neurons > MAX_SIZE:
            raise _damaged(where, f"it has more than {MAX_SIZE:,} neurons")
        if _sizes(tensors) != _sizes(outline.state_dict()):
            raise _damaged(where, "its layers are not those of the weights")
        network = self._untrained()
        network.load_state_dict(tensors)
        return network

    def _untrained(self) -> QNetwork:
        return build_network(self.network, self.T, self.input_scale, self.carry)


def _possible(key: str, value: object) -> bool:
    if key == "type" or (key == "padding" and isinstance(value, str)):
        return True
    sizes, least = value if isinstance(value, list) else [value], 0 if key in ("padding", "bias") else 1
    return key in _FIELDS and len(sizes) <= 2 and all(isinstance(size, int) and least <= size <= MAX_SIZE for size in sizes)


def _sizes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _damaged(where: str, reason: object) -> UserError:
    first = str(reason).partition("\n")[0][:200]
    return UserError(f"the description of the network in '{where}' is damaged ({first}); copy or save the file anew")
