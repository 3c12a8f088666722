"""Reads the modules of a Stable-Baselines3 network as one flat list of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.dqn.policies import QNetwork as SB3QNetwork
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import Spec, UnconvertibleError, describe, spiking


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


def build_network(spec: Spec, T: int, input_scale: float, carry: bool) -> QNetwork:
    """The network that a description stands for, with random weights.

    Raises:
        UserError: if it is none. (UnconvertibleError is one.)
    """
    try:
        return QNetwork(spec, T, input_scale, carry)
    except UserError:
        raise
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"spec does not describe a network ({type(error).__name__}: {error}); see snn_rl.core.spec") from error


def pixel_scale(space: spaces.Box, normalize_images: bool) -> float:
    """The factor with which Stable-Baselines3 scales observations: 1/255 for images, 1 for vectors."""
    return 1 / 255 if normalize_images and is_image_space(space) else 1.0


def read_q_net(q_net: SB3QNetwork, T: int = 0, carry: bool = True, **neurons: bool) -> QNetwork:
    """A network with the layers and the weights of Stable-Baselines3's Q-network: feature extractor, then ``q_net``.

    Args:
        q_net: of a DQN policy; it stays as it is.
        T: timesteps per decision; 0 for the ANN.
        carry: keep the membranes from one environment step to the next.
        neurons: see :func:`read_layers`.

    Raises:
        UnconvertibleError: naming the module that cannot be read as one flat list of layers.
    """
    space = cast(spaces.Box, q_net.observation_space)
    scale, device = pixel_scale(space, q_net.normalize_images), next(q_net.parameters()).device
    named = [*leaves("features_extractor", q_net.features_extractor), *leaves("q_net", q_net.q_net)]
    network = read_layers(named, T, scale, carry, **neurons)
    ann = read_layers(named, 0, scale)
    check_in_order(ann, space.shape, lambda probe: q_net(probe.to(device)).cpu(), type(q_net.features_extractor).__name__)
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
