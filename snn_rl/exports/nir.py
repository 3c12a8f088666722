"""An agent as a NIR graph that says exactly what its neurons do, with golden spike traces in the same file.

NIR's spiking neurons reset to a value; ours subtract their threshold (proposals #137 and #138 would add that to NIR). So each
layer of neurons is three nodes, an integrator, a threshold, and a scale that feeds spikes back::

    u[t] = decay * u[t-1] + i[t] - decay * v_th * z[t-1]        NAME_membrane, and NAME_reset from NAME_spikes to it
    z[t] = 1 if u[t] > v_th else 0                              NAME_spikes

``u`` is the membrane before its reset. That is :func:`snn_rl.core.lif.lif_step` with ``u = decay * v + i``. An integrator that
leaks is ``LI`` with ``tau = dt / (1 - decay)`` and ``r = tau / dt``, one that does not is ``I`` with ``r = 1 / dt``: Euler's
steps of length ``dt``. An edge that closes a circle (a reset, recurrent synapses) takes one timestep.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import h5py
import nir
import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.spec import WEIGHTED, check_undivided, split_at_neurons
from snn_rl.engine.semantics import pair
from snn_rl.exports.layout import facts
from snn_rl.exports.traces import Traces, traces
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole

DT = 1e-4  # seconds a timestep: what snnTorch and SpikingJelly take for granted
EXACT = (
    "exact: u[t] = decay u[t-1] + i[t] - decay v_th z[t-1], z[t] = u[t] > v_th, by Euler steps of dt; an edge that closes a "
    "circle takes one step"
)
USE = (
    "show each observation for T steps; q is the mean of the output over them, the action its largest; where an episode "
    "begins all membranes are 0"
)


def write(agent: Agent, out: Path) -> str:
    """Writes the exact graph and the traces.

    Raises:
        UserError: for an ANN, for an agent of integers or without neurons, and as :func:`graph`.
    """
    check(agent)
    made, golden = graph(agent), traces(agent)
    made.metadata |= {"dynamics": EXACT}
    save(made, golden, out)
    return f"{out}: NIR, integrator, threshold and feedback, exact; golden spikes of {golden.decisions} decisions in the file"


def check(agent: Agent) -> None:
    """Raises UserError for what NIR has no words for."""
    if not agent.network.spiking:
        raise UserError(f"'{agent.label}' is an ANN, and NIR has no ReLU: export it to onnx")
    if not agent.network.lifs:
        raise UserError(f"'{agent.label}' has no neurons, only a matrix, and so no spikes for NIR: export it to onnx")
    if agent.integer is not None:
        raise UserError(f"'{agent.label}' is an agent of integers, and NIR computes real numbers: export it to c or onnx")
    check_undivided(agent.network.spec, "NIR")


def graph(agent: Agent, lif: bool = False) -> nir.NIRGraph:
    """The graph.

    Args:
        agent: spiking, of floats.
        lif: NIR's own neurons, LIF and IF, which reset to 0, instead of the exact ones.

    Raises:
        UserError: for convolutions with groups or with a kernel that is not square.
    """
    network = agent.network
    groups, layers = split_at_neurons(network.spec)
    seen = np.array(agent.observation_shape)
    built = _Chain({"observation": nir.Input(input_type={"input": seen})})
    factor = network.input_scale  # importers that know LIF know no Scale: there it is part of the first weights
    if factor != 1 and not lif:
        built.add("input_scale", nir.Scale(scale=np.full(agent.observation_shape, factor, np.float32)))
        factor = 1.0
    x = th.zeros(1, *agent.observation_shape)
    for n, group in enumerate(groups):
        name = network.layer_names[n]
        for k, (layer, module) in enumerate(zip(group, cast(nn.Sequential, network.synapses[n]), strict=True)):
            weighted = [one for one in group[k:] if "bias" in one]
            own = name if weighted and weighted[-1] is layer else f"{name}_{layer['type'].lower()}_{k}"
            if layer["type"] != "Flatten" or x.dim() > 2:
                built.add(own, _linear(own, layer, module, tuple(x.shape[1:]), factor))
                factor = 1.0 if layer["type"] in WEIGHTED else factor
            with th.no_grad():
                x = module(x)
        if n < len(layers):
            shape, neurons = tuple(x.shape[1:]), network.lifs[n]
            v_th = np.full(shape, neurons.v_th.item(), np.float32)
            decay = np.broadcast_to(_array(neurons.decay).astype(np.float64), shape)
            recurrent = dict(network.recurrent.items()).get(str(n))
            (built.add_lif if lif else built.add_neurons)(name, v_th, decay)
            if recurrent is not None:
                weight = _array(cast(Tensor, recurrent.weight))
                built.feed_back(f"{name}_recurrent", nir.Linear(weight=weight), f"{name}_spikes", built.entrance)
    built.add("q", nir.Output(output_type={"output": np.array(x.shape[1:])}))
    return nir.NIRGraph(nodes=built.nodes, edges=built.edges, metadata={**facts(agent), "dt": DT, "use": USE})


class _Chain:
    """Nodes one behind the other, and what feeds back; ``entrance`` is where the currents of the last neurons arrive."""

    def __init__(self, nodes: dict[str, nir.NIRNode]) -> None:
        self.nodes, self.edges = nodes, list[tuple[str, str]]()
        self.last = next(iter(nodes))
        self.entrance = ""

    def add(self, name: str, node: nir.NIRNode) -> None:
        self.nodes[name] = node
        self.edges.append((self.last, name))
        self.last = name

    def feed_back(self, name: str, node: nir.NIRNode, source: str, target: str) -> None:
        self.nodes[name] = node
        self.edges += [(source, name), (name, target)]

    def add_neurons(self, name: str, v_th: NDArray[Any], decay: NDArray[Any]) -> None:
        """Integrator, threshold and reset."""
        self.entrance = f"{name}_membrane"
        self.add(self.entrance, _integrator(decay))
        self.add(f"{name}_spikes", nir.Threshold(threshold=v_th))
        self.feed_back(f"{name}_reset", nir.Scale(scale=-decay * v_th), f"{name}_spikes", self.entrance)

    def add_lif(self, name: str, v_th: NDArray[Any], decay: NDArray[Any]) -> None:
        """A neuron of NIR's, which resets to 0."""
        self.entrance = f"{name}_spikes"
        if (decay == 1).all():
            self.add(self.entrance, nir.IF(r=np.full(decay.shape, 1 / DT), v_threshold=v_th, v_reset=np.zeros_like(v_th)))
            return
        tau = _tau(decay)
        rest = np.zeros(decay.shape)
        self.add(self.entrance, nir.LIF(tau=tau, r=tau / DT, v_leak=rest, v_threshold=v_th, v_reset=np.zeros_like(v_th)))


