"""The classifiers: the paper's VGGs, and a dense one for small images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from snn_rl.core.errors import UserError
from snn_rl.core.spec import BATCH_NORM, Spec

POOL = "pool"
VGG: dict[str, tuple[int | str, ...]] = {  # channels of the convolutions, as in github.com/nitin-rathi/hybrid-snn-conversion
    "vgg5": (64, POOL, 128, 128, POOL),
    "vgg9": (64, POOL, 128, 256, POOL, 256, 512, POOL, 512, POOL, 512),
    "vgg16": (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512),
}
MLP = (256, 256)
WIDE, SMALL = 4096, 32  # neurons of a VGG's dense layers; images of fewer pixels a side have no use for so many
NETS = (*VGG, "mlp")


def check_net(net: str) -> None:
    """Refuses what is none of :data:`NETS`.

    Raises:
        UserError: naming them.
    """
    if net not in NETS:
        raise UserError(f"unknown network '{net}'; choose from {', '.join(NETS)}")


def spec_of(net: str, shape: Sequence[int], classes: int) -> Spec:
    """The network as text, with batch norm behind each convolution.

    Between blocks stands an average pool of 2 x 2, which is left out where it would leave no pixel. Behind the convolutions
    are two dense layers of 4,096 neurons; for images of fewer than 32 x 32 pixels, of as many as arrive there.

    Args:
        net: one of :data:`NETS`.
        shape: of an image, ``(channels, height, width)``.
        classes: how many.

    Raises:
        UserError: for another name.
    """
    check_net(net)
    channels, height, width = shape
    spec: Spec = []
    for layer in VGG.get(net, ()):
        if isinstance(layer, int):
            conv = {"in_channels": channels, "out_channels": layer, "kernel_size": 3, "padding": 1, "bias": False}
            spec += [{"type": "Conv2d", **conv}, {"type": BATCH_NORM, "num_features": layer}, {"type": "ReLU"}]
            channels = layer
        elif min(height, width) > 1:
            height, width = height // 2, width // 2
            spec.append({"type": "AvgPool2d", "kernel_size": 2, "stride": 2, "padding": 0})
    arriving = channels * height * width
    hidden = MLP if net == "mlp" else (WIDE if min(shape[1:]) >= SMALL else arriving,) * 2
    spec.append({"type": "Flatten"})
    for before, after in pairwise((arriving, *hidden)):
        spec += [{"type": "Linear", "in_features": before, "out_features": after, "bias": True}, {"type": "ReLU"}]
    return [*spec, {"type": "Linear", "in_features": hidden[-1], "out_features": classes, "bias": True}]
