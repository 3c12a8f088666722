"""Synaptic operations, counted exactly.

A synaptic operation is one (spike, synapse) pair, zero padding included: the fan-out of each neuron is found once (the
gradient of the layer's output, with all weights 1, with respect to its input) and each spike adds its own. "Spike rate times
dense operations" is up to 40 % off for convolutions, whose border neurons have fewer synapses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch as th
from torch import Tensor, nn

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import Spec


def dense_macs(spec: Spec, observation_shape: Sequence[int]) -> list[int]:
    """Multiply-accumulates of each layer of the ANN, biases and pooling not counted.

    NatureCNN on four 84x84 frames with 6 actions: 3,276,800 + 2,654,208 + 1,806,336 + 1,605,632 + 3,072.
    """
    network = QNetwork(spec, T=0)
    x, macs = th.zeros(1, *observation_shape), []
    with th.no_grad():
        for synapse in network.synapses:
            macs.append(0)
            for layer in synapse.children():
                x = layer(x)
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    macs[-1] += x.numel() * layer.weight[0].numel()
    return macs


def fan_out(synapse: nn.Sequential, input_shape: Sequence[int]) -> Tensor:
    """Number of synapses of each input neuron of a layer, ``input_shape``.

    Pooling before the weights is part of the synapses: a spike reaches every weight behind its pool.
    """
    x = th.zeros(1, *input_shape, requires_grad=True)
    y: Tensor = x
    weighted = False  # a spike reaches all synapses behind its pool, but not a second set of them
    for layer in synapse:
        if isinstance(layer, nn.Conv2d) and not weighted:
            ones = th.ones_like(layer.weight, device="cpu")
            y = nn.functional.conv2d(y, ones, None, layer.stride, layer.padding, layer.dilation, layer.groups)
            weighted = True
        elif isinstance(layer, nn.Linear) and not weighted:
            y = nn.functional.linear(y, th.ones_like(layer.weight, device="cpu"))
            weighted = True
        elif isinstance(layer, nn.AvgPool2d) and not weighted:
            y = nn.functional.avg_pool2d(y, layer.kernel_size, layer.stride, layer.padding, divisor_override=1)
        elif isinstance(layer, nn.Flatten):
            y = layer(y)
        else:  # a second weighted layer without neurons between sees analog values: see analog_macs
            break
    return th.autograd.grad(y.sum(), x)[0][0]


def analog_macs(synapse: nn.Sequential, input_shape: Sequence[int]) -> int:
    """Multiply-accumulates of weighted layers that follow another one with no neurons between; 0 in ordinary networks."""
    x, macs, first = th.zeros(1, *input_shape), 0, True
    with th.no_grad():
        for layer in synapse.cpu():
            x = layer(x)
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                macs += 0 if first else x.numel() * layer.weight[0].numel()
                first = False
    return macs


def fan_out_shares(network: QNetwork, observation_shape: Sequence[int]) -> list[Tensor]:
    """Each spiking neuron's part in all spike-driven synapses, per layer ``(*neurons,)``; together they sum to 1.

    The weight of a spike in a penalty on what spikes cost: one spike of a neuron costs its fan-out in accumulates.
    """
    twin, device = QNetwork(network.spec, T=0), next(network.parameters()).device
    shapes = network.shapes(observation_shape)
    counts = [fan_out(cast(nn.Sequential, s), shape) for s, shape in zip(list(twin.synapses)[1:], shapes, strict=True)]
    for n, synapses in network.recurrent.items():  # a decision's last spikes arrive in the next one, if carried
        arriving = 1.0 if network.carry else 1 - 1 / network.T
        counts[int(n)] = counts[int(n)] + arriving * cast(nn.Linear, synapses).out_features
    total = sum(float(count.sum(dtype=th.float64)) for count in counts)
    return [(count / total).to(device) for count in counts]
