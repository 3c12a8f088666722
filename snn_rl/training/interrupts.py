"""Ctrl-C and SIGTERM during a training: noted at once, answered when it suits."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Notes Ctrl-C and SIGTERM while it is entered, so that the training can write a checkpoint first.

    A second signal ends at once.

    Args:
        checkpoint: the file that the message names.
        say: prints a line.
    """

    def __init__(self, checkpoint: Path, say: Callable[[str], None]) -> None:
        self.checkpoint, self.say = checkpoint, say
        self.requested = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._handlers[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread, which alone may handle signals
                break
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt(f"interrupted twice; the last checkpoint is {self.checkpoint}")
        self.requested = True
        self.say("stopping: a checkpoint is written at the next update (Ctrl-C again ends at once, without)")
