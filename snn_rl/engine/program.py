"""An integer network as flat tables and arrays, which the event-driven engine runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from snn_rl.core.errors import UserError
from snn_rl.engine.floats import Floats
from snn_rl.engine.semantics import Array, Integers, Synapses, pair
from snn_rl.engine.tables import WORD, Layer, Sizes, Stage, filled
from snn_rl.store.integer import Integer

INT16 = 2**15 - 1
MAX_REACHED = 4_000_000  # positions under all kernels: of the NatureCNN on Atari's images there are 62,000
SHARE = 0.5  # of an observation that changed: beyond it computing all is faster

Shape = tuple[int, int, int]
"""Channels, height, width; of dense layers ``(neurons, 1, 1)``."""
Pair = tuple[int, int]


class Program:
    """The tables of a network for observations of one shape.

    Attributes:
        integers: the network.
        numbers: of an observation.
        wide: whether each takes 16 bits; otherwise it is a byte.
        stages: of synapses, in their order.
        layers: of neurons.
        readout: the first stage of the readout.
        share: of an observation that may change; beyond it computing all is faster.
        shapes: of each spiking layer.
        words: 64-bit words of an observation.
        recurrent: sizes of the recurrent layers.
        held: membranes in a row of the state, those between the layers too.
        width: 32-bit numbers in a row of the state: membranes, the last observation as words, last spikes of recurrent layers.
    """

    def __init__(self, integers: Integers | Floats, observation_shape: Sequence[int]) -> None:
        self.integers = integers
        self.numbers = int(np.prod(observation_shape))
        self.wide = is_wide(integers.form)
        self._bytes = integers.form.input_range == (0, 255)
        self.words = -(-self.numbers * (2 if self.wide else 1) // 8)
        self.stages: list[Stage] = []
        self._reach: list[tuple[Array, Array, Array]] = []
        self.layers: list[Layer] = []
        self._weights: dict[bool, list[Array]] = {False: [], True: []}
        self.kind = integers.neurons[0].threshold.dtype
        self.shapes: list[Shape] = []
        shape = _shape(observation_shape)
        for n, synapses in enumerate(integers.synapses):
            begin = len(self.stages)
            shape = self._add(synapses, shape, first=n == 0)
            if n < len(integers.neurons):
                self._add_neurons(n, begin, shape)
            else:
                self.readout = begin
        self.neurons = sum(int(np.prod(one)) for one in self.shapes)
        self.recurrent = [len(own.threshold) for own in integers.neurons if own.recurrent is not None]
        self.held = sum(filled(one.neurons) for one in self.layers)
        self.width = self.held + 2 * self.words + sum(self.recurrent)
        self.width += self.width % 2
        self._largest = max([self.numbers, *(one.inputs for one in self.stages), *(one.outputs for one in self.stages)])
        narrow = self.stages[0].kernel_wide < 4 or self.layers[0].end > 1  # narrow kernels and pools gain nothing
        self.share = 1.0 if narrow else SHARE

    def _add(self, synapses: Synapses, shape: Shape, first: bool) -> Shape:
        """Adds the stages of synapses; returns the shape of what they give."""
        for pool in synapses.pools:
            shape = self._stage(shape, shape[0], pool, groups=shape[0], weights=-1, first=first)
            first = False
        layer, held = synapses.layer, self._weights[synapses is self.integers.synapses[-1]]
        begin = sum(len(part) for part in held)
        if layer["type"] == "Linear":
            weight = synapses.weight.reshape(len(synapses.weight), *shape)
            weight = weight if first else weight.transpose(0, 2, 3, 1)  # the order of what arrives
            held.append(weight.reshape(len(weight), -1).T.ravel())
            one = {"kernel_size": 1, "stride": 1, "padding": 0}
            return self._stage((weight[0].size, 1, 1), len(weight), one, groups=1, weights=begin, first=False)
        groups = layer["groups"]
        weight = synapses.weight.reshape(groups, -1, *synapses.weight.shape[1:])  # (groups, out, in, kh, kw)
        held.append(weight.transpose(0, 2, 3, 4, 1).ravel())
        return self._stage(shape, layer["out_channels"], layer, groups, begin, first)

    def _stage(self, shape: Shape, channels: int, layer: dict[str, Any], groups: int, weights: int, first: bool) -> Shape:
        kernel, stride = pair(layer["kernel_size"]), pair(layer["stride"])
        padding, dilation = pair(layer["padding"]), pair(layer.get("dilation", 1))
        high, wide = (
            (size + 2 * pad - gap * (k - 1) - 1) // step + 1
            for size, k, step, pad, gap in zip(shape[1:], kernel, stride, padding, dilation, strict=True)
        )
        own = (shape[1], shape[2], shape[0], high, wide, channels, *kernel, *stride, *padding, *dilation)
        reached = high * wide * kernel[0] * kernel[1] + sum(len(places) for _, places, _ in self._reach)
        if reached > MAX_REACHED:
            raise UserError(
                f"its tables would have {reached:,} places; the event engine and exports of integers take {MAX_REACHED:,}: "
                "use strides, smaller images or the engine torch"
            )
        positions = sum(len(starts) for starts, _, _ in self._reach)
        self._reach.append(_reach(shape, (channels, high, wide), kernel, stride, padding, dilation, groups))
        self.stages.append(Stage(*own, groups, weights, int(first), positions))
        return channels, high, wide

    def _add_neurons(self, n: int, begin: int, shape: Shape) -> None:
        neurons, before = self.integers.neurons[n], self.layers
        size = int(np.prod(shape))
        of_recurrent = [len(one.threshold) for one in self.integers.neurons[:n] if one.recurrent is not None]
        recurrent = -1 if neurons.recurrent is None else sum(one**2 for one in of_recurrent)
        at, parameters = sum(row.neurons for row in before), sum(row.tile for row in before)
        tile = min(math.lcm(shape[0], WORD), filled(size))
        fraction = self.integers.form.fraction_bits[n]
        held = sum(filled(row.neurons) for row in before)
        own = (at, size, shape[0], parameters, tile, fraction, recurrent, sum(of_recurrent), self._narrow(n, begin), held)
        before.append(Layer(begin, len(self.stages), *own))
        self.shapes.append(shape)

    def _narrow(self, n: int, begin: int) -> int:
        """Of how many spikes 16 bits hold every sum on the way: of all, or of as many as have the largest weight."""
        own, simple = self.integers.synapses[n], len(self.stages) == begin + 1 and self.stages[begin].groups == 1
        if n == 0 or not simple or self.integers.neurons[n].recurrent is not None or self.kind != np.int32:
            return -1
        largest = max(1, int(np.abs(own.weight.astype(np.int16)).max()))
        return self.stages[begin].inputs if own.most(1) <= INT16 else INT16 // largest

    def weights(self, readout: bool) -> Array:
        """All weights of the readout, int16, or of what comes before it, int8."""
        return np.concatenate(self._weights[readout])

    def net(self) -> tuple[Array, ...]:
        """What :func:`snn_rl.engine.kernels.decide` takes first: weights of 8 and of 16 bits; tables; biases, thresholds and
        decays of channels, and the biases of the readout."""
        own = self.integers
        recurrent = [one.recurrent.T.ravel() for one in own.neurons if one.recurrent is not None]
        biases = [one.bias for one in own.synapses[:-1]]
        channels = (biases, [one.threshold for one in own.neurons], [one.decay for one in own.neurons])
        return (
            np.concatenate([self.weights(readout=False), *recurrent]),
            self.weights(readout=True),
            self.tables(),
            np.concatenate([*(self._tiled(one) for one in channels), own.synapses[-1].bias]),
        )

    def tables(self) -> Array:
        """:class:`Sizes`; stages; layers, whose recurrent weights lie behind the others; what positions reach; shifts."""
        own, first, behind = self.integers, self.stages[0], len(self.weights(readout=False))
        layers = [one._replace(recurrent=one.recurrent + behind) if one.recurrent >= 0 else one for one in self.layers]
        shifts = [one.shift for one in own.neurons if one.shift is not None]
        parts = [np.array(self.stages).ravel(), np.array(layers).ravel(), *self._joined(), np.concatenate([[], *shifts])]
        at = np.cumsum([len(Sizes._fields), *(len(part) for part in parts)]).tolist()
        sizes = Sizes(
            T=own.T, wide=int(self.wide), limit=own.limit, numbers=self.numbers, readout=self.readout,
            dense=first.outputs * first.kernel_high * first.kernel_wide * first.channels // first.groups,
            most=int(self.share * self.numbers), tiles=sum(one.tile for one in layers), held=self.held,
            behind=self.held + 2 * self.words, stages=at[0], layers=at[1], starts=at[2], places=at[3], shifts=at[5],
        )  # fmt: skip
        return np.concatenate([np.array(sizes), *parts]).astype(np.int32)

    def _tiled(self, layers: list[Array]) -> Array:
        """Numbers of channels, by layer, repeated as often as fills the layer's tile."""
        return np.concatenate([np.resize(own, row.tile) for own, row in zip(layers, self.layers, strict=True)])

    def _joined(self) -> tuple[Array, ...]:
        """What the positions of all stages reach."""
        before = np.cumsum([0, *(len(places) for _, places, _ in self._reach)])
        starts = [own + offset for (own, _, _), offset in zip(self._reach, before, strict=False)]
        return (np.concatenate(starts), *(np.concatenate([one[n] for one in self._reach]) for n in (1, 2)))

    def work(self, rows: int) -> tuple[Array, ...]:
        """What the engine writes on.

        Returns:
            Buffers, one a row: which inputs, their values, pooled values, where positions begin among the inputs. Currents,
            and recurrent currents. Of each environment an observation of zeros, as words, and the first layer's current for
            it. Two counts.
        """
        size, first = filled(self._largest) + WORD, filled(self.layers[0].neurons)
        exact = np.int32 if self.kind == np.int32 else np.float64  # of floats: that adding changes does not drift
        kept = np.zeros((rows, self.words), np.uint64), np.zeros((rows, first), exact)
        return np.zeros((4, size), np.int32), np.zeros((2, size), self.kind), *kept, np.zeros(2, np.int64)

    def seen(self, observations: Array) -> Array:
        """Observations as the kernels take them, ``(rows, numbers)``: bytes or 16-bit numbers."""
        flat = observations.reshape(len(observations), self.numbers)
        if flat.dtype != np.uint8 or not self._bytes:
            flat = self.integers.seen(flat).astype(np.int16 if self.wide else np.uint8, copy=False)
        return flat if flat.flags.carray else flat.copy()


