"""What is said of images that cannot be learnt from: the file, what is wrong with it, the way out."""

from __future__ import annotations

import gzip
import io
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import mlp_spec
from numpy.typing import NDArray
from test_images import archive, binary, names, pickled, pictures, rows

from snn_rl import vision
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.images import cifar, data, folders, kept

AGAIN = "; download it again from https://www.cs.toronto.edu/~kriz/cifar.html"


def says(option: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """What the command says of these data."""
    monkeypatch.chdir(folder)
    with pytest.raises(UserError) as error:
        vision.main(["--data", option, "--out", str(folder / "out")])
    assert "\n" not in str(error.value)
    assert not (folder / "out").exists()
    return str(error.value)


class Named:
    """Is written as a call of a name that is known."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        import _codecs

        return _codecs.encode, self.arguments


IMAGES: NDArray[np.uint8] = rows(0, 10)[0]


def table(**changes: Any) -> bytes:
    return pickle.dumps({"data": IMAGES, "labels": rows(0, 10)[1]} | changes, 2)


def shortened(content: bytes) -> bytes:
    """The array says one image more than it has bytes for."""
    before = b"K" + bytes([len(IMAGES)]) + b"M" + (3072).to_bytes(2, "little") + b"\x86"
    assert content.count(before) == 1
    return content.replace(before, before[:1] + bytes([len(IMAGES) + 1]) + before[2:])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps([1], 2), "it holds no table"),
        (table(data="text"), "its data is no array"),
        (table(data=IMAGES[:, :100].copy()), "its data is no array of bytes with 3,072 in each row"),
        (table(data=IMAGES.astype(np.int16)), "its data is no array of bytes with 3,072 in each row"),
        (shortened(table()), "its data has 61,440 bytes for 21 images"),
        (table(labels=[10] * 20), "its labels are no list of numbers from 0 to 9"),
        (table(labels=None), "its labels are no list of numbers from 0 to 9"),
        (table(labels=[1] * 19), "it has 20 images and 19 labels"),
        (table(data=Named("a", "utf8")), "bytes are written as latin1"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "it is too long"),
        (b"", "pickle exhausted before seeing STOP"),
    ],
)
def test_a_table_of_images_that_is_none_says_why(
    content: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_batch").write_bytes(content)
    assert says(f"cifar10:{tmp_path}", monkeypatch, tmp_path) == (f"'test_batch' of '{tmp_path}' is damaged: {reason}{AGAIN}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(3072), "its 3,072 bytes are no whole number of images of 3,073 bytes"),
        (bytes([11]) + bytes(3072), "it has class 11, where the last is 9"),
    ],
)
def test_a_binary_file_of_images_that_is_none_says_why(
    content: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_batch.bin").write_bytes(content)
    assert says(f"cifar10:{tmp_path}", monkeypatch, tmp_path) == (
        f"'test_batch.bin' of '{tmp_path}' is damaged: {reason}{AGAIN}"
    )


def test_what_is_missing_of_an_archive_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = says("cifar100:absent", monkeypatch, tmp_path)
    assert told.startswith(
        "no CIFAR-100 in 'absent': download cifar-100-python.tar.gz or cifar-100-binary.tar.gz from https://"
    )
    assert told.endswith(" and give its path, as in --data cifar100:PATH")
    (tmp_path / "test_batch").write_bytes(pickled("cifar10", rows(0, 10)))
    told = f"'{tmp_path}' holds no data_batch_1 (nor data_batch_1.bin) of CIFAR-10{AGAIN}"
    assert says(f"cifar10:{tmp_path}", monkeypatch, tmp_path) == told
    few = IMAGES[:18], [n % 9 for n in range(18)]
    for name in names("cifar10"):
        (tmp_path / name).write_bytes(pickled("cifar10", few))
    told = f"'{tmp_path}' has images of 9 classes, where CIFAR-10 has 10{AGAIN}"
    assert says(f"cifar10:{tmp_path}", monkeypatch, tmp_path) == told


def test_an_archive_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "x.tar.gz", "cifar10", ".bin", binary)
    monkeypatch.setattr(cifar, "MAX_FILE", 1000)
    told = f"'data_batch_1.bin' of '{path}' has 61,460 bytes; more than 1,000 are refused{AGAIN}"
    assert says(f"cifar10:{path}", monkeypatch, tmp_path) == told
    monkeypatch.undo()
    monkeypatch.setattr(cifar, "MAX_UNPACKED", path.stat().st_size)
    told = f"'{path}' unpacks to more than {path.stat().st_size:,} bytes, which are refused{AGAIN}"
    assert says(f"cifar10:{path}", monkeypatch, tmp_path) == told


def test_an_archive_that_was_cut_before_it_was_packed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(fileobj=(whole := io.BytesIO()), mode="w") as tar:
        member = tarfile.TarInfo("test_batch.bin")
        member.size = 3073
        tar.addfile(member, io.BytesIO(bytes(3073)))
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(whole.getvalue()[: 512 + 2000]))
    told = f"'{path}' is truncated or damaged (unexpected end of data){AGAIN}"
    assert says(f"cifar10:{path}", monkeypatch, tmp_path) == told


def test_folders_that_cannot_be_learnt_from_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> str:
        return says(f"folder:{tmp_path}", monkeypatch, tmp_path)

    absent = "no folder 'absent'; --data folder:PATH takes one with a subfolder of images for each class"
    assert says("folder:absent", monkeypatch, tmp_path) == absent
    needs = "--data folder:PATH needs the path of a folder with one subfolder for each class"
    assert says("folder", monkeypatch, tmp_path) == needs
    assert told() == f"'{tmp_path}' holds no subfolder(s) of images; give one for each class, at least two"
    pictures(tmp_path / "cats", 5, 40)
    pictures(tmp_path / "dogs", 4, 80)
    assert told() == f"'{tmp_path / 'dogs'}' holds 4 image(s); give at least 5 for each class"
    pictures(tmp_path / "dogs" / "more", 1, 80)
    monkeypatch.setattr(folders, "MAX_BYTES", 3 * 16 * 16 * 9)
    with pytest.raises(UserError) as error:
        folders.read(tmp_path, 16)
    many = "holds 10 images, too many for the memory at 16 x 16 pixels; use a smaller --size"
    assert str(error.value) == f"'{tmp_path}' {many}"


def test_folders_of_other_classes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("train/cats", "train/dogs", "test/cats", "test/rats"):
        pictures(tmp_path / folder, 5, 40)
    assert says(f"folder:{tmp_path}", monkeypatch, tmp_path) == (
        f"'{tmp_path / 'train'}' and '{tmp_path / 'test'}' hold other classes; each needs the same subfolders"
    )


def test_a_class_that_cannot_be_divided_is_named() -> None:
    part = data.Part.of(np.zeros((3, 1, 8, 8), np.uint8), np.array([0, 0, 1]))
    with pytest.raises(UserError, match=r"'mine': class 'dogs' has 1 image\(s\) to learn from; give at least 5$"):
        data.divided(part, 0.5, ("cats", "dogs"), "'mine'")


def test_the_digits_say_which_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    told = "the digits come with scikit-learn, which is missing: pip install 'snn-rl[vision]'"
    assert says("digits", monkeypatch, tmp_path) == told


def test_a_kept_network_of_no_numbers_says_what_to_do(tmp_path: Path) -> None:
    network = QNetwork(mlp_spec(4, 3, 2), T=0)
    with th.no_grad():
        network.synapses[0][0].weight.fill_(float("nan"))
    kept.keep(tmp_path / "ann", network, (4,), {})
    with pytest.raises(UserError) as error:
        kept.kept(tmp_path / "ann")
    assert str(error.value) == (
        f"'{tmp_path / 'ann'}' is damaged (its weights are not finite); remove it and add --resume to make it anew"
    )
