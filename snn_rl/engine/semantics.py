"""An integer network: its numbers, and the proof that no sum of them can overflow. docs/integers.md has the equations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.core.spec import WEIGHTED, Spec, check_undivided, split_at_neurons
from snn_rl.store.integer import Integer

Array = NDArray[Any]
DECAY_BITS = 12  # a decay is a number of 4096ths
INT32 = 2**31 - 1
ANEW = "quantize the agent anew (python -m snn_rl.quantize)"


@dataclass(frozen=True)
class Synapses:
    """Sums over pools, then one convolution or dense layer.

    ``pools``: its AvgPool2d layers, as in a spec. ``layer``: the Conv2d or Linear. ``weight``: as PyTorch has it, int8, of the
    readout int16. ``bias``: ``(channels,)``, int32, in units of the membrane, of the readout in those of its sum.
    """

    pools: Spec
    layer: dict[str, Any]
    weight: Array
    bias: Array

    @property
    def area(self) -> int:
        """By how much a sum over its pools is larger than their mean."""
        return math.prod(math.prod(pair(pool["kernel_size"])) for pool in self.pools)

    def most(self, largest: int) -> int:
        """What no sum of weights times inputs can exceed in size, in whatever order it is added up.

        Args:
            largest: size of an input.
        """
        sizes = np.abs(self.weight.astype(np.int64)).reshape(len(self.weight), -1).sum(1)
        return int(sizes.max()) * largest * self.area


@dataclass(frozen=True)
class Neurons:
    """Spiking neurons; arrays are int32, ``(channels,)``.

    ``threshold``: in units of the membrane. ``decay``: 4096ths. ``recurrent``: int8 ``(neurons, neurons)``, and ``shift`` by
    how many bits the sum of what arrives through each of its rows is shifted. ``v_th``: the threshold it was made from.
    """

    threshold: Array
    decay: Array
    recurrent: Array | None = None
    shift: Array | None = None
    v_th: float = field(default=1.0, compare=False)


@dataclass(frozen=True)
class Integers:
    """An integer network.

    ``synapses`` are one more than ``neurons``; the last are the readout.

    Raises:
        UserError: where some input could make a sum overflow, or the arrays do not fit the spec.
    """

    spec: Spec
    T: int
    carry: bool
    input_scale: float
    form: Integer
    synapses: list[Synapses]
    neurons: list[Neurons]

    def __post_init__(self) -> None:
        for n in range(len(self.neurons)):
            if self.bound(n) > INT32:
                raise UserError(f"layer {n + 1} could overflow 32 bits ({self.bound(n)}); quantize with fewer --bits")
            if not 0 < self.neurons[n].threshold.min() <= self.neurons[n].threshold.max() <= self.limit:
                raise UserError(f"a threshold of layer {n + 1} does not fit into {self.form.membrane_bits} bits; {ANEW}")
            shift = self.neurons[n].shift
            if shift is not None and not 0 <= shift.min() <= shift.max() < DECAY_BITS * 2:
                raise UserError(f"a shift of layer {n + 1} does not lie in [0, {2 * DECAY_BITS - 1}]; {ANEW}")
            if not 0 <= self.neurons[n].decay.min() <= self.neurons[n].decay.max() <= 1 << DECAY_BITS:
                raise UserError(f"a decay of layer {n + 1} does not lie in [0, {1 << DECAY_BITS}]; {ANEW}")
        if self.readout_bound() > INT32:
            raise UserError(f"the readout could overflow 32 bits ({self.readout_bound()}); quantize with fewer --readout-bits")

    @property
    def limit(self) -> int:
        """The largest membrane; the least is its negative."""
        return int(2 ** (self.form.membrane_bits - 1) - 1)

    def largest(self, n: int) -> int:
        """The largest size of a number that arrives at layer ``n``: of the observation, or 1, a spike."""
        return max(-self.form.input_range[0], self.form.input_range[1]) if n == 0 else 1

    def bound(self, n: int) -> int:
        """What no charged membrane of layer ``n`` can exceed in size, nor any sum on the way there."""
        own, neurons = self.synapses[n], self.neurons[n]
        most = (
            self.limit
            + (own.most(self.largest(n)) << self.form.fraction_bits[n])
            + int(np.abs(own.bias.astype(np.int64)).max())
        )
        if neurons.recurrent is not None and neurons.shift is not None:
            rows = np.abs(neurons.recurrent.astype(np.int64)).sum(1)
            most += max(int(row) << int(shift) for row, shift in zip(rows, neurons.shift, strict=True))
        return most

    def saturates(self, n: int) -> bool:
        """Whether a membrane of layer ``n`` could go beyond its limit: unless what is added is at most what a leak takes away
        from a membrane at the limit. A spike brings a membrane above the threshold nearer to 0."""
        return (self.bound(n) - self.limit) << DECAY_BITS > self.limit * ((1 << DECAY_BITS) - int(self.neurons[n].decay.max()))

    def readout_bound(self) -> int:
        """What no sum of the readout over T timesteps can exceed in size."""
        own = self.synapses[-1]
        return self.T * (own.most(self.largest(len(self.neurons))) + int(np.abs(own.bias.astype(np.int64)).max()))

    def seen(self, observation: Array) -> Array:
        """What the network sees of observations, int16: in fixed point, rounded half to even, saturating."""
        if observation.dtype == np.uint8 and self.form.input_bits == 0:
            return np.minimum(observation, self.form.input_range[1]).astype(np.int16)
        scaled = np.rint(observation.astype(np.float32) * np.float32(2**self.form.input_bits))
        return scaled.clip(*self.form.input_range).astype(np.int16)


def parts(group: Spec) -> tuple[Spec, dict[str, Any]]:
    """The pools of a group of synapses, and its convolution or dense layer.

    Raises:
        UserError: for what integers are not defined for.
    """
    check_undivided(group, "an integer network")
    if sum(layer["type"] in WEIGHTED for layer in group) != 1 or group[-1]["type"] not in WEIGHTED:
        raise UserError(
            "in an integer network one Conv2d or Linear comes right before each layer of neurons, after AvgPool2d or Flatten; "
            "this one has " + ", ".join(layer["type"] for layer in group)
        )
    return [layer for layer in group[:-1] if layer["type"] == "AvgPool2d"], group[-1]


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Height and width, of which a spec says one where they are the same."""
    if isinstance(value, int):
        return value, value
    high, wide = value
    return high, wide


