"""Batch norm, folded into the weights before it: an ANN that was trained with it computes the same without."""

from __future__ import annotations

import torch as th
from torch import nn

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import BATCH_NORM, UnconvertibleError


def folded(ann: QNetwork) -> QNetwork:
    """The ANN without batch norm, in evaluation mode, with its running statistics in the weights and biases before it::

        w' = w * gamma / sqrt(var + eps)
        b' = (b - mean) * gamma / sqrt(var + eps) + beta

    Args:
        ann: a network at T = 0, whose batch norms each follow a Conv2d.

    Raises:
        UnconvertibleError: if a batch norm follows anything else.
    """
    if not any(layer["type"] == BATCH_NORM for layer in ann.spec):
        return ann.eval()
    after = [layer["type"] for layer in ann.spec[1:]] + [""]
    spec = [
        {**layer, "bias": layer["bias"] or following == BATCH_NORM} if layer["type"] == "Conv2d" else layer
        for layer, following in zip(ann.spec, after, strict=True)
        if layer["type"] != BATCH_NORM
    ]
    plain = QNetwork(spec, 0, ann.input_scale, ann.carry).to(next(ann.parameters()).device)
    with th.no_grad():
        for full, bare in zip(ann.synapses, plain.synapses, strict=True):
            _fold(list(full.children()), list(bare.children()))
    return plain.eval()


def _fold(full: list[nn.Module], bare: list[nn.Module]) -> None:
    """Fills the synapses ``bare`` from ``full``, which have batch norms too."""
    rest = iter(bare)
    own: nn.Module | None = None  # the layer before
    for layer in full:
        if not isinstance(layer, nn.BatchNorm2d):
            own = next(rest)
            missing = {key: th.zeros_like(value) for key, value in own.state_dict().items() if key not in layer.state_dict()}
            own.load_state_dict({**missing, **layer.state_dict()})  # a bias that only the batch norm brings
            continue
        if not isinstance(own, nn.Conv2d) or own.bias is None or layer.running_mean is None or layer.running_var is None:
            raise UnconvertibleError("a batch norm can only be folded into the Conv2d right before it")
        factor = layer.weight / (layer.running_var + layer.eps).sqrt()
        own.weight.mul_(factor.view(-1, 1, 1, 1))
        own.bias.sub_(layer.running_mean).mul_(factor).add_(layer.bias)
