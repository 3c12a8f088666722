"""CIFAR's python archives are pickles, and these may run anything. Here nothing of them runs: names in them stand for empty
boxes, and arrays are built from the bytes that are left in them."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_OPCODES = 3_000_000  # the 50,000 file names and labels of CIFAR-100 take a few hundred thousand
MEMO = ("PUT", "BINPUT", "LONG_BINPUT")  # their argument is an index for which memory is taken


class _Box:
    """What stands in place of an array or its type: it keeps what it was made from and does nothing."""

    def __init__(self, *made_from: Any) -> None:
        self.made_from = made_from
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _encoded(text: object, encoding: object = "latin1") -> bytes:
    """Bytes, as Python 3 writes them for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes are written as latin1")
    return text.encode("latin1")


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Box,
    ("numpy", "dtype"): _Box,
    ("numpy.core.multiarray", "_reconstruct"): _Box,
    ("numpy._core.multiarray", "_reconstruct"): _Box,
    ("_codecs", "encode"): _encoded,
}


class _Unpickler(pickle.Unpickler):
    """Knows the names that an array is written with, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}"[:80])
        return _NAMES[module, name]


def table(content: bytes) -> dict[str, Any]:
    """What a pickled table of images says, by key; arrays as :func:`pixels` takes them.

    Args:
        content: of the file, whose size was bounded by whoever read it.

    Raises:
        ValueError: if it is damaged, too long, or holds anything but texts, numbers, lists, tables and arrays.
    """
    try:
        for n, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if n > MAX_OPCODES or (opcode.name in MEMO and int(argument or 0) > MAX_OPCODES):
                raise ValueError("it is too long")
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # what a damaged pickle raises is of many kinds
        raise ValueError(str(error)[:200] or type(error).__name__) from error
    if not isinstance(found, dict):
        raise ValueError("it holds no table")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}


def pixels(box: object, width: int) -> NDArray[np.uint8]:
    """The array ``(n, width)`` of bytes in a table.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(box, _Box):
        raise ValueError("its data is no array")
    match box.state:
        case (_, (int(n), int(wide)), _Box(made_from=(b"u1" | "u1", *_)), fortran, bytes(raw)) if wide == width:
            if n < 1 or n * width != len(raw):
                raise ValueError(f"its data has {len(raw):,} bytes for {n:,} images")
            found = np.frombuffer(raw, np.uint8)
            return found.reshape(width, n).T if fortran else found.reshape(n, width)
    raise ValueError(f"its data is no array of bytes with {width:,} in each row")


def labels(found: object, classes: int) -> NDArray[np.int64]:
    """The classes of images, ``(n,)``, from a list in a table.

    Raises:
        ValueError: if it is no list of numbers below ``classes``.
    """
    if not isinstance(found, list) or not all(type(label) is int and 0 <= label < classes for label in found):
        raise ValueError(f"its labels are no list of numbers from 0 to {classes - 1}")
    return np.array(found, np.int64)
