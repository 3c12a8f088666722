"""Zips of tensors that two readers read differently: what is looked at is what PyTorch would read, or it is refused."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import pytest
import torch as th

from snn_rl.sb3.archives import load_tensors

OTHER = b"\x80\x02c__builtin__\nbytearray\nK\x05\x85R."  # what PyTorch takes and nobody stores


def parts(numbers: int) -> dict[str, bytes]:
    th.save({"a": th.ones(numbers)}, out := io.BytesIO())
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_what_python_zips_is_what_pytorch_zips() -> None:
    assert load_tensors(zipped(parts(3)))["a"].tolist() == [1, 1, 1]


def test_a_list_of_tensors_under_capital_letters_is_not_taken_for_the_one_that_was_looked_at() -> None:
    own = parts(3)
    hidden = {"archive/DATA.PKL": OTHER, "archive/x/data.pkl": own.pop("archive/data.pkl"), **own}
    assert th.load(io.BytesIO(zipped(hidden)), weights_only=True) == bytearray(5)  # PyTorch reads the other one
    with pytest.raises(zipfile.BadZipFile, match="several"):
        load_tensors(zipped(hidden))


def test_a_name_with_an_end_in_its_middle_is_refused() -> None:
    own = parts(3)
    renamed = {("archive/dataxpkl" if name == "archive/data.pkl" else name): content for name, content in own.items()}
    content = zipped({**renamed, "archive/data.pklxxx": own["archive/data.pkl"]})
    with pytest.raises((zipfile.BadZipFile, RuntimeError)):
        load_tensors(content.replace(b"data.pklxxx", b"data.pkl\0xx"))


def two_directories() -> bytes:
    """A zip whose end names the directory of one content, and lies right behind that of another."""
    large, small = parts(1000), parts(10)
    large["archive/data.pkl"] = OTHER
    named, shown = zipped(large), zipped(small)
    body, end = named[: named.rfind(b"PK\5\6")], shown.rfind(b"PK\5\6")
    size, begin = struct.unpack("<II", shown[end + 12 : end + 20])
    place = struct.unpack("<I", named[len(body) + 16 : len(body) + 20])[0]
    shift = len(body) - (len(body) + begin - place)  # Python adds what the end of the zip is off by
    directory, at = bytearray(shown[begin:end]), 0
    while at < len(directory):
        lengths = struct.unpack("<HHH", directory[at + 28 : at + 34])
        offset = struct.unpack("<I", directory[at + 42 : at + 46])[0]
        directory[at + 42 : at + 46] = struct.pack("<I", offset + shift)
        at += 46 + sum(lengths)
    last = bytearray(shown[end:])
    last[16:20] = struct.pack("<I", place)
    assert len(directory) == size
    return body + shown[:begin] + bytes(directory) + bytes(last)


def test_a_zip_with_two_directories_is_refused() -> None:
    content = two_directories()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("archive/data.pkl") == parts(10)["archive/data.pkl"]  # Python sees nothing strange
    with pytest.raises(zipfile.BadZipFile, match="its directory is not where it says"):
        load_tensors(content)


def test_an_end_that_names_another_end_is_refused() -> None:
    content = zipped(parts(3))
    at = content.rfind(b"PK\5\6")
    count, size, offset = struct.unpack("<HII", content[at + 10 : at + 20])
    large = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    for named, refused in ((at, False), (at - 1, True), (0, True)):
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, named, 1)
        whole = content[:at] + large + locator + content[at:]
        if refused:
            with pytest.raises(zipfile.BadZipFile, match="not where it says"):
                load_tensors(whole)
        else:
            assert load_tensors(whole)["a"].tolist() == [1, 1, 1]


def test_a_record_that_is_shorter_than_its_tensor_is_refused() -> None:
    own = parts(1000)
    with pytest.raises((zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError)):
        load_tensors(zipped(own | {"archive/data/0": own["archive/data/0"][:8]}))
