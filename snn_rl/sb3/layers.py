"""Reads the modules of a Stable-Baselines3 network as one flat list of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch as th
from torch import Tensor, nn

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError, describe, spiking


def leaves(name: str, module: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """The modules without children, with their dotted names, in the order of their definition."""
    if module is None:
        return
    children = [(n, child) for n, child in module._modules.items() if child is not None]  # named_children drops repetitions
    if not children:
        yield name, module
    for child_name, child in children:
        yield from leaves(f"{name}.{child_name}", child)


def read_layers(
    named: Sequence[tuple[str, nn.Module]], T: int, input_scale: float, carry: bool = True, **neurons: bool
) -> QNetwork:
    """A network of these layers, with their weights. With T >= 1 the ReLUs become LIF layers of threshold 1, with what
    ``neurons`` says: see :func:`~snn_rl.core.spec.spiking`.

    Raises:
        UnconvertibleError: naming the module that has no spiking counterpart.
    """
    network = QNetwork(spiking(describe(named), **neurons), T, input_scale, carry)
    source = [tensor for _, module in named for tensor in module.parameters(recurse=False)]
    own = [tensor for synapse in network.synapses for tensor in synapse.parameters()]
    with th.no_grad():
        for ours, theirs in zip(own, source, strict=True):
            ours.copy_(theirs)
    return network


def check_in_order(network: QNetwork, shape: Sequence[int], forward: Callable[[Tensor], Tensor], name: str) -> None:
    """Makes sure that a module computes what its layers compute one after the other.

    Args:
        network: the layers, as an ANN (T = 0).
        shape: of one observation.
        forward: of the module, ``(batch, *observation)`` to ``(batch, actions)``.
        name: of the module.

    Raises:
        UnconvertibleError: if it does not.
    """
    probe = th.randn(8, *shape) if network.input_scale == 1 else th.rand(8, *shape) / network.input_scale
    try:
        with th.no_grad():
            ours, theirs = network(probe)[0], forward(probe)
    except RuntimeError as error:
        raise UnconvertibleError(f"cannot convert '{name}': run as a list of layers it fails ({error})") from error
    if ours.shape != theirs.shape or not th.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max())):
        raise UnconvertibleError(f"cannot convert '{name}': its forward does more than run its layers in order")
