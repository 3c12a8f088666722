"""Which synapses of a layer its inputs reach."""

from __future__ import annotations

from collections.abc import Sequence

import torch as th
from torch import Tensor, nn

from snn_rl.core.spec import Image


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
        elif isinstance(layer, nn.Flatten | Image):
            y = layer(y)
        else:  # a second weighted layer without neurons between sees analog values: see analog_macs
            break
    return th.autograd.grad(y.sum(), x)[0][0]


class Reach:
    """Counts the synapses of a layer that what is sent to it reaches.

    A spike reaches all weights behind its pool; analog values are pooled first and multiplied once.

    Args:
        synapse: the layers of the synapses, on the CPU.
        shape: of what is sent to them.
        spikes: whether that are spikes.
    """

    def __init__(self, synapse: nn.Sequential, shape: Sequence[int], spikes: bool = False) -> None:
        layers = list(synapse.children())
        at = next(n for n, layer in enumerate(layers) if isinstance(layer, (nn.Conv2d, nn.Linear)))
        first = 0 if spikes else at
        self.pool, self.weighted = nn.Sequential(*layers[:first]), layers[at]
        self.fan_out = fan_out(nn.Sequential(*layers[first:]), tuple(self.pool(th.zeros(1, *shape)).shape[1:]))

    def __call__(self, sent: Tensor) -> float:
        """For what was sent, ``(any, *neurons)``; zeros reach nothing."""
        arriving = self.pool((sent != 0).float()) != 0
        return float((arriving.sum(0).double() * self.fan_out).sum())

    def touched(self, sent: Tensor) -> float:
        """How many sums behind the weights anything reaches of what was sent, ``(any, *neurons)``; analog values only."""
        arriving = (self.pool((sent != 0).float()) != 0).float()
        layer = self.weighted
        if isinstance(layer, nn.Linear):
            return float((arriving.sum(-1) > 0).sum()) * layer.out_features
        assert isinstance(layer, nn.Conv2d)
        groups = layer.groups
        ones = th.ones(groups, layer.in_channels // groups, *layer.kernel_size)
        reached = nn.functional.conv2d(arriving, ones, None, layer.stride, layer.padding, layer.dilation, groups) > 0
        return float(reached.sum()) * layer.out_channels / groups