def _integrator(decay: NDArray[Any]) -> nir.NIRNode:
    if (decay == 1).all():
        return nir.I(r=np.full(decay.shape, 1 / DT))
    tau = _tau(decay)
    return nir.LI(tau=tau, r=tau / DT, v_leak=np.zeros(decay.shape))


def _tau(decay: NDArray[Any]) -> NDArray[Any]:
    """Time constants in seconds; of a neuron that does not leak beside others that do, the longest that float64 tells."""
    tau: NDArray[Any] = DT / np.maximum(1 - decay, np.finfo(np.float64).eps)
    return tau


def _linear(name: str, layer: dict[str, Any], module: nn.Module, shape: tuple[int, ...], factor: float) -> nir.NIRNode:
    """A layer without neurons, its weights times a factor; ``shape`` is what arrives.

    Raises:
        UserError: for a convolution that the package nir misunderstands.
    """
    if layer["type"] == "Flatten":
        return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
    if layer["type"] == "AvgPool2d":
        sizes = {key: np.array(pair(layer[key])) for key in ("kernel_size", "stride", "padding")}
        return nir.AvgPool2d(**sizes)
    weight = _array(cast(Tensor, module.weight)) * np.float32(factor)
    bias = None if module.bias is None else _array(cast(Tensor, module.bias))
    if layer["type"] == "Linear":
        return nir.Linear(weight=weight) if bias is None else nir.Affine(weight=weight, bias=bias)
    if len(set(weight.shape[2:])) > 1 or layer["groups"] > 1:
        raise UserError(
            f"nir {nir.__version__} gets the shape behind a convolution wrong whose kernel is not square or that has groups "
            f"({name}: {weight.shape[2]}x{weight.shape[3]}, {layer['groups']} groups); export the agent to onnx"
        )
    padding = layer["padding"] if isinstance(layer["padding"], str) else pair(layer["padding"])
    return nir.Conv2d(
        input_shape=shape[1:],
        weight=weight,
        stride=pair(layer["stride"]),
        padding=padding,
        dilation=pair(layer["dilation"]),
        groups=1,
        bias=np.zeros(len(weight), np.float32) if bias is None else bias,
    )


def save(made: nir.NIRGraph, golden: Traces, out: Path) -> None:
    """Writes graph and traces into one file, which ``nir.read`` and ``nir.read_data`` both take."""

    def observed(values: NDArray[Any], name: str) -> nir.NIRNodeData:
        return nir.NIRNodeData(observables={name: nir.TimeGriddedData(values.reshape(1, len(values), -1), DT)})

    nodes = {"observation": observed(golden.observations, "observation"), "q": observed(golden.q, "q")}
    nodes |= {f"{name}_spikes": observed(spikes, "spikes") for name, spikes in golden.spikes.items()}
    data = io.BytesIO()
    nir.write_data(data, nir.NIRGraphData(nodes=nodes))
    with whole(out) as temporary:
        nir.write(temporary, made)
        with h5py.File(data, "r") as source, h5py.File(temporary, "a") as target:
            source.copy("nodes", target)
            for key, value in source.attrs.items():
                target.attrs[key] = value


def _array(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().cpu().float().numpy()
    return array
