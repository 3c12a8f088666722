"""Random spiking networks of every kind that integers are defined for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import decay_shape, spiking, split_at_neurons
from snn_rl.engine.rounding import quantise
from snn_rl.engine.semantics import Integers


def random_network(rng: np.random.Generator) -> tuple[QNetwork, tuple[int, ...], int | None]:
    """A network that spikes, the shape of its observations, and the fraction bits of these; None for pixels."""
    pixels = bool(rng.random() < 0.6)
    spec, shape = images(rng) if rng.random() < 0.7 else vectors(rng)
    spec = spiking(spec, decays=bool(rng.random() < 0.5), recurrent=bool(rng.random() < 0.4))
    scale = 1 / 255 if pixels else 1.0
    network = QNetwork(spec, T=int(rng.integers(1, 6)), input_scale=scale, carry=bool(rng.random() < 0.7))
    groups, layers = split_at_neurons(network.spec)
    for n, lif in enumerate(network.lifs):
        lif.set(v_th=float(rng.uniform(0.05, 0.4)))
        decays = rng.choice([0.001, 0.3, 0.77, 0.999, 1.0], size=decay_shape(groups[n], layers[n]))
        with th.no_grad():
            lif.raw_decay.copy_(th.as_tensor(decays))
            for synapses in [network.recurrent[str(n)]] if str(n) in network.recurrent else []:
                synapses.weight.normal_(std=0.3)
    return network, shape, None if pixels else int(rng.integers(0, 14))


def spiking_much(padding: int, groups: int) -> Integers:
    """Integers for images 14x14 of one channel: two convolutions, whose first layer's neurons often spike."""
    first = {"type": "Conv2d", "in_channels": 1, "out_channels": 8, "kernel_size": [3, 3], "stride": [1, 1], "bias": True,
             "padding": [0, 0], "dilation": [1, 1], "groups": 1}  # fmt: skip
    second = {**first, "in_channels": 8, "out_channels": 12, "kernel_size": [4, 3], "stride": [2, 1], "dilation": [2, 1],
              "padding": [padding, padding], "groups": groups}  # fmt: skip
    features = 12 * ((12 + 2 * padding - 7) // 2 + 1) * (10 + 2 * padding)
    readout = {"type": "Linear", "in_features": features, "out_features": 3, "bias": True}
    network = QNetwork([first, {"type": "ReLU"}, second, {"type": "ReLU"}, {"type": "Flatten"}, readout], 2, 1 / 255)
    for lif in network.lifs:
        lif.set(v_th=0.05, decay=0.5)
    return quantise(network)


def images(rng: np.random.Generator) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    shape = (int(rng.integers(1, 4)), int(rng.integers(9, 14)), int(rng.integers(9, 14)))
    spec, (channels, high, wide) = [], shape
    for n in range(int(rng.integers(1, 3))):
        for _ in range(int(rng.random() < 0.4 and min(high, wide) > 4)):
            stride, padding = int(rng.integers(1, 3)), int(rng.integers(0, 2))
            spec.append({"type": "AvgPool2d", "kernel_size": 2, "stride": stride, "padding": padding})
            high, wide = ((size + 2 * padding - 2) // stride + 1 for size in (high, wide))
        groups = channels if n and rng.random() < 0.3 else 1
        out = groups * int(rng.integers(1, 4))
        kernel, stride, padding = ([int(rng.integers(1, most)) for _ in "hw"] for most in (6, 4, 4))
        kernel = [min(size, k) for size, k in zip((high, wide), kernel, strict=True)]
        dilation = 1 if min(high, wide) < 9 else int(rng.integers(1, 3))
        padding = [size % 3 for size in padding]
        spec.append(
            {"type": "Conv2d", "in_channels": channels, "out_channels": out, "kernel_size": kernel, "stride": stride,
             "padding": padding, "dilation": [dilation, dilation], "groups": groups, "bias": bool(rng.random() < 0.8)}
        )  # fmt: skip
        spec.append({"type": "ReLU"})
        sizes = zip((high, wide), kernel, stride, padding, strict=True)
        high, wide = ((size + 2 * pad - dilation * (k - 1) - 1) // step + 1 for size, k, step, pad in sizes)
        channels = out
    features = channels * high * wide
    return [*spec, {"type": "Flatten"}, *dense(rng, features)], shape


def vectors(rng: np.random.Generator) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    features, hidden = int(rng.integers(1, 9)), int(rng.integers(1, 40))
    first = {"type": "Linear", "in_features": features, "out_features": hidden, "bias": bool(rng.random() < 0.8)}
    return [first, {"type": "ReLU"}, *dense(rng, hidden)], (features,)


def dense(rng: np.random.Generator, features: int) -> list[dict[str, Any]]:
    hidden = int(rng.integers(1, 50))
    return [
        {"type": "Linear", "in_features": features, "out_features": hidden, "bias": True},
        {"type": "ReLU"},
        {"type": "Linear", "in_features": hidden, "out_features": int(rng.integers(2, 7)), "bias": bool(rng.random() < 0.8)},
    ]


def random_play(rng: np.random.Generator, shape: tuple[int, ...], pixels: bool, steps: int, batch: int) -> np.ndarray:
    """Observations ``(steps, batch, *shape)`` of which few numbers change at a time, and all of them now and then."""
    size = (steps, batch, *shape)
    new = rng.integers(0, 256, size).astype(np.uint8) if pixels else (rng.normal(size=size) * 3).astype(np.float32)
    for step in range(1, steps):
        kept = rng.random(new.shape[1:]) < rng.choice([0.0, 0.5, 0.95, 1.0])
        new[step][kept] = new[step - 1][kept]
    return new
