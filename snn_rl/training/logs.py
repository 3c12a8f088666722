"""Where trainings write their curves: TensorBoard's files, where it is installed."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from stable_baselines3.common.logger import Logger, configure

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@cache
def available() -> bool:
    """Whether TensorBoard is installed; where it is not, that is said once."""
    found = find_spec("tensorboard") is not None
    if not found:
        print("without TensorBoard no curves are written to look at: python -m pip install 'snn-rl[tensorboard]'")
    return found


class Log:
    """Numbers over the course of a training, in a folder; nothing is kept without TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self._writer: SummaryWriter | None = None
        if available():
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, name: str, value: float, step: int) -> None:
        """A point of a curve."""
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)


def logger(folder: Path) -> Logger:
    """Stable-Baselines3's, which writes what it records into a folder."""
    return configure(os.fspath(folder), ["tensorboard"] if available() else [])
