"""Rounds a spiking network to integers, without training. docs/integers.md has the equations."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import nn

from snn_rl.core.errors import UserError
from snn_rl.core.lif import LIF
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import split_at_neurons
from snn_rl.engine.semantics import DECAY_BITS, INT32, Integers, Neurons, Synapses, parts
from snn_rl.store.integer import Integer

FRACTION_BITS = 6  # of membranes, where the proof lets them have so many
MEMBRANE_BITS = 31
ROOM = 2**28  # a bias and a threshold stay below it
PIXELS = (0, 255)
FIXED = (-32767, 32767)


def input_bits(largest: float) -> int:
    """Fraction bits with which 16-bit integers hold observations of up to twice that size."""
    return max(0, min(15, 14 - math.ceil(math.log2(max(largest, 2.0**-15)))))


def quantise(network: QNetwork, bits: int = 8, readout_bits: int = 16, observed: int | None = None) -> Integers:
    """The integer network next to a spiking network.

    Args:
        network: spiking, of float numbers.
        bits: of a weight, its sign included.
        readout_bits: of a weight of the readout; all of them share one scale.
        observed: fraction bits of the observations, see :func:`input_bits`; None for pixels.

    Raises:
        UserError: if the network is an ANN or has layers that integers are not defined for, and if a sum could overflow.
    """
    if not network.spiking:
        raise UserError("an ANN has no spikes; only a spiking agent becomes integers")
    form = Integer(
        weight_bits=bits,
        readout_bits=readout_bits,
        membrane_bits=MEMBRANE_BITS,
        fraction_bits=[FRACTION_BITS] * len(network.neurons),
        input_range=PIXELS if observed is None else FIXED,
        input_bits=observed or 0,
        q_scale=1.0,
    )
    groups, _ = split_at_neurons(network.spec)
    synapses, neurons = [], []
    for n, lif in enumerate(network.lifs):
        unit = network.input_scale * 2.0**-form.input_bits if n == 0 else 1.0
        largest = max(-form.input_range[0], form.input_range[1]) if n == 0 else 1
        recurrent = network.recurrent[str(n)].weight if str(n) in network.recurrent else None
        own = _Layer(groups[n], _weights(network, n), lif, recurrent, unit, bits)
        form.fraction_bits[n] = own.fraction_bits(largest)
        synapses.append(own.synapses(form.fraction_bits[n]))
        neurons.append(own.neurons(form.fraction_bits[n]))
    readout, q_scale = _readout(groups[-1], _weights(network, len(neurons)), readout_bits)
    form = dataclasses.replace(form, q_scale=q_scale / network.T)
    return Integers(network.spec, network.T, network.carry, network.input_scale, form, [*synapses, readout], neurons)


class _Layer:
    """A spiking layer of floats, and the integers for it.

    Per channel ``weight = scale * integer``; one unit of the membrane is ``scale * unit / area / 2^fraction_bits``.
    """

    def __init__(
        self, group: list[dict[str, Any]], weights: _Floats, lif: LIF, recurrent: object, unit: float, bits: int
    ) -> None:
        self.pools, self.layer = parts(group)
        self.weight, self.bias = weights
        self.v_th = lif.v_th.item()
        self.decay = np.broadcast_to(_float64(lif.decay).reshape(-1), self.bias.shape)
        self.recurrent = None if recurrent is None else _float64(cast(th.Tensor, recurrent))
        self.unit, self.top = unit / Synapses(self.pools, self.layer, self.weight, self.bias).area, 2 ** (bits - 1) - 1

    def _scale(self, fraction_bits: int) -> NDArray[np.float64]:
        """Of each channel: the weights fill their range, unless the threshold or the bias would then not fit."""
        rows = np.abs(self.weight).reshape(len(self.weight), -1).max(1)
        least = np.maximum(np.abs(self.bias), self.v_th) / self.unit * 2.0**fraction_bits / ROOM
        return np.maximum(rows / self.top, least)

    def synapses(self, fraction_bits: int) -> Synapses:
        """Weights and biases."""
        scale = self._scale(fraction_bits)
        weight = rounded(self.weight / scale.reshape(-1, *[1] * (self.weight.ndim - 1)), self.top)
        bias = np.rint(self.bias / (scale * self.unit) * 2.0**fraction_bits).astype(np.int32)
        return Synapses(self.pools, self.layer, weight, bias)

    def neurons(self, fraction_bits: int) -> Neurons:
        """Thresholds, decays and recurrent weights."""
        membrane = self._scale(fraction_bits) * self.unit * 2.0**-fraction_bits
        threshold = np.maximum(np.rint(self.v_th / membrane), 1).astype(np.int32)
        decay = np.rint(self.decay * 2**DECAY_BITS).astype(np.int32)
        recurrent = shift = None
        if self.recurrent is not None:
            rows = np.abs(self.recurrent).max(1) / membrane / self.top
            shift = np.ceil(np.log2(np.maximum(rows, 1))).astype(np.int32)
            recurrent = np.rint(self.recurrent / (membrane * 2.0**shift)[:, None]).astype(np.int8)
        return Neurons(threshold, decay, recurrent, shift, self.v_th)

    def fraction_bits(self, largest: int) -> int:
        """The most that leave room for all sums, up to :data:`FRACTION_BITS`; 0 where none do, and the proof then says so."""
        for bits in range(FRACTION_BITS, 0, -1):
            own, neurons = self.synapses(bits), self.neurons(bits)
            most = 2**30 + ROOM + (own.most(largest) << bits)
            if neurons.recurrent is not None and neurons.shift is not None:
                most += int((np.abs(neurons.recurrent.astype(np.int64)).sum(1) << neurons.shift).max())
            if most <= INT32:
                return bits
        return 0


def rounded(weight: NDArray[np.float64], top: int) -> NDArray[np.int8]:
    """Weights as integers up to ``top``: to the nearest, but so that each kernel keeps its sum.

    Where the sum of the nearest integers is not the nearest to the sum of the weights, as many of them go the other way as are
    missing: those that lie nearest to the middle. An image has large areas of one brightness, so what matters is the sum of a
    kernel; errors of single weights cancel out in it only by chance. A weight of a dense layer is a kernel of its own.
    """
    kernels = weight.reshape(-1, weight[0, 0].size)
    nearest = np.rint(kernels)
    if kernels.shape[1] > 1:
        lacking = np.rint(kernels.sum(1) - nearest.sum(1))[:, None]
        order = np.argsort(np.sign(lacking) * (nearest - kernels), axis=1, kind="stable")
        change = np.sign(lacking) * (np.arange(kernels.shape[1]) < np.abs(lacking))
        np.put_along_axis(nearest, order, np.take_along_axis(nearest, order, 1) + change, 1)
    return nearest.clip(-top, top).reshape(weight.shape).astype(np.int8)


_Floats = tuple[NDArray[np.float64], NDArray[np.float64]]


def _readout(group: list[dict[str, Any]], weights: _Floats, bits: int) -> tuple[Synapses, float]:
    """The readout, and what one unit of its sum is worth: one scale for all actions, whose sums are compared."""
    pools, layer = parts(group)
    weight, bias = weights
    largest = float(np.abs(weight).max())
    scale = largest / (2 ** (bits - 1) - 1) if largest else 1.0
    rounded = np.rint(weight / scale).astype(np.int16)
    unit = scale / Synapses(pools, layer, rounded, bias).area
    in_units = np.rint(bias / unit)
    if np.abs(in_units).max() > INT32:
        raise UserError("the biases of the readout are too large for integers beside its weights; give more --readout-bits")
    return Synapses(pools, layer, rounded, in_units.astype(np.int32)), unit


def _weights(network: QNetwork, n: int) -> _Floats:
    """Weights and biases of a network's synapses ``n``."""
    layers = [layer for layer in network.synapses[n].children() if isinstance(layer, nn.Conv2d | nn.Linear)]
    weight = _float64(layers[-1].weight)
    bias = layers[-1].bias
    return weight, np.zeros(len(weight)) if bias is None else _float64(bias)


def _float64(values: th.Tensor) -> NDArray[np.float64]:
    return values.detach().cpu().double().numpy()
