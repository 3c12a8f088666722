"""The decision of an agent of integers as ONNX operations: bit for bit that of :mod:`snn_rl.engine.reference`.

Sums of weights run in float32, which holds every integer up to 2^24 and adds such exactly in any order; where a sum could be
larger, in float64, which runtimes multiply matrices with but do not convolve with. All else is int64.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from onnx import TensorProto

from snn_rl.core.errors import UserError
from snn_rl.core.spec import Spec, split_at_neurons
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.semantics import DECAY_BITS, Array, Integers, pair
from snn_rl.exports.layout import border, pixels
from snn_rl.exports.onnx_graph import Graph, linear_layers, starting
from snn_rl.store.agents import Agent

EXACT = 2**24
Shape = tuple[int, ...]


def decision(graph: Graph, agent: Agent, network: IntegerNetwork) -> list[str]:
    """Adds the decision; ``q`` is its output, float64 as in Python.

    Returns:
        The state after it, int32.

    Raises:
        UserError: where a convolution could sum to more than float32 holds.
    """
    own = network.integers
    groups, layers = split_at_neurons(network.spec)
    shapes: list[Shape] = [tuple(agent.observation_shape), *network.shapes(agent.observation_shape)]
    rest = [graph.constant("none", 0, np.int64)] * len(layers) + [""] * len(network.recurrent)
    before = [_long(graph, name) for name in starting(graph, agent, np.int32)] if network.carry else rest
    membranes, spikes = before[: len(layers)], dict(zip(map(int, network.recurrent), before[len(layers) :], strict=True))
    seen = _seen(graph, own, pixels(network, agent.observation_shape))
    first, total = _sums(graph, own, 0, groups[0], shapes[0], seen), ""
    for _ in range(network.T):
        x = seen
        for n, (group, (arriving, shape)) in enumerate(zip(groups[:-1], pairwise(shapes), strict=True)):
            i = first if n == 0 else _sums(graph, own, n, group, arriving, x)
            x, membranes[n] = _neurons(graph, own, n, shape, i, membranes[n], spikes.get(n, ""))
            if n in spikes:
                spikes[n] = x
        q = _sums(graph, own, len(layers), groups[-1], shapes[-1], x) if layers else first
        q = graph.add("Add", q, graph.constant("readout.bias", own.synapses[-1].bias, np.int64))
        total = graph.add("Add", total, q) if total else q
    scale = graph.constant("q_scale", own.form.q_scale, np.float64)
    graph.add("Mul", graph.add("Cast", total, to=TensorProto.DOUBLE), scale, out="q")
    return [graph.add("Cast", name, to=TensorProto.INT32) for name in [*membranes, *spikes.values()]]


def _seen(graph: Graph, own: Integers, bytes_arrive: bool) -> str:
    """What the network sees of the observation, as :meth:`Integers.seen` says, in float32."""
    low, high = own.form.input_range
    x = graph.add("Cast", "observation", to=TensorProto.FLOAT)
    if not bytes_arrive or own.form.input_bits:
        x = graph.add("Round", graph.add("Mul", x, graph.constant("input_scale", 2**own.form.input_bits)))
    return graph.add("Clip", x, graph.constant("input_low", low), graph.constant("input_high", high))


def _sums(graph: Graph, own: Integers, n: int, group: Spec, arriving: Shape, x: str) -> str:
    """Weights times inputs of layer ``n``, without its bias, in int64."""
    synapses, name = own.synapses[n], f"synapses.{n}"
    most = synapses.most(own.largest(n))
    small = most <= EXACT
    if not small and synapses.layer["type"] == "Conv2d":
        raise UserError(
            f"a sum of layer {n + 1} could be {most:,}, and ONNX convolves exactly only up to {EXACT:,}; "
            "quantize with fewer --bits"
        )
    for k, layer in enumerate(group[:-1]):
        if layer["type"] == "AvgPool2d":  # of integers it is a sum
            ones = graph.constant(f"{name}.{k}.ones", np.ones((arriving[0], 1, *pair(layer["kernel_size"]))))
            sizes: dict[str, Any] = {"strides": pair(layer["stride"]), "pads": border(layer)}
            x = graph.add("Conv", x, ones, group=arriving[0], kernel_shape=pair(layer["kernel_size"]), **sizes)
        else:
            x = graph.add("Flatten", x)
    if not small:
        x = graph.add("Cast", x, to=TensorProto.DOUBLE)
    weight = synapses.weight.astype(np.float32 if small else np.float64)
    return _long(graph, linear_layers(graph, group[-1:], [(weight, None)], x, name))


def _neurons(graph: Graph, own: Integers, n: int, shape: Shape, i: str, v: str, z: str) -> tuple[str, str]:
    """One timestep of layer ``n``, as in ``IntegerNetwork``.

    Args:
        graph: to add to.
        own: the network.
        n: which layer.
        shape: of its neurons.
        i: sums of weights, int64.
        v: its membranes before, int64.
        z: its own last spikes, where they arrive too; empty for none.

    Returns:
        Its spikes, float32, and its membranes after, int64.
    """
    neurons, limit = own.neurons[n], own.limit

    def channels(name: str, values: Array) -> str:
        return graph.constant(f"{name}.{n}", values.reshape(-1, *[1] * (len(shape) - 1)), np.int64)

    i = graph.add("Mul", i, graph.constant(f"unit.{n}", 2 ** own.form.fraction_bits[n], np.int64))
    i = graph.add("Add", i, channels("bias", own.synapses[n].bias))
    if z and neurons.recurrent is not None and neurons.shift is not None:
        weight = graph.constant(f"recurrent.{n}", neurons.recurrent.T)
        arriving = _long(graph, graph.add("MatMul", graph.add("Cast", z, to=TensorProto.FLOAT), weight))
        i = graph.add("Add", i, graph.add("Mul", arriving, channels("recurrent.unit", 1 << neurons.shift.astype(np.int64))))
    leaking = graph.add("Mul", v, channels("decay", neurons.decay))
    leaked = graph.add("Div", leaking, graph.constant("one", 1 << DECAY_BITS, np.int64))  # ONNX rounds towards zero
    charged = graph.add("Add", leaked, i)
    threshold = channels("threshold", neurons.threshold)
    spikes = graph.add("Greater", charged, threshold)
    after = graph.add("Sub", charged, graph.add("Mul", _long(graph, spikes), threshold))
    bounds = [graph.constant(name, value, np.int64) for name, value in (("least", -limit), ("most", limit))]
    return graph.add("Cast", spikes, to=TensorProto.FLOAT), graph.add("Clip", after, *bounds)


def _long(graph: Graph, name: str) -> str:
    return graph.add("Cast", name, to=TensorProto.INT64)
