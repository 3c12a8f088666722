"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the user's copy: the archive for Python, the binary one, or what was unpacked
from either."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.images.data import VALIDATION, Images, Part, divided
from snn_rl.images.pickles import labels, pixels, table
from snn_rl.store.bounded import content, opened

SIDE, PIXELS = 32, 3 * 32 * 32
MAX_FILE = 200 << 20  # bytes of a file with images: CIFAR-100's largest has 155 MB
MAX_UNPACKED = 400 << 20  # of an archive
HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
AGAIN = f"download it again from {HOME}"

Rows = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Kind:
    """One of the two data sets.

    Attributes:
        title: its name.
        classes: how many.
        train: names of the files to train from, in the archive for Python.
        test: of the held-out one.
        key: of the labels in its tables.
        before: bytes before a binary image; the last one is its class.
        folders: into which the archives unpack, the one for Python first.
    """

    title: str
    classes: int
    train: tuple[str, ...]
    test: str
    key: str
    before: int
    folders: tuple[str, str]

    @property
    def archives(self) -> tuple[str, str]:
        """Names of the two archives."""
        name = self.title.lower()
        return f"{name}-python.tar.gz", f"{name}-binary.tar.gz"

    def files(self) -> dict[str, tuple[bool, Callable[[bytes], Rows]]]:
        """Each file's name, whether it is held out, and how it is read; those of the archive for Python first."""
        both: dict[str, tuple[bool, Callable[[bytes], Rows]]] = {}
        for suffix, read in (("", self._pickled), (".bin", self._binary)):
            both |= {f"{name}{suffix}": (name == self.test, read) for name in (*self.train, self.test)}
        return both

    def _pickled(self, found: bytes) -> Rows:
        rows = table(found)
        return pixels(rows.get("data"), PIXELS), labels(rows.get(self.key), self.classes)

    def _binary(self, found: bytes) -> Rows:
        wide = self.before + PIXELS
        if not found or len(found) % wide:
            raise ValueError(f"its {len(found):,} bytes are no whole number of images of {wide:,} bytes")
        rows = np.frombuffer(found, np.uint8).reshape(-1, wide)
        classes = rows[:, self.before - 1].astype(np.int64)
        if classes.max() >= self.classes:
            raise ValueError(f"it has class {classes.max()}, where the last is {self.classes - 1}")
        return rows[:, self.before :], classes


CIFAR = {
    "cifar10": Kind(
        "CIFAR-10",
        10,
        tuple(f"data_batch_{n}" for n in range(1, 6)),
        "test_batch",
        "labels",
        1,
        ("cifar-10-batches-py", "cifar-10-batches-bin"),
    ),
    "cifar100": Kind("CIFAR-100", 100, ("train",), "test", "fine_labels", 2, ("cifar-100-python", "cifar-100-binary")),
}


def read(name: str, where: Path | None) -> Images:
    """CIFAR-10 or CIFAR-100, 15 % of its training images taken to select by.

    Args:
        name: a key of :data:`CIFAR`.
        where: an archive, a folder that was unpacked from one, or a folder with either in it; ``data`` if None.

    Raises:
        UserError: if it is not there, is damaged, or is none of the two.
    """
    kind = CIFAR[name]
    found = _located(kind, where or Path("data"))
    known, train, test = kind.files(), list[Rows](), list[Rows]()
    try:
        for file, content in _contents(found, known):
            held_out, how = known[file]
            try:
                pixel_rows, classes = how(content)
                if len(pixel_rows) != len(classes):
                    raise ValueError(f"it has {len(pixel_rows):,} images and {len(classes):,} labels")
            except ValueError as error:
                raise UserError(f"'{file}' of '{found}' is damaged: {error}; {AGAIN}") from error
            (test if held_out else train).append((pixel_rows, classes))
    except (EOFError, OSError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"'{found}' is truncated or damaged ({error}); {AGAIN}") from error
    if not train or not test:
        missing = f"{kind.test}.bin" if train else f"{kind.train[0]}.bin"
        name = missing.removesuffix(".bin")
        raise UserError(f"'{found}' holds no {name} (nor {missing}) of {kind.title}; {AGAIN}")
    notes = [f"only {len(train)} of {len(kind.train)} files of {kind.title} are there"] * (len(train) < len(kind.train))
    names = tuple(map(str, range(kind.classes)))
    everything = _part(train)
    present = tuple(label for label in names if (everything.labels == int(label)).any())
    if present != names:
        raise UserError(f"'{found}' has images of {len(present)} classes, where {kind.title} has {kind.classes}; {AGAIN}")
    left, validation = divided(everything, VALIDATION, names, kind.title)
    return Images(name, names, left, validation, _part(test), shift=4, flips=True, notes=tuple(notes))


def _part(rows: list[Rows]) -> Part:
    images = np.concatenate([pixel_rows for pixel_rows, _ in rows]).reshape(-1, 3, SIDE, SIDE)
    return Part.of(images, np.concatenate([classes for _, classes in rows]))


def _located(kind: Kind, where: Path) -> Path:
    """The archive or the folder that holds the files."""
    places = [where, *(where / name for name in (*kind.folders, *kind.archives))]
    for place in places:
        if place.is_file() or (place.is_dir() and any((place / name).is_file() for name in kind.files())):
            return place
    python, binary = kind.archives
    raise UserError(
        f"no {kind.title} in '{where}': download {python} or {binary} from {HOME} and give its path, as in "
        f"--data {kind.title.lower().replace('-', '')}:PATH"
    )


def _contents(found: Path, known: dict[str, tuple[bool, Callable[[bytes], Rows]]]) -> Iterator[tuple[str, bytes]]:
    """Each known file of a folder or an archive, once."""
    if found.is_dir():
        there = [name for name in known if (found / name).is_file()]
        for name in [name for name in there if not (name.endswith(".bin") and name.removesuffix(".bin") in there)]:
            yield name, content(found / name, MAX_FILE)
        return
    seen = set()
    with opened(found, MAX_UNPACKED) as file, gzip.GzipFile(fileobj=file) as unzipped:
        stream = cast(io.BufferedReader, _Bounded(unzipped, found))
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if not member.isfile() or name not in known or name in seen:
                    continue
                if member.size > MAX_FILE:
                    said = f"'{name}' of '{found}' has {member.size:,} bytes; more than {MAX_FILE:,} are refused"
                    raise UserError(f"{said}; {AGAIN}")
                seen.add(name)
                inside = archive.extractfile(member)
                assert inside is not None
                yield name, inside.read()  # tarfile's ReadError where less is there than it says


class _Bounded:
    """Reads from a stream until too much has come out of it."""

    def __init__(self, stream: gzip.GzipFile, where: Path) -> None:
        self.stream, self.where, self.left = stream, where, MAX_UNPACKED

    def read(self, size: int) -> bytes:
        """The next bytes."""
        found = self.stream.read(size)
        self.left -= len(found)
        if self.left < 0:
            raise UserError(f"'{self.where}' unpacks to more than {MAX_UNPACKED:,} bytes, which are refused; {AGAIN}")
        return found
