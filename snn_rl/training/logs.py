"""Where trainings write their curves: TensorBoard's files, where it is installed."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter, Logger


@cache
def available() -> bool:
    """Whether TensorBoard is installed; where it is not, that is said once."""
    found = find_spec("tensorboard") is not None
    if not found:
        print("without TensorBoard no curves are written to look at: python -m pip install 'snn-rl[tensorboard]'")
    return found


class Log:
    """Numbers over the course of a training, in a folder; nothing is kept without TensorBoard.

    They are written at once, without TensorBoard's thread. Where they cannot be written (the disk is full), that is said and
    no more are; the training goes on.
    """

    def __init__(self, folder: Path) -> None:
        self._writer: Any = None
        if not available():
            return
        from tensorboard.compat.proto.event_pb2 import Event

        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self._try(lambda: self._open(folder / name, Event(wall_time=time.time(), file_version="brain.Event:2")))

    def _open(self, path: Path, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter(path.open("wb"))
        self._write(event)

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())
        self._writer.flush()

    def _try(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            print(f"no curves for TensorBoard are written any more ({error.strerror}); the training goes on")
            self._end()

    def _end(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):
                writer.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is written."""
        self._end()

    def add(self, name: str, value: float, step: int) -> None:
        """A point of a curve."""
        if self._writer is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        self._try(lambda: self._write(Event(wall_time=time.time(), step=step, summary=summary)))


class _Numbers(KVWriter):
    """Writes what Stable-Baselines3 records."""

    def __init__(self, folder: Path) -> None:
        self.log = Log(folder)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        for key, value in key_values.items():
            if "tensorboard" not in (key_excluded[key] or ()) and isinstance(value, int | float | np.number):
                self.log.add(key, float(value), step)

    def close(self) -> None:
        self.log.close()


def logger(folder: Path) -> Logger:
    """Stable-Baselines3's, which writes what it records into a folder."""
    return Logger(os.fspath(folder), [_Numbers(folder)])
