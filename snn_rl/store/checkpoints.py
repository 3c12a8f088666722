"""The folder of a checkpoint: the last two states of something long, each there whole or not at all.

``7.json`` names the files of the seventh state with their SHA-256 sums; ``7.state`` holds tensors and plain values. What is
large and only grows (a replay buffer) lies in segments: files of slots that are written once and that both states may name.
"""

from __future__ import annotations

import io
import json
import pickle
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch as th
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.store import integrity
from snn_rl.store.files import whole
from snn_rl.store.leftovers import is_temporary

FORMAT = 2  # 1 was a single file
SECONDS = 60.0  # between two states
SHARE = 0.05  # of the time may go into writing; a large replay buffer is written less often
KEPT = 2  # states
SUFFIXES = (".json", ".state", ".slots")
WHOLE_BYTES = 16 << 20  # a ring of less is written anew each time: no damage to one file then spoils both states
SMALL = 16  # segments of less than this part of a ring are written together with the next
DAMAGE = (OSError, RuntimeError, KeyError, EOFError, ValueError, TypeError, SafetensorError, pickle.UnpicklingError)


class Ring(Protocol):
    """What is written in segments: rows of slots, the newest of which are held."""

    def ends(self) -> list[int]:
        """How many slots of each row were ever written."""

    def capacity(self) -> int:
        """How many slots of a row are held."""

    def settled(self) -> list[int]:
        """How many of the first slots of each row have not changed since :meth:`settle`."""

    def settle(self) -> None:
        """Forgets what changed."""

    def slots(self, begin: list[int], end: list[int]) -> dict[str, Tensor]:
        """Copies of the slots ``begin .. end`` of each row, which are held; by any names."""

    def put(self, begin: list[int], slots: Mapping[str, Tensor]) -> None:
        """Puts slots back where :meth:`slots` took them."""


@dataclass(frozen=True)
class Segment:
    """A file of slots: of each row those from ``begin`` on, before ``end``."""

    name: str
    begin: list[int]
    end: list[int]

    @property
    def count(self) -> int:
        """Slots over all rows."""
        return sum(self.end) - sum(self.begin)


class DamagedError(Exception):
    """A state that is not as it was written; the message names the file."""


