"""What is said of archives that are none, and of tensors in them that cannot be: the file, the reason, the way out."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch as th
from test_zips import dqn, rewrite, zipped

from snn_rl.core.errors import UserError
from snn_rl.sb3.archives import check_instructions, load_tensors, members
from snn_rl.sb3.zips import load_zip

ANEW = "copy or save it anew"
CARTPOLE = "CartPole-v1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The zip of a DQN."""
    return zipped(dqn(), tmp_path)


def said(path: Path, **hints: Any) -> str:
    with pytest.raises(UserError) as error:
        load_zip(path, CARTPOLE, **hints)
    assert "\n" not in str(error.value)
    assert f"'{path}'" in str(error.value)
    return str(error.value)


def stored(value: Any) -> bytes:
    th.save(value, out := io.BytesIO())
    return out.getvalue()


# The archive


def spoilt(content: bytes, at: int, new: bytes) -> bytes:
    """With other bytes in the record behind a zip's directory."""
    end = content.rfind(b"PK\5\6")
    return content[: end + at] + new + content[end + at + len(new) :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: b"no zip at all", "no zip"),
        (lambda content: spoilt(content, 12, struct.pack("<I", 1 << 30)), "its directory is too long"),
    ],
)
def test_a_file_that_is_no_zip_says_why(path: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    path.write_bytes(change(path.read_bytes()))
    assert said(path) == f"'{path}' is damaged or truncated ({reason}); {ANEW}"


def test_a_zip_of_too_many_parts_says_so(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(10_001):
            archive.writestr(f"{n}", b"")
    assert f"damaged or truncated (it has too many parts); {ANEW}" in said(path)


def test_a_part_that_is_packed_in_another_way_says_so(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("data", b"{}")
        archive.writestr("policy.pth", b"")
    assert f"(it is packed in an unusual way); {ANEW}" in said(path)


def test_a_part_that_is_shorter_than_it_says_is_told(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", b"{}" + b" " * 1230)
        archive.writestr("policy.pth", b"")
    content = path.read_bytes()
    at = content.find(b"PK\1\2")  # the first entry of the directory: its size unpacked lies 24 bytes behind
    path.write_bytes(content[: at + 24] + struct.pack("<I", 4321) + content[at + 28 :])
    with pytest.raises(zipfile.BadZipFile, match="a part has another size than it says"):
        members(path, ("data", "policy.pth"))
    assert f"(a part has another size than it says); {ANEW}" in said(path)


def test_what_is_no_agent_of_stable_baselines3_says_what_to_give(path: Path) -> None:
    rewrite(path, "data", b"[]")
    assert "is not a Stable-Baselines3 agent: its data is no table; give what model.save() wrote" in said(path)
    for found in ({"a": 1}, [th.ones(1)]):
        rewrite(rewrite(path, "data", b"{}"), "policy.pth", stored(found))
        assert "is not a Stable-Baselines3 agent: policy.pth holds more than tensors; give what model.save() wrote" in said(
            path
        )
    rewrite(path, "policy.pth", stored({"a": th.ones(1, dtype=th.int64)}))
    assert f"is damaged: 'a' in policy.pth holds torch.int64, no weights; {ANEW}" in said(path)


# The tensors in it


def repacked(value: Any, change: Callable[[str, bytes], tuple[str, bytes]], packing: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of tensors with its parts changed."""
    with (
        zipfile.ZipFile(io.BytesIO(stored(value))) as archive,
        zipfile.ZipFile(out := io.BytesIO(), "w", packing) as new,
    ):
        for name in archive.namelist():
            new.writestr(*change(name, archive.read(name)))
    return out.getvalue()


def instructions(content: bytes) -> Callable[[str, bytes], tuple[str, bytes]]:
    return lambda name, old: (name, content if name.endswith("data.pkl") else old)


ONES = {"a": th.ones(3)}
NESTED: Any = th.ones(1)
for _ in range(10):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (repacked({"a": th.zeros(10_000)}, lambda *part: part, zipfile.ZIP_DEFLATED), "its tensors are larger than it is"),
        (stored([th.zeros(10_000)] * 1000), "its tensors are larger than it is"),
        (stored({"a": th.zeros(1).expand(10**6)}), "a tensor is larger than its numbers"),
        (stored(NESTED), "its contents are nested too deep"),
        (
            repacked(ONES, lambda name, old: (name + "x", old)),
            "it has no list of tensors, or one that is too long, or several",
        ),
        (repacked(ONES, instructions(b"\x80\x02X\xff")), "a damaged pickle (not enough data"),
        (
            repacked(ONES, lambda name, old: (name.replace("byteorder", "byte_xx"), old)).replace(b"byte_xx", b"byte\0xx"),
            "a part has a name that ends in its middle",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_that_cannot_be_say_why(path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(zipfile.BadZipFile) as error:
        load_tensors(content)
    assert reason in str(error.value)
    rewrite(path, "policy.pth", content)
    assert f"'{path}' is damaged or truncated ({reason}" in said(path)
    assert said(path).endswith(f"); {ANEW}")


@pytest.mark.parametrize(
    "content", [b"no zip of tensors", pickle.dumps(print), repacked(ONES, instructions(pickle.dumps(print)))]
)
def test_what_may_be_a_program_is_refused_and_says_what_to_do(path: Path, content: bytes) -> None:
    rewrite(path, "policy.pth", content)
    assert said(path) == (
        f"'{path}' holds tensors as PyTorch stored them before 1.6, or a pickle that is more than tensors; refused, "
        "nothing was executed; save it anew with PyTorch 1.6 or later"
    )


def test_the_instruction_that_is_refused_is_named() -> None:
    with pytest.raises(pickle.UnpicklingError, match="no zip of tensors"):
        load_tensors(b"text")
    with pytest.raises(pickle.UnpicklingError, match="GLOBAL os system"):
        check_instructions(b"cos\nsystem\n.")
