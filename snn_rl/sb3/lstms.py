"""The LSTM of a policy as layers of a network: synapses with an output for each gate, cells, and what they sent last."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch as th
from torch import Tensor, nn

from snn_rl.core.lstm import GATES, LSTM
from snn_rl.core.spec import UnconvertibleError

Lstm = tuple[list[tuple[str, nn.Module]], dict[str, nn.Linear]]
"""Modules with their names, in the order in which they run; and by the name of an LSTM its recurrent synapses."""


def _refused(where: object) -> UnconvertibleError:
    return UnconvertibleError(
        f"cannot convert '{where}': its LSTM runs in both directions or projects what it sends; train it anew without "
        "bidirectional and proj_size in lstm_kwargs"
    )


def taken_apart(name: str, lstm: nn.LSTM) -> Lstm:
    """The layers of PyTorch's LSTM, one behind the other. Its two biases become one.

    Args:
        name: for messages.
        lstm: of one or several layers, in one direction.

    Raises:
        UnconvertibleError: for one that runs in both directions or projects what it sends.
    """
    if lstm.bidirectional or lstm.proj_size:
        raise _refused(name)
    named: list[tuple[str, nn.Module]] = []
    recurrent = {}
    for n in range(lstm.num_layers):
        weights: dict[str, Tensor] = {key: getattr(lstm, f"{key}_l{n}") for key in ("weight_ih", "weight_hh")}
        gates, own = (nn.Linear(weight.shape[1], len(weight), bias=key == "weight_ih") for key, weight in weights.items())
        with th.no_grad():
            gates.weight.copy_(weights["weight_ih"])
            own.weight.copy_(weights["weight_hh"])
            gates.bias.zero_()
            for key in ("bias_ih", "bias_hh") if lstm.bias else ():
                gates.bias.add_(getattr(lstm, f"{key}_l{n}"))
        named += [(f"{name}.{n}.gates", gates), (f"{name}.{n}", LSTM(lstm.hidden_size))]
        recurrent[f"{name}.{n}"] = own
    return named, recurrent


def from_tensors(tensors: Mapping[str, Tensor], where: object) -> nn.LSTM:
    """PyTorch's LSTM that has these tensors.

    Args:
        tensors: under PyTorch's names.
        where: the file, for messages.

    Raises:
        UnconvertibleError: for one that runs in both directions or projects what it sends.
        ValueError: if the tensors are of no LSTM.
    """
    if any(key.endswith("_reverse") or "_hr_" in key for key in tensors):
        raise _refused(where)
    layers, bias = sum(re.fullmatch(r"weight_hh_l\d+", key) is not None for key in tensors), "bias_ih_l0" in tensors
    first, cells = tensors["weight_ih_l0"], tensors["weight_hh_l0"].shape[-1]
    wanted: dict[str, tuple[int, ...]] = {}
    for n in range(layers):
        wanted |= {f"weight_ih_l{n}": (GATES * cells, cells if n else first.shape[-1])}
        wanted |= {f"weight_hh_l{n}": (GATES * cells, cells)}
        wanted |= {f"bias_{kind}_l{n}": (GATES * cells,) for kind in ("ih", "hh") if bias}
    if {key: tuple(tensor.shape) for key, tensor in tensors.items()} != wanted:  # nothing is built that is wider than these
        raise ValueError("its tensors are of no LSTM")
    lstm = nn.LSTM(first.shape[1], cells, layers, bias=bias)
    lstm.load_state_dict(dict(tensors))
    return lstm
