"""What a decision takes, as numbers of operations. What these cost is another matter: see :mod:`snn_rl.measure.energy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Counts:
    """Operations per decision: the mean over the decisions that were counted.

    Attributes:
        T: timesteps per decision; 0 for an ANN.
        ann_macs: multiply-accumulates of the ANN of the same shape, zeros included; for an ANN its own.
        effective_macs: of an ANN: those of its multiply-accumulates whose input is not 0.
        first_layer_macs: of a spiking network: the first layer's, on the real-valued observation, once per decision; with
            those of numbers beside an image.
        analog_macs: of a spiking network: those of layers that follow another with no neurons between, at all T timesteps.
        acs_by_layer: of a spiking network: accumulates, one for each (spike, synapse) pair, by layer; those of recurrent
            synapses under a name of their own.
        neuron_updates: of a spiking network: each neuron's, at each of the T timesteps.
        membrane_accesses: of a spiking network: membranes read or written, and what else is kept between decisions.
        changes: the first layer multiplies only what changed since the last decision.
        change_macs: multiply-accumulates if only what changed since the last decision were computed: of an ANN in every layer,
            of a spiking network in the first one. None where it was not counted.
        change_accesses: accesses to what would be kept for that.
        change_updates: of a spiking network: updates of neurons if those at rest were left alone, see
            :class:`~snn_rl.core.resting.Resting`. None where it was not counted.
    """

    T: int
    ann_macs: float
    effective_macs: float = 0
    first_layer_macs: float = 0
    analog_macs: float = 0
    acs_by_layer: Mapping[str, float] = field(default_factory=dict)
    neuron_updates: float = 0
    membrane_accesses: float = 0
    changes: bool = False
    change_macs: float | None = None
    change_accesses: float | None = None
    change_updates: float | None = None

    @property
    def spiking(self) -> bool:
        """Whether they are those of a spiking network."""
        return self.T > 0

    @property
    def acs(self) -> float:
        """Accumulates of all layers."""
        return sum(self.acs_by_layer.values())


@dataclass
class Changes:
    """Of a network that computes only what changes since the last decision.

    Attributes:
        accesses: to 32 bits of what it keeps for that, per decision.
        inputs: of the observations that it was last given, how many numbers had changed.
        macs: multiply-accumulates for them.
    """

    accesses: int
    inputs: int = 0
    macs: int = 0


def membrane_accesses(neurons: float, T: int, carry: bool) -> float:
    """How often membranes are read or written in a decision.

    Carried from decision to decision, each is read and written at each timestep. From rest, there is nothing to read at the
    first timestep nor to write at the last.
    """
    return 2 * neurons * (T if carry else T - 1)
