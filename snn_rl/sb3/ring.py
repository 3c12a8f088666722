"""A replay buffer as a checkpoint writes it: in segments of slots."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch as th
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.sb3.replay import NEVER, RINGS, SequenceReplayBuffer


class ReplayRing:
    """A :class:`~snn_rl.store.checkpoints.Ring`: the rows are the environments.

    Args:
        buffer: whose slots are written.
    """

    def __init__(self, buffer: SequenceReplayBuffer) -> None:
        self.buffer = buffer

    def ends(self) -> list[int]:
        """Slots ever written, of each environment."""
        return [int(n) for n in self.buffer.head]

    def capacity(self) -> int:
        """Slots of an environment."""
        return self.buffer.buffer_size

    def settled(self) -> list[int]:
        """Slots before the first that was changed after it was written."""
        return [int(n) for n in self.buffer.settled]

    def settle(self) -> None:
        """Says that the slots have been stored as they are now."""
        self.buffer.settled[:] = NEVER

    def slots(self, begin: list[int], end: list[int]) -> dict[str, Tensor]:
        """Copies of the slots ``begin .. end`` of each environment, by names such as ``frames.0``."""
        found: dict[str, Tensor] = {}
        for e, (first, last) in enumerate(zip(begin, end, strict=True)):
            at = np.arange(first, last) % self.buffer.buffer_size
            found |= {f"{name}.{e}": th.from_numpy(getattr(self.buffer, name)[e, at]) for name in RINGS}
        return found

    def put(self, begin: list[int], slots: Mapping[str, Tensor]) -> None:
        """Puts :meth:`slots` back.

        Raises:
            UserError: if they are of a buffer for other observations.
        """
        for e, first in enumerate(begin):
            for name in RINGS:
                ring, saved = getattr(self.buffer, name), slots[f"{name}.{e}"].numpy()
                if saved.dtype != ring.dtype or saved.shape[1:] != ring.shape[2:]:
                    raise UserError("the checkpoint is of a replay buffer for other observations; resume as it was begun")
                ring[e, (first + np.arange(len(saved))) % self.buffer.buffer_size] = saved
