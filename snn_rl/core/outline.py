"""Networks from files: an outline is built without memory and compared with the file's tensors before the network is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import cast

import torch as th
from torch import Tensor, nn

from snn_rl.core.limits import MAX_FRAMES, MAX_LAYERS, MAX_NEURONS, MAX_OBSERVED, MAX_SIZE, MAX_T
from snn_rl.core.lstm import sent_by
from snn_rl.core.network import QNetwork, sized
from snn_rl.core.spec import Image, Spec, check_layers

MAX_CURRENT = 1e30  # 2**25 times that is a float32
Shapes = Mapping[str, tuple[int, ...]]


def outline(spec: Spec, T: int, input_scale: float, carry: bool, observation_shape: Sequence[int]) -> QNetwork:
    """The network on the meta device, where tensors have shapes and no memory.

    Raises:
        ValueError: if it is none, is larger than any agent, or does not take such observations.
    """
    check_numbers(T, input_scale)
    if len(spec) > MAX_LAYERS:
        raise ValueError(f"network has {len(spec):,} layers; more than {MAX_LAYERS} are refused")
    if len(observation_shape) not in (1, 3) or math.prod(observation_shape) > MAX_SIZE:
        raise ValueError("observation_shape is not that of a vector or an image")
    check_layers(spec)
    try:
        with th.device("meta"):
            network = QNetwork(spec, T, input_scale, carry)
            network.shapes(observation_shape)
            numbers = _numbers(network, observation_shape)
    except ValueError:
        raise
    except Exception as error:  # what PyTorch raises for sizes that do not fit is of many kinds
        raise ValueError(f"network: {str(error).partition(chr(10))[0][:200]}") from error
    if numbers > MAX_NEURONS:
        raise ValueError(f"network has more than {MAX_NEURONS:,} neurons")
    return network


def _numbers(network: QNetwork, observation_shape: Sequence[int]) -> int:
    """How many numbers all layers give, those before a pool too."""
    x, sizes = th.empty(1, *observation_shape), []
    for synapse, neurons in zip_longest(network.synapses, network.neurons):
        for layer in cast(nn.Sequential, synapse):
            x = sized(layer, x)
            sizes.append(0 if isinstance(layer, nn.Flatten | Image) else x.numel())
        x = sent_by(neurons, x)
    return sum(sizes)


def check_currents(network: QNetwork) -> None:
    """Refuses weights by which a membrane could become infinite, and stay so: one without leak comes to 2**25 times its
    largest current.

    Raises:
        ValueError: naming the layer.
    """
    largest = MAX_OBSERVED * network.input_scale
    for n, synapse in enumerate(network.synapses[:-1] if network.spiking else ()):
        most = largest
        for weight in synapse.parameters():
            most = most + float(weight.detach().abs().max()) if weight.dim() == 1 else most * _row(weight)
        if str(n) in network.recurrent:
            most += sum(_row(weight) for weight in network.recurrent[str(n)].parameters())
        if str(n) in network.beside:
            most += sum(_row(weight) for weight in network.beside[str(n)].parameters()) * MAX_OBSERVED
        if most > MAX_CURRENT and all(bool(th.isfinite(weight).all()) for weight in network.parameters()):
            raise ValueError(f"the weights of {network.layer_names[n]} are so large that a membrane could become infinite")
        largest = 1.0  # a spike


def _row(weight: Tensor) -> float:
    """The largest sum of a row's sizes."""
    return float(th.linalg.vector_norm(weight.detach().flatten(1), 1, dim=1).max())


def check_numbers(T: int, input_scale: float, frames: int = 1) -> None:
    """Refuses what no network has.

    Raises:
        ValueError: naming the field.
    """
    if not 0 <= T <= MAX_T:
        raise ValueError(f"T must be between 0 and {MAX_T:,}, got {T:,}")
    if not (math.isfinite(input_scale) and input_scale > 0):
        raise ValueError(f"input_scale must be a finite number above 0, got {input_scale}")
    if not 1 <= frames <= MAX_FRAMES:
        raise ValueError(f"frames must be between 1 and {MAX_FRAMES}, got {frames:,}")


def check_shapes(network: QNetwork, found: Shapes) -> None:
    """Compares the tensors of a file with those of an outline.

    Raises:
        ValueError: naming the first that is too many, missing or of another shape.
    """
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    for key in [*own, *found]:
        if own.get(key) != found.get(key):
            here, there = (key in shapes and list(shapes[key]) for shapes in (own, found))
            raise ValueError(
                f"its layers are not those of the weights: '{key[:80]}' is {here or 'not'} in the network and "
                f"{there or 'not'} in the file"
            )


def filled(network: QNetwork, tensors: Mapping[str, Tensor]) -> QNetwork:
    """The network of an outline, with the weights, thresholds and decays of a file.

    Raises:
        ValueError: if the tensors are not those of the outline, a threshold is not a finite number above 0, or a weight is so
            large that a membrane could become infinite.
    """
    check_shapes(network, {key: tuple(value.shape) for key, value in tensors.items()})
    built = QNetwork(network.spec, network.T, network.input_scale, network.carry)
    built.load_state_dict(dict(tensors))
    for n, lif in enumerate(built.lifs):
        v_th = lif.v_th.item()
        if bool(th.isfinite(lif.log_v_th)) and not 0 < v_th < math.inf:
            raise ValueError(f"neurons.{n}.log_v_th must be the logarithm of a finite threshold above 0, got {v_th}")
    check_currents(built)
    return built