def _reach(
    shape: Shape, out: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> tuple[Array, Array, Array]:
    """What each position of an input reaches: where its list begins (and, last, ends); of what is listed the place of its
    first output channel and that of its weights."""
    oy, ox, ky, kx = (axis.ravel() for axis in np.indices((*out[1:], *kernel)))
    y, x = oy * stride[0] - padding[0] + ky * dilation[0], ox * stride[1] - padding[1] + kx * dilation[1]
    inside = (y >= 0) & (y < shape[1]) & (x >= 0) & (x < shape[2])
    position = (y * shape[2] + x)[inside]
    order = np.argsort(position, kind="stable")
    places = ((oy * out[2] + ox) * out[0])[inside][order]
    taps = ((ky * kernel[1] + kx) * (out[0] // groups))[inside][order]
    starts = np.searchsorted(position[order], np.arange(shape[1] * shape[2] + 1))
    return starts, places, taps


def is_wide(form: Integer) -> bool:
    """Whether an input takes 16 bits; otherwise it is a byte."""
    return form.input_range[0] < 0 or form.input_range[1] > 255


def _shape(observation_shape: Sequence[int]) -> Shape:
    if len(observation_shape) == 1:
        return observation_shape[0], 1, 1
    if len(observation_shape) != 3:
        raise UserError(
            f"the event engine and the C export take vectors and images, not observations of shape {tuple(observation_shape)}"
        )
    channels, high, wide = observation_shape
    return channels, high, wide
