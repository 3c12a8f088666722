"""An ONNX graph while it grows, and what agents of floats and of integers have in common in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from snn_rl.core.spec import Spec
from snn_rl.engine.semantics import pair
from snn_rl.exports.layout import border, state
from snn_rl.store.agents import Agent

Weights = list[tuple[NDArray[Any], NDArray[Any] | None]]


class Graph:
    """Collects nodes and constants; a tensor is its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, operation: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Adds a node; returns its output, called ``out`` if given."""
        out = out or f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [out], name=f"node_{len(self.nodes)}", **attributes))
        return out

    def constant(self, name: str, value: Any, kind: type = np.float32) -> str:
        """A constant; the same name is the same constant."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, kind), name)
        return name


def starting(graph: Graph, agent: Agent, kind: type = np.float32) -> list[str]:
    """The state before a decision: what was given, or zeros where an episode starts."""
    zero, before = graph.constant("rest", 0, kind), []
    for n, member in enumerate(state(agent)):
        axes = graph.constant(f"axes.{len(member.shape)}", range(1, 1 + len(member.shape)), np.int64)
        start = graph.add("Unsqueeze", "episode_start", axes)
        before.append(graph.add("Where", start, zero, f"state_{n}"))
    return before


def linear_layers(graph: Graph, group: Spec, weights: Weights, x: str, name: str) -> str:
    """Adds a group of layers without neurons between; ``weights`` are those of its Conv2d and Linear layers."""
    following = iter(weights)
    for n, layer in enumerate(group):
        if layer["type"] == "Flatten":
            x = graph.add("Flatten", x)
        elif layer["type"] == "Image":
            size = graph.constant("image", [0, *layer["size"]], np.int64)  # 0: as many as there are
            x = graph.add("Reshape", part_of(graph, x, 0, math.prod(layer["size"])), size)
        elif layer["type"] == "AvgPool2d":
            sizes: dict[str, Any] = {
                "kernel_shape": pair(layer["kernel_size"]),
                "strides": pair(layer["stride"]),
                "pads": border(layer),
            }
            x = graph.add("AveragePool", x, count_include_pad=1, **sizes)
        else:
            weight, bias = next(following)
            x = _weighted(graph, layer, weight, bias, x, f"{name}.{n}")
    return x


def part_of(graph: Graph, x: str, begin: int, end: int) -> str:
    """The numbers ``begin .. end`` of each vector."""
    ends = [graph.constant(f"at.{at}", [at], np.int64) for at in (begin, end)]
    return graph.add("Slice", x, *ends, graph.constant("axis.1", [1], np.int64))


def _weighted(graph: Graph, layer: dict[str, Any], weight: NDArray[Any], bias: NDArray[Any] | None, x: str, name: str) -> str:
    kind = weight.dtype.type
    if layer["type"] == "Linear":
        x = graph.add("MatMul", x, graph.constant(f"{name}.weight", weight.T, kind))
        return x if bias is None else graph.add("Add", x, graph.constant(f"{name}.bias", bias, kind))
    sizes: dict[str, Any] = {
        "kernel_shape": pair(layer["kernel_size"]),
        "strides": pair(layer["stride"]),
        "pads": border(layer),
    }
    inputs = [x, graph.constant(f"{name}.weight", weight, kind)]
    inputs += [] if bias is None else [graph.constant(f"{name}.bias", bias, kind)]
    return graph.add("Conv", *inputs, dilations=pair(layer["dilation"]), group=layer["groups"], **sizes)
