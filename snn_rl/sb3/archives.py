"""The parts of a Stable-Baselines3 zip, read within bounds: what each says of its size is checked before it is unpacked.

A part that holds tensors is a zip again, with a pickle that says how they lie in its other parts. The pickle's instructions
are looked at one by one, without following any of them: only those by which PyTorch stores tensors in plain containers may be
there. PyTorch then reads it with ``weights_only=True``.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch as th
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.store.bounded import MAX_JSON, MAX_TENSORS, opened

MAX_FILE = 2 * MAX_TENSORS
MAX_DIRECTORY, MAX_MEMBERS = 1 << 20, 10_000
MAX_PICKLE = 2 << 20  # of the instructions; the numbers lie elsewhere
_END, _LOCATOR, _END_64 = 22, 20, 56  # bytes of the records behind a zip's directory
_SIZE, _OFFSET, _SIZE_64, _OFFSET_64 = slice(12, 16), slice(16, 20), slice(40, 48), slice(48, 56)
_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in _STORAGES),
}
_INSTRUCTIONS = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BINPERSID", "BUILD", "NONE", "NEWTRUE", "NEWFALSE"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"),
    *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}


def members(path: Path, wanted: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Parts of a zip.

    Args:
        path: of the zip.
        wanted: names of parts that it must have.
        optional: names of parts that it may have.

    Raises:
        UserError: if one is missing, or is larger than what is read.
        Exception: of zipfile and zlib, of many kinds, if it is damaged.
    """
    with opened(path, MAX_FILE) as file, _directory(file) as archive:
        found = {info.filename: info for info in archive.infolist() if info.filename in wanted + optional}
        if missing := [name for name in wanted if name not in found]:
            lacks = " or ".join(map(repr, missing))
            raise UserError(f"'{path}' is truncated or no Stable-Baselines3 agent: it lacks {lacks}; copy or save it anew")
        sizes = {name: info.file_size for name, info in found.items()}
        if sizes.get("data", 0) > MAX_JSON or sum(sizes.values()) > MAX_TENSORS:
            raise UserError(
                f"'{path}' unpacks to {sum(sizes.values()):,} bytes; more than {MAX_TENSORS:,}, and {MAX_JSON:,} of JSON, "
                "are refused"
            )
        return {name: _unpacked(archive, info) for name, info in found.items()}


def _directory(file: BinaryIO, plain: bool = False) -> zipfile.ZipFile:
    """A zip, if the list of its parts is not too long to be read.

    Args:
        file: of the zip.
        plain: that list has to lie where it says and end where the zip ends. Otherwise readers differ in which list they
            read: Python's takes the one that lies before the end, PyTorch's the one that the end names.
    """
    size = file.seek(0, io.SEEK_END)
    begin = max(size - (1 << 16) - _END - _LOCATOR - _END_64, 0)
    file.seek(begin)
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if len(tail) >= _END and tail[-_END:][:4] == b"PK\5\6" and tail[-2:] == b"\0\0":
        end = len(tail) - _END
    if end < 0:
        raise zipfile.BadZipFile("no zip")
    last, length, offset = end, tail[end:][_SIZE], tail[end:][_OFFSET]
    if end >= _LOCATOR and tail[end - _LOCATOR :][:4] == b"PK\6\7":
        last = end - _LOCATOR - _END_64
        named = int.from_bytes(tail[end - _LOCATOR :][8:16], "little")
        if last < 0 or named != begin + last or tail[last:][:4] != b"PK\6\6":
            raise zipfile.BadZipFile("the end of its directory is not where it says")
        length, offset = tail[last:][_SIZE_64], tail[last:][_OFFSET_64]
    if int.from_bytes(length, "little") > MAX_DIRECTORY:
        raise zipfile.BadZipFile("its directory is too long")
    if plain and int.from_bytes(length, "little") + int.from_bytes(offset, "little") != begin + last:
        raise zipfile.BadZipFile("its directory is not where it says")
    archive = zipfile.ZipFile(file)
    if len(archive.infolist()) > MAX_MEMBERS:
        raise zipfile.BadZipFile("it has too many parts")
    return archive


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("it is packed in an unusual way")
    with archive.open(info) as member:
        found = member.read(info.file_size)  # read() without a number would unpack all that there is, whatever the size said
        if len(found) != info.file_size or member.read(1):
            raise zipfile.BadZipFile("a part has another size than it says")
    return found


def load_tensors(content: bytes) -> Any:
    """What a part holds: tensors, numbers and text in dictionaries, lists and tuples.

    Raises:
        pickle.UnpicklingError: if it holds anything else.
        Exception: of zipfile and torch, of many kinds, if it is damaged.
    """
    check_zip(io.BytesIO(content), len(content))
    found = th.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    check_sizes(found, min(4 * len(content), MAX_TENSORS))  # actor and critic may share some
    return found


def check_zip(file: BinaryIO, size: int) -> None:
    """Checks a zip of tensors, of so many bytes, before PyTorch reads it.

    Raises:
        pickle.UnpicklingError: if it holds anything else.
        Exception: of zipfile, of many kinds, if it is damaged.
    """
    if file.read(4) != b"PK\3\4":
        raise pickle.UnpicklingError("no zip of tensors")
    with _directory(file, plain=True) as archive:
        parts = archive.infolist()
        packed = [info for info in parts if info.compress_type != zipfile.ZIP_STORED]
        if packed or sum(info.file_size for info in parts) > size:
            raise zipfile.BadZipFile("its tensors are larger than it is")
        if any(info.filename != info.orig_filename for info in parts):
            raise zipfile.BadZipFile("a part has a name that ends in its middle")
        pickles = [info for info in parts if info.filename.lower().endswith("data.pkl")]  # PyTorch finds DATA.PKL too
        if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
            raise zipfile.BadZipFile("it has no list of tensors, or one that is too long, or several")
        check_instructions(_unpacked(archive, pickles[0]))


def check_sizes(found: object, most: int) -> None:
    """Refuses tensors that ask for more than their numbers: some views of a few numbers have a million rows.

    Args:
        found: what was read.
        most: bytes of all tensors together.
    """
    asked = 0
    for tensor in _tensors(found, 0):
        asked += tensor.numel() * max(tensor.element_size(), 4)  # weights become float32
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise zipfile.BadZipFile("a tensor is larger than its numbers")
    if asked > most:
        raise zipfile.BadZipFile("its tensors are larger than it is")


def check_instructions(content: bytes) -> None:
    """Looks at a pickle without executing it.

    Raises:
        pickle.UnpicklingError: for an instruction by which tensors in plain containers are not stored.
    """
    try:
        for code, argument, _ in pickletools.genops(content):
            if code.name not in _INSTRUCTIONS or (code.name == "GLOBAL" and argument not in _GLOBALS):
                raise pickle.UnpicklingError(f"{code.name} {argument}"[:80])
    except (ValueError, struct.error) as error:
        raise zipfile.BadZipFile(f"a damaged pickle ({error})") from error


def _tensors(value: object, depth: int) -> Iterator[Tensor]:
    """Those within a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        if depth > 8:
            raise zipfile.BadZipFile("its contents are nested too deep")
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner, depth + 1)
