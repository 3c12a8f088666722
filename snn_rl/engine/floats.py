"""A spiking network of floating-point numbers, in the form that the event-driven engine takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import Spec, split_at_neurons
from snn_rl.engine.semantics import Array, Neurons, Synapses, parts
from snn_rl.store.integer import Integer

PIXELS = (0, 255)


@dataclass(frozen=True)
class Floats:
    """As :class:`~snn_rl.engine.semantics.Integers`, of float32: weights hold the factor on the observation and the area of
    pools. Observations are bytes."""

    spec: Spec
    T: int
    carry: bool
    input_scale: float
    form: Integer
    synapses: list[Synapses]
    neurons: list[Neurons]
    limit: int = 0

    def seen(self, observation: Array) -> Array:
        """Raises UserError: what is no byte is not multiplied by its change without drift."""
        raise UserError(
            f"the event engine takes bytes (pixels) for an agent of float numbers, not {observation.dtype}; leave out engine"
        )


def floats(network: QNetwork) -> Floats:
    """The numbers of a spiking network.

    Raises:
        UserError: if it is an ANN, has recurrent synapses, or layers that the engine does not know.
    """
    if not network.spiking or len(network.recurrent):
        raise UserError("the event engine takes spiking agents; of float numbers, those without recurrent synapses")
    groups, _ = split_at_neurons(network.spec)
    synapses, neurons = [], []
    for n, group in enumerate(groups):
        pools, layer = parts(group)
        own = [one for one in network.synapses[n].children() if isinstance(one, nn.Conv2d | nn.Linear)][-1]
        weight = own.weight.detach().cpu().double().numpy()
        bias = np.zeros(len(weight), np.float32) if own.bias is None else own.bias.detach().cpu().numpy()
        area = Synapses(pools, layer, weight, bias).area
        weight = (weight * (network.input_scale if n == 0 else 1.0) / area).astype(np.float32)
        synapses.append(Synapses(pools, layer, weight, bias))
    for n, lif in enumerate(network.lifs):
        channels = len(synapses[n].bias)
        decay = np.broadcast_to(lif.decay.detach().cpu().numpy().reshape(-1), channels).astype(np.float32)
        neurons.append(Neurons(np.full(channels, float(lif.v_th.detach()), np.float32), decay))
    form = Integer(
        weight_bits=8, readout_bits=16, membrane_bits=31, fraction_bits=[0] * len(neurons), input_range=PIXELS, input_bits=0,
        q_scale=1 / network.T,
    )  # fmt: skip
    return Floats(network.spec, network.T, network.carry, network.input_scale, form, synapses, neurons)
