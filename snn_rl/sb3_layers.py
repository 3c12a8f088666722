"""Reads the modules of a Stable-Baselines3 network as one flat list of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch as th
from torch import nn

from snn_rl.network import QNetwork, describe


def leaves(name: str, module: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """The modules without children, with their dotted names, in the order of their definition."""
    if module is None:
        return
    children = list(module.named_children())
    if not children:
        yield name, module
    for child_name, child in children:
        yield from leaves(f"{name}.{child_name}", child)


def read_layers(named: Sequence[tuple[str, nn.Module]], T: int, input_scale: float, carry: bool = True) -> QNetwork:
    """A network of these layers, with their weights. With T >= 1 the ReLUs become LIF layers of threshold 1.

    Raises:
        UnconvertibleError: naming the module that has no spiking counterpart.
    """
    network = QNetwork(describe(named), T, input_scale, carry)
    source = [tensor for _, module in named for tensor in module.parameters(recurse=False)]
    own = [tensor for synapse in network.synapses for tensor in synapse.parameters()]
    with th.no_grad():
        for ours, theirs in zip(own, source, strict=True):
            ours.copy_(theirs)
    return network
