"""The file from which an interrupted training goes on."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch as th

from snn_rl.core.errors import UserError
from snn_rl.store.files import whole

CHECKPOINT_SECONDS = 60.0
CHECKPOINT_SHARE = 0.05  # of the time may go into writing checkpoints; a large replay buffer is written less often


class Stateful(Protocol):
    """What can be stored and put back. States hold tensors and plain values only."""

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Puts a :meth:`state_dict` back."""


class Checkpoint:
    """Stores the parts of a training in one file, whole or not at all.

    Args:
        path: of the file.
        identity: settings that must be the same to go on.
        parts: what is stored, by name.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], parts: Mapping[str, Stateful]) -> None:
        self.path, self.identity, self.parts = path, dict(identity), parts
        self._written, self._cost = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        """Whether the last one is old enough to write another."""
        return time.monotonic() - self._written > max(CHECKPOINT_SECONDS, self._cost / CHECKPOINT_SHARE)

    def write(self) -> None:
        """Writes the file.

        Raises:
            OSError: if it cannot be written; the last one is still there.
        """
        begin = time.monotonic()
        content = {"identity": self.identity, **{name: part.state_dict() for name, part in self.parts.items()}}
        try:
            with whole(self.path) as new:
                buffer = io.BytesIO()  # torch.save turns a full disk into a RuntimeError without a cause
                th.save(content, buffer)
                new.write_bytes(buffer.getbuffer())
        finally:
            self._written = time.monotonic()
            self._cost = self._written - begin

    def read(self) -> bool:
        """Puts the parts back if there is a file; returns whether there is one.

        Raises:
            UserError: if it is damaged or of a training with other settings.
        """
        if not self.path.exists():
            return False
        try:
            saved = th.load(self.path, map_location="cpu", weights_only=True)
            before = saved["identity"]
            if other := self.parts.keys() - saved.keys():
                raise KeyError(other)
            for key, value in self.identity.items():
                if before.get(key) != value:
                    raise UserError(
                        f"'{self.path}' was made with {key} = {before.get(key)!r}, this run has {value!r}; "
                        "resume with the same options and recipe, or remove it to start anew"
                    )
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])
        except UserError:
            raise
        except (RuntimeError, KeyError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
            raise UserError(
                f"the checkpoint '{self.path}' is damaged or of another version; remove it to start that stage anew"
            ) from error
        return True

    def remove(self) -> None:
        """Removes the file: what it led to has been stored."""
        self.path.unlink(missing_ok=True)
