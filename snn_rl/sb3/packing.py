"""Observations of an image with numbers beside it as bytes: as vectors of floats their pixels would take four times as
much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.tasks.parts import Joined


@dataclass(frozen=True)
class Packing:
    """How such an observation is stored: a byte for each pixel, then the numbers as float32.

    Attributes:
        pixels: of the image.
        numbers: behind it.
    """

    pixels: int
    numbers: int

    @classmethod
    def of(cls, space: spaces.Space[Any]) -> Self | None:
        """That of the observations of a space; None where they are stored as they are."""
        if not isinstance(space, Joined) or space.parts.image is None or space.dtype == np.uint8:
            return None
        return cls(space.parts.pixels, space.parts.size - space.parts.pixels)

    @property
    def bytes(self) -> int:
        """Of an observation."""
        return self.pixels + 4 * self.numbers

    def packed(self, observation: NDArray[Any]) -> NDArray[np.uint8]:
        """An observation ``(pixels + numbers,)`` as bytes."""
        numbers = np.ascontiguousarray(observation[self.pixels :], np.float32)
        return np.concatenate([observation[: self.pixels].astype(np.uint8), numbers.view(np.uint8)])

    def numbers_in(self, packed: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The numbers in what was packed, ``(..., bytes)``."""
        return np.ascontiguousarray(packed[..., self.pixels :]).view(np.float32)

    def unpacked(self, packed: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The observations ``(..., pixels + numbers)`` in what was packed, ``(..., bytes)``."""
        return np.concatenate([packed[..., : self.pixels].astype(np.float32), self.numbers_in(packed)], -1)


def stored(space: spaces.Space[Any], frame_stack: int) -> tuple[tuple[int, ...], np.dtype[Any], Packing | None]:
    """How a replay buffer stores observations: the shape and the type of one frame, and how it is packed.

    Args:
        space: of the observations.
        frame_stack: frames that follow each other along the first axis.

    Raises:
        UserError: if they are no arrays, or no stacks of so many frames.
    """
    if space.shape is None or not isinstance(space, spaces.Box):
        raise UserError(
            f"replay needs observations that are arrays, got {space}; give the space of the model, model.observation_space"
        )
    if space.shape[0] % frame_stack:
        raise UserError(
            f"observations of shape {space.shape} are no stack of {frame_stack} frames; give the number that VecFrameStack has"
        )
    packing, dtype = Packing.of(space), np.dtype(space.dtype)
    if packing is None:
        frame = (space.shape[0] // frame_stack, *space.shape[1:])
        return frame, np.dtype(np.float32) if dtype == np.float64 else dtype, None
    if frame_stack > 1:
        raise UserError("frames of an image with numbers beside it lie part by part: leave frame_stack out, or say 1")
    return (packing.bytes,), np.dtype(np.uint8), packing