class States:
    """Writes and reads the states of a folder.

    Args:
        folder: made at the first write.
        ring: what is written in segments; None for nothing.
    """

    def __init__(self, folder: Path, ring: Ring | None = None) -> None:
        self.folder, self.ring = folder, ring
        self._segments: list[Segment] = []
        self._kept: list[tuple[int, dict[str, Any]]] = []  # number and manifest of the states that are there, newest last
        self._sums: dict[str, Any] = {}
        self._written, self._cost = time.monotonic(), 0.0

    def due(self, every: float) -> bool:
        """Whether the last one is ``every`` seconds old, and old enough for what it cost."""
        return time.monotonic() - self._written > max(every, self._cost / SHARE)

    @property
    def there(self) -> bool:
        """Whether the folder holds a state, however damaged."""
        return bool(self._numbers())

    def _numbers(self) -> list[int]:
        """Of the states in the folder, the newest first."""
        return sorted((int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdecimal()), reverse=True)

    def write(self, content: Mapping[str, Any]) -> None:
        """Writes a state: tensors and plain values, and what is new in the ring.

        Raises:
            OSError: if it cannot be written; the last two are still there.
        """
        begun = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        number = max([*self._numbers(), 0]) + 1
        try:
            segments, manifest = self._put_all(number, content)
        except OSError:
            self._prune()  # what was written of it takes room
            raise
        finally:
            self._written = time.monotonic()
            self._cost = self._written - begun
        self._segments, self._kept = segments, [*self._kept, (number, manifest)][-KEPT:]
        if self.ring is not None:
            self.ring.settle()
        self._prune()

    def _put_all(self, number: int, content: Mapping[str, Any]) -> tuple[list[Segment], dict[str, Any]]:
        """Writes the files of a state, last the one that names the others."""
        segments, files = self._grown(number), {}
        buffer = io.BytesIO()  # torch.save turns a full disk into a RuntimeError without a cause
        th.save(content, buffer)
        state = f"{number}.state"
        files[state] = self._put(state, buffer.getbuffer())
        for segment in segments:
            files[segment.name] = self._sums[segment.name]
        manifest = {"format": FORMAT, "files": files, "segments": [asdict(segment) for segment in segments]}
        manifest[integrity.OWN] = integrity.of_card(manifest)
        self._put(f"{number}.json", json.dumps(manifest).encode())
        return segments, manifest

    def _put(self, name: str, written: bytes | memoryview) -> dict[str, Any]:
        """Writes a file; its size and its sum."""
        with whole(self.folder / name) as new:
            new.write_bytes(written)
        return {"bytes": len(written), "sha256": integrity.digest(written)}

    def _grown(self, number: int) -> list[Segment]:
        """The segments that hold the ring as it is now, of which those that are new have been written."""
        if self.ring is None:
            return []
        ends, capacity = self.ring.ends(), self.ring.capacity()
        oldest = [max(end - capacity, 0) for end in ends]
        kept = [one for one in self._segments if any(end > first for end, first in zip(one.end, oldest, strict=True))]
        settled, small = self.ring.settled(), capacity * len(ends) // SMALL
        while kept and any(end > first for end, first in zip(kept[-1].end, settled, strict=True)):
            kept.pop()
        if kept and kept[-1].count < small and ends != kept[-1].end:
            kept.pop()
        if sum(self._sums[one.name]["bytes"] for one in kept) < WHOLE_BYTES:
            kept = []
        begin = [max(pair) for pair in zip(oldest, kept[-1].end if kept else oldest, strict=True)]
        part = max(capacity // SMALL * 2, 1)  # of a row at a time, so that little memory is taken
        for n in range(-(-capacity // part)):
            if begin == ends:
                break
            end = [min(first + part, last) for first, last in zip(begin, ends, strict=True)]
            name = f"{number}-{n}.slots"
            self._sums[name] = self._put(name, serialize(self.ring.slots(begin, end)))
            kept.append(Segment(name, begin, end))
            begin = end
        return kept

    def _prune(self) -> None:
        """Removes what neither of the last two states names."""
        kept = {f"{number}.json" for number, _ in self._kept} | {name for _, one in self._kept for name in one["files"]}
        for path in self.folder.iterdir():
            if path.name not in kept and (path.suffix in SUFFIXES or is_temporary(path.name)):
                path.unlink(missing_ok=True)
        self._sums = {name: value for name, value in self._sums.items() if name in kept}

    def read(self, check: Callable[[Mapping[str, Any]], None] = lambda _: None) -> tuple[dict[str, Any], str]:
        """The newest state that is whole, and what is to be said of damaged ones. The ring holds again what it held.

        Args:
            check: raises UserError where the state is not to be used; the ring is then left alone.

        Raises:
            UserError: if none is whole, or they are of another version.
        """
        said: list[str] = []
        for number in self._numbers():
            try:
                content = self._read(number, check)
            except DamagedError as error:
                said.append(str(error))
                continue
            return content, f"{'; '.join(said)}; the one before it is used" if said else ""
        raise UserError(f"{'; '.join(said)}; remove '{self.folder}' to start that stage anew")

    def _read(self, number: int, check: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
        path = self.folder / f"{number}.json"
        try:
            manifest = json.loads(path.read_bytes())
            found = manifest["format"]
            if manifest[integrity.OWN] != integrity.of_card(manifest):
                raise ValueError("its sha256 is another")
            files, segments = manifest["files"], [Segment(**one) for one in manifest["segments"]]
        except DAMAGE as error:
            raise DamagedError(f"the checkpoint '{path}' is damaged") from error
        if found != FORMAT:
            raise UserError(older(self.folder, found))
        try:
            for name, told in files.items():
                path = self.folder / name
                if integrity.digest(path.read_bytes()) != told["sha256"]:
                    raise ValueError("its sha256 is another")
            path = self.folder / f"{number}.state"
            content: dict[str, Any] = th.load(path, map_location="cpu", weights_only=True)
            check(content)
            if self.ring is not None:
                for segment in segments:
                    path = self.folder / segment.name
                    self.ring.put(segment.begin, deserialize(path.read_bytes()))
                self.ring.settle()
        except UserError:
            raise
        except DAMAGE as error:
            raise DamagedError(f"the checkpoint '{path}' is damaged") from error
        self._segments, self._kept, self._sums = segments, [(number, manifest)], dict(files)
        return content

    def remove(self) -> None:
        """Removes the folder, first the names of the states."""
        for path in sorted(self.folder.glob("*.json")):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def older(path: Path, found: object) -> str:
    """What is said of a checkpoint of another version."""
    return (
        f"the checkpoint '{path}' has format {found}, and this version of snn_rl reads format {FORMAT}: go on with the "
        "version that wrote it, or remove it to start that stage anew"
    )
