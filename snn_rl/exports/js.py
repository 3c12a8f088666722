"""An agent in plain JavaScript: ``agent.js``, which is the same for every agent, and ``agent.json``, its weights.

The sums of weights are kept in double precision and rounded once; all else is in single precision, in Python's order.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch as th
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.spec import Spec, check_undivided, split_at_neurons
from snn_rl.engine.semantics import pair
from snn_rl.exports.layout import border, facts
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole_folder

CODE = Path(__file__).with_name("agent.js")


def write(agent: Agent, out: Path) -> str:
    """Writes a folder with ``agent.js`` and ``agent.json``.

    Raises:
        UserError: for an ANN, and for an agent of integers.
    """
    text = json.dumps(description(agent), allow_nan=False)
    with whole_folder(out) as new:
        shutil.copyfile(CODE, new / CODE.name)
        (new / "agent.json").write_bytes(text.encode())
    return f"{out}: agent.js and agent.json ({len(text):,} bytes); new SpikingAgent(the parsed agent.json).decide(observation)"


def description(agent: Agent) -> dict[str, Any]:
    """What ``agent.json`` holds: arrays are single precision, little-endian, base64.

    Raises:
        UserError: as :func:`write`.
    """
    network = agent.network
    if not network.spiking:
        raise UserError(f"'{agent.label}' is an ANN; JavaScript runs spiking agents: --to onnx takes ANNs")
    if agent.integer is not None:
        raise UserError(
            f"'{agent.label}' is an agent of integers; --to c or --to onnx takes those, JavaScript computes floats"
        )
    check_undivided(network.spec, "JavaScript")
    groups, layers = split_at_neurons(network.spec)
    x, described = th.zeros(1, *agent.observation_shape), list[dict[str, Any]]()
    for n, group in enumerate(groups):
        own, x = _synapses(group, cast(nn.Sequential, network.synapses[n]).cpu(), x)
        layer: dict[str, Any] = {"name": network.layer_names[n], "synapses": own}
        if n < len(layers):
            lif, recurrent = network.lifs[n], dict(network.recurrent.items()).get(str(n))
            layer |= {"size": x.numel(), "shape": list(x.shape[1:]), "threshold": lif.v_th.item()}
            layer["decay"] = _base64(lif.decay)
            layer["recurrent"] = None if recurrent is None else _base64(cast(Tensor, recurrent.weight))
        described.append(layer)
    return {
        "about": facts(agent),
        "T": network.T,
        "carry": network.carry,
        "inputScale": float(np.float32(network.input_scale)),
        "inputSize": int(np.prod(agent.observation_shape)),
        "layers": described,
    }


def _synapses(group: Spec, modules: nn.Sequential, x: Tensor) -> tuple[list[dict[str, Any]], Tensor]:
    """A group of layers, and its output for ``x``, whose shape counts."""
    described = []
    for layer, module in zip(group, modules, strict=True):
        with th.no_grad():
            y = module(x)
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        own = {"type": layer["type"], "weight": weight if weight is None else _base64(weight)}
        own["bias"] = bias if bias is None else _base64(bias)
        if layer["type"] == "Linear":
            described.append({**own, "inputs": layer["in_features"], "outputs": layer["out_features"]})
        elif layer["type"] != "Flatten":  # numbers lie flat anyway
            shapes = {"inputs": list(x.shape[1:]), "outputs": list(y.shape[1:]), "border": border(layer)}
            sizes = {"kernel": pair(layer["kernel_size"]), "stride": pair(layer["stride"])}
            groups = {"dilation": pair(layer.get("dilation", 1)), "groups": layer.get("groups", x.shape[1])}
            described.append({**own, **shapes, **sizes, **groups})
        x = y
    return described, x


def _base64(values: Tensor) -> str:
    return base64.b64encode(values.detach().cpu().numpy().astype("<f4").tobytes()).decode()
