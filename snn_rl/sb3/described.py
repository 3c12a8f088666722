"""What a ``SpikingDQN`` writes into its zip about its network, and how that is read from a file by a stranger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_SIZE, MAX_T
from snn_rl.core.network import QNetwork
from snn_rl.core.outline import filled, outline
from snn_rl.store.schema import Record, Table, Within


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
        self.outline()

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
            return filled(self.outline(), tensors)
        except (ValueError, RuntimeError) as error:
            raise _damaged(where, error) from error

    def outline(self) -> QNetwork:
        """The network without memory for its weights.

        Raises:
            ValueError: if no agent has such a network.
        """
        return outline(self.network, self.T, self.input_scale, self.carry, self.observation_shape)


def _damaged(where: str, reason: object) -> UserError:
    first = str(reason).partition("\n")[0][:200]
    return UserError(f"the description of the network in '{where}' is damaged ({first}); copy or save the file anew")


def spec_of(tensors: dict[str, Tensor], where: str) -> list[Table]:
    """The layers of a network that an older version did not describe, from its tensors: dense ones, and NatureCNN's.

    Args:
        tensors: the network's state dict.
        where: the file, for messages.

    Raises:
        UserError: for convolutions of other sizes, whose strides the tensors do not tell.
    """
    spec: list[Table] = []
    weights = {key: value for key, value in tensors.items() if key.startswith("synapses.") and key.endswith(".weight")}
    strides = [4, 2, 1] if [value.shape[-1] for value in weights.values() if value.dim() == 4] == [8, 4, 3] else []
    for n, (key, weight) in enumerate(weights.items()):
        layer: Table = {"bias": key.replace(".weight", ".bias") in tensors}
        if weight.dim() == 2:
            spec += [{"type": "Flatten"}] * key.endswith(".1.weight")
            layer |= {"type": "Linear", "in_features": weight.shape[1], "out_features": weight.shape[0]}
        elif n < len(strides):
            wide, narrow, kernel = weight.shape[0], weight.shape[1], weight.shape[2]
            layer |= {
                "type": "Conv2d",
                "in_channels": narrow,
                "out_channels": wide,
                "kernel_size": kernel,
                "stride": strides[n],
            }
        else:
            raise UserError(
                f"'{where}' is of an older version and does not say its strides: give trust=True, which executes it"
            )
        spec.append(layer)
        if n < len(weights) - 1:
            decay, recurrent = tensors.get(f"neurons.{n}.raw_decay"), tensors.get(f"recurrent.{n}.weight")
            neurons: Table = {"type": "ReLU" if decay is None else "LIF"}
            neurons |= {} if decay is None or not decay.dim() else {"decays": decay.numel()}
            spec.append(neurons if recurrent is None else {**neurons, "recurrent": len(recurrent)})
    return spec
