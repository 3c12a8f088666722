"""Images with their classes, in three parts: to train, to select by, and held out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor

from snn_rl.core.errors import UserError

HELD_OUT, VALIDATION = 0.3, 0.15  # shares: of all images where no test part is given, and of those that are left
SPLIT_SEED = 0  # the same parts for every training
LEAST = 5  # images of a class: each part gets one
MAX_BYTES = 4 << 30  # of all images together


@dataclass(frozen=True)
class Part:
    """Images ``(n, channels, height, width)``, uint8, and their classes ``(n,)``, int64."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        assert self.images.dtype == th.uint8, self.images.dtype
        assert self.labels.dtype == th.int64, self.labels.dtype
        assert len(self.images) == len(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, images: NDArray[np.uint8], labels: NDArray[Any]) -> Part:
        """From arrays."""
        return cls(th.as_tensor(np.ascontiguousarray(images)), th.as_tensor(labels.astype(np.int64)))

    def at(self, indices: NDArray[np.int64]) -> Part:
        """Some of them."""
        chosen = th.as_tensor(indices)
        return Part(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Images:
    """A data set.

    Attributes:
        name: of it, for messages.
        classes: their names.
        train: what networks learn from.
        validation: by which they are selected.
        test: held out.
        shift: pixels by which images are shifted at random while networks learn, at most.
        flips: whether images are also mirrored then.
        notes: what is to be said of how they were read.
    """

    name: str
    classes: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    shift: int
    flips: bool = False
    notes: tuple[str, ...] = dataclasses.field(default=())

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image: ``(channels, height, width)``."""
        return tuple(self.train.images.shape[1:])


def divided(part: Part, share: float, classes: tuple[str, ...], name: str) -> tuple[Part, Part]:
    """A part and the share that is taken from it: of each class as much, at least one image, always the same ones.

    Raises:
        UserError: if a class has too few images.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    labels = part.labels.numpy()
    left, taken = [], []
    for n, label in enumerate(classes):
        own = rng.permutation(np.flatnonzero(labels == n))
        if len(own) < 2:
            raise UserError(f"{name}: class '{label}' has {len(own)} image(s) to learn from; give at least {LEAST}")
        count = max(round(share * len(own)), 1)
        taken.append(own[:count])
        left.append(own[count:])
    return part.at(np.sort(np.concatenate(left))), part.at(np.sort(np.concatenate(taken)))


def digits() -> Images:
    """The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn (UCI's Optical Recognition of Handwritten
    Digits, Alpaydin & Kaynak 1998): 30 % held out, 15 % of the rest to select by.

    Raises:
        UserError: without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError("the digits come with scikit-learn, which is missing: pip install 'snn-rl[vision]'") from error
    found = load_digits()
    pixels = np.rint(found.images * (255 / 16)).astype(np.uint8)[:, None]
    everything, classes = Part.of(pixels, found.target), tuple(map(str, found.target_names))
    rest, test = divided(everything, HELD_OUT, classes, "digits")
    train, validation = divided(rest, VALIDATION, classes, "digits")
    return Images("digits", classes, train, validation, test, shift=0)
