"""The checkpoint from which an interrupted training goes on."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch as th

from snn_rl.core.errors import UserError
from snn_rl.store import checkpoints
from snn_rl.store.checkpoints import SECONDS, Ring, States


class Stateful(Protocol):
    """What can be stored and put back. States hold tensors and plain values only."""

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Puts a :meth:`state_dict` back."""


class GlobalRandom:
    """The generators that Python, numpy and torch share among all: nothing here draws from them in a training, but an
    environment may."""

    def state_dict(self) -> dict[str, Any]:
        """How they stand."""
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global generator is meant)
        numbers = th.from_numpy(np.asarray(keys).astype(np.int64))
        return {"python": random.getstate(), "numpy": (kind, numbers, *rest), "torch": th.get_rng_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts them back."""
        random.setstate(state["python"])
        kind, numbers, *rest = state["numpy"]
        np.random.set_state((kind, numbers.numpy().astype(np.uint32), *rest))  # noqa: NPY002 (as above)
        th.set_rng_state(state["torch"])


class Checkpoint:
    """Stores the parts of a training in a folder, see :class:`~snn_rl.store.checkpoints.States`.

    Args:
        path: of the folder.
        identity: settings that must be the same to go on.
        parts: what is stored, by name.
        ring: what is stored in segments.
        every: seconds between two checkpoints, at least.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        parts: Mapping[str, Stateful],
        ring: Ring | None = None,
        every: float = SECONDS,
    ) -> None:
        self.path, self.identity, self.parts, self.ring, self.every = path, dict(identity), parts, ring, every
        self._states = States(path, ring)

    @property
    def due(self) -> bool:
        """Whether the last one is old enough to write another."""
        return self._states.due(self.every)

    @property
    def there(self) -> bool:
        """Whether there is one."""
        return self._states.there

    def write(self) -> None:
        """Writes it.

        Raises:
            OSError: if it cannot be written; the last one is still there.
        """
        self._states.write({"identity": self.identity, **{name: part.state_dict() for name, part in self.parts.items()}})

    def read(self) -> tuple[bool, str]:
        """Puts the parts back if there is one; whether there is, and what is to be said of it.

        Raises:
            UserError: if it is damaged, of another version, or of a training with other settings.
        """
        if self.path.is_file():
            raise UserError(checkpoints.older(self.path, 1))
        if not self.there:
            return False, ""
        saved, said = self._states.read(self._check)
        try:
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise UserError(
                f"the checkpoint '{self.path}' is of another version; remove it to start that stage anew"
            ) from error
        return True, said

    def _check(self, saved: Mapping[str, Any]) -> None:
        """Raises UserError if it is of a training with other settings."""
        before = saved["identity"]
        for key, value in self.identity.items():
            if before.get(key) != value:
                raise UserError(
                    f"'{self.path}' was made with {key} = {before.get(key)!r}, this run has {value!r}; "
                    "resume with the same options and recipe, or remove it to start anew"
                )

    def remove(self) -> None:
        """Removes it: what it led to has been stored."""
        self._states.remove()
