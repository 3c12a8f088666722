"""An agent as an ONNX graph of plain operations: one decision of a batch, its state in and out.

Inputs: ``observation (batch, *observation)``, unscaled, bytes where the agent sees pixels; ``state_0``, ... ``(batch,
*neurons)``; ``episode_start (batch,)``, true where an episode begins: there the state is that of rest, whatever was given.
Outputs: ``q (batch, actions)``, ``action (batch,)``, ``next_state_0``, .... The state is Python's: membranes by layer, then
the last spikes of recurrent layers. An ANN has none.

The neuron is :func:`snn_rl.core.lif.lif_step`, T times. ``v / v_th - 1 > 0`` there and ``v > v_th`` here are the same in
floating point, because the quotient of two neighbouring numbers does not round to 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

from snn_rl.core.spec import check_memoryless, split_at_neurons
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.exports import onnx_integers
from snn_rl.exports.layout import actions, facts, pixels, state
from snn_rl.exports.onnx_graph import Graph, linear_layers, part_of, starting
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole

OPSET, IR_VERSION = 18, 8  # the oldest that have all operations; older runtimes refuse newer numbers


def write(agent: Agent, out: Path) -> str:
    """Writes the model.

    Raises:
        UserError: for an agent of integers whose sums float32 does not hold.
    """
    written = model(agent)
    with whole(out) as temporary:
        temporary.write_bytes(written.SerializeToString())
    inputs, outputs = ([value.name for value in values] for values in (written.graph.input, written.graph.output))
    return f"{out}: ONNX, opset {OPSET}; takes {', '.join(inputs)}; gives {', '.join(outputs)}"


def model(agent: Agent) -> onnx.ModelProto:
    """The agent as a model, checked by ONNX.

    Raises:
        UserError: as :func:`write`.
    """
    network, graph = agent.network, Graph()
    check_memoryless(network.spec, "ONNX")
    integer = isinstance(network, IntegerNetwork)
    members = state(agent)
    after = onnx_integers.decision(graph, agent, network) if isinstance(network, IntegerNetwork) else decision(graph, agent)
    graph.add("ArgMax", "q", out="action", axis=1, keepdims=0)
    for n, name in enumerate(after):
        graph.add("Identity", name, out=f"next_state_{n}")
    held = TensorProto.INT32 if integer else TensorProto.FLOAT
    seen = TensorProto.UINT8 if pixels(network, agent.observation_shape) else TensorProto.FLOAT
    inputs = [_value("observation", seen, agent.observation_shape)]
    inputs += [_value(f"state_{n}", held, member.shape) for n, member in enumerate(members)]
    inputs += [_value("episode_start", TensorProto.BOOL, ())]
    outputs = [_value("q", TensorProto.DOUBLE if integer else TensorProto.FLOAT, (actions(agent),))]
    outputs += [_value("action", TensorProto.INT64, ())]
    outputs += [_value(f"next_state_{n}", held, member.shape) for n, member in enumerate(members)]
    used = {name for node in graph.nodes for name in node.input}
    constants = [constant for name, constant in graph.constants.items() if name in used]
    drawn = helper.make_graph(graph.nodes, "decision", inputs, outputs, constants, doc_string=__doc__)
    made = helper.make_model(drawn, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="snn_rl")
    made.ir_version = IR_VERSION
    shapes = [{"name": f"state_{n}", "shape": ["batch", *own.shape], "holds": own.what} for n, own in enumerate(members)]
    helper.set_model_props(made, {**facts(agent), "state": json.dumps(shapes)})
    onnx.checker.check_model(made, full_check=True)
    return made


def decision(graph: Graph, agent: Agent) -> list[str]:
    """Adds the decision of a network of floats; ``q`` is its output.

    Returns:
        The state after it.
    """
    network = agent.network
    groups, layers = split_at_neurons(network.spec)
    weights = [[_arrays(own) for own in synapses.children() if hasattr(own, "weight")] for synapses in network.synapses]
    x = graph.add("Cast", "observation", to=TensorProto.FLOAT)
    numbers = part_of(graph, x, network.pixels, network.pixels + network.aside) if network.beside else ""

    def with_numbers(n: int, i: str) -> str:
        """A current, with what the numbers beside an image add to it."""
        if str(n) not in network.beside:
            return i
        weight = graph.constant(f"beside.{n}", _arrays(network.beside[str(n)])[0].T)
        return graph.add("Add", i, graph.add("MatMul", numbers, weight))

    if network.input_scale != 1:
        x = graph.add("Mul", x, graph.constant("input_scale", network.input_scale))
    sent, before = [x], starting(graph, agent) if network.carry else [""] * len(state(agent))
    membranes, spikes = list(before[: len(layers)]), list(before[len(layers) :])
    of = {int(n): k for k, n in enumerate(network.recurrent)}
    for n, layer in enumerate(layers):
        name = f"synapses.{n}"
        currents = [with_numbers(n, linear_layers(graph, groups[n], weights[n], one, name)) for one in sent]
        if not network.spiking:
            sent = [graph.add("Tanh" if layer["type"] == "Tanh" else "Relu", currents[0])]
            continue
        sent, lif = [], network.lifs[n]
        v_th = graph.constant(f"v_th.{n}", _array(lif.v_th))
        decay = graph.constant(f"decay.{n}", _array(lif.decay))
        for t in range(network.T):
            charged = currents[t % len(currents)]
            if n in of and spikes[of[n]]:
                own = graph.constant(f"recurrent.{n}", _arrays(network.recurrent[str(n)])[0].T)
                charged = graph.add("Add", charged, graph.add("MatMul", spikes[of[n]], own))
            if membranes[n]:
                charged = graph.add("Add", graph.add("Mul", membranes[n], decay), charged)
            z = graph.add("Cast", graph.add("Greater", charged, v_th), to=TensorProto.FLOAT)
            membranes[n] = graph.add("Sub", charged, graph.add("Mul", z, v_th))
            sent.append(z)
            if n in of:
                spikes[of[n]] = z
    mean = sent[0] if len(sent) == 1 else graph.add("Div", graph.add("Sum", *sent), graph.constant("T", network.T))
    last = len(layers)
    q = with_numbers(last, linear_layers(graph, groups[-1], weights[-1], mean, f"synapses.{last}"))
    graph.add("Identity", q, out="q")
    return membranes + spikes if network.spiking else []


def _arrays(layer: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
    return _array(layer.weight), None if layer.bias is None else _array(layer.bias)


def _array(value: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = value.detach().cpu().float().numpy()
    return array


def _value(name: str, kind: int, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])