def from_arrays(spec: Spec, T: int, carry: bool, input_scale: float, form: Integer, arrays: dict[str, Array]) -> Integers:
    """The network whose arrays lie in a file, named as in the ``state_dict`` of the reference.

    Raises:
        KeyError: where one is missing.
        ValueError: where one has another type or shape than the network.
        UserError: as :class:`Integers`.
    """
    groups, layers = split_at_neurons(spec)
    if len(form.fraction_bits) != len(layers):
        raise ValueError(f"{len(form.fraction_bits)} numbers of fraction bits for {len(layers)} layers")
    synapses, neurons = [], []
    for n, group in enumerate(groups):
        pools, layer = parts(group)
        shape = _weight_shape(layer)
        kind = np.int8 if n < len(layers) else np.int16
        own = {key: _checked(arrays, f"synapses.{n}.{key}", *of) for key, of in
               {"weight": (shape, kind), "bias": (shape[:1], np.int32)}.items()}  # fmt: skip
        synapses.append(Synapses(pools, layer, **own))
    for n, layer in enumerate(layers):
        channels, size = synapses[n].bias.shape, layer.get("recurrent")
        own = {
            "threshold": _checked(arrays, f"neurons.{n}.threshold", channels, np.int32),
            "decay": _checked(arrays, f"neurons.{n}.decay_4096", channels, np.int32),
        }
        if size is not None:
            own["recurrent"] = _checked(arrays, f"recurrent.{n}.weight", (size, size), np.int8)
            own["shift"] = _checked(arrays, f"neurons.{n}.shift", (size,), np.int32)
        neurons.append(Neurons(**own, v_th=math.exp(float(arrays[f"neurons.{n}.log_v_th"]))))
    return Integers(spec, T, carry, input_scale, form, synapses, neurons)


def _weight_shape(layer: dict[str, Any]) -> tuple[int, ...]:
    if layer["type"] == "Linear":
        return layer["out_features"], layer["in_features"]
    return layer["out_channels"], layer["in_channels"] // layer["groups"], *pair(layer["kernel_size"])


def _checked(arrays: dict[str, Array], name: str, shape: tuple[int, ...], kind: type) -> Array:
    found = arrays[name]
    if found.shape != shape or found.dtype != kind:
        raise ValueError(f"'{name}' is {found.dtype}{found.shape}, expected {np.dtype(kind)}{shape}")
    return found
