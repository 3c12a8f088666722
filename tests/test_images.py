"""Images from the user's copies: CIFAR's archives, a folder of classes, the digits; nothing in a file is executed."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.images import cifar, data, folders, pickles
from snn_rl.images.data import Images

Rows = tuple[NDArray[np.uint8], list[int]]
EACH = 20  # images of a file


def rows(seed: int, classes: int) -> Rows:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (EACH * classes // 10, 3072), np.uint8), [n % classes for n in range(EACH * classes // 10)]


def names(name: str) -> dict[str, int]:
    kind = cifar.CIFAR[name]
    return {file: seed for seed, file in enumerate((*kind.train, kind.test))}


def pickled(name: str, found: Rows, protocol: int = 2) -> bytes:
    images, labels = found
    key = {"cifar10": b"labels", "cifar100": b"fine_labels"}[name]
    return pickle.dumps({b"data": images, key: labels, b"filenames": [b"a.png"] * len(labels)}, protocol)


def binary(name: str, found: Rows) -> bytes:
    before = [b"\0"] if name == "cifar100" else []
    return b"".join(b"".join([*before, bytes([label]), image.tobytes()]) for image, label in zip(*found, strict=True))


def archive(path: Path, name: str, suffix: str, make: Callable[[str, Rows], bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for file, seed in names(name).items():
            content = make(name, rows(seed, len(cifar.CIFAR[name].files()) and cifar.CIFAR[name].classes))
            member = tarfile.TarInfo(f"folder/{file}{suffix}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def expected(name: str) -> tuple[NDArray[np.uint8], list[int]]:
    """The held-out images and labels."""
    images, labels = rows(len(cifar.CIFAR[name].train), cifar.CIFAR[name].classes)
    return images.reshape(-1, 3, 32, 32), labels


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("make", [pickled, binary])
def test_both_archives_are_read(tmp_path: Path, name: str, make: Callable[[str, Rows], bytes]) -> None:
    path = archive(tmp_path / "x.tar.gz", name, "" if make is pickled else ".bin", make)
    found = cifar.read(name, path)
    kind = cifar.CIFAR[name]
    images, labels = expected(name)
    assert np.array_equal(found.test.images.numpy(), images)
    assert found.test.labels.tolist() == labels
    assert len(found.train) + len(found.validation) == len(kind.train) * EACH * kind.classes // 10
    assert found.shape == (3, 32, 32)
    assert len(found.classes) == kind.classes
    with tarfile.open(path) as tar:  # unpacked, and the folder above
        tar.extractall(tmp_path / kind.folders[0], filter="data")
    unpacked = tmp_path / kind.folders[0] / "folder"
    assert np.array_equal(cifar.read(name, unpacked).train.images, found.train.images)


def test_python_2s_own_pickles_are_read() -> None:
    """As in the official archive: a protocol-2 pickle whose texts are Python 2's strings."""
    raw = bytes(range(256)) * 12
    written = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T\x00\x0c\x00\x00" + raw + b"tbU\x06labels]q\x07K\x06au."
    )
    found = pickles.table(written)
    assert pickles.pixels(found["data"], 3072).tobytes() == raw
    assert pickles.labels(found["labels"], 10).tolist() == [6]


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path, ("executed",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({b"data": Evil()}, 2), "it names"),
        (pickle.dumps([1, 2], 2), "holds no table"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "."),  # an index for which memory would be taken
        (b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "."),  # more bytes than there are
        (b"garbage", "."),
        (b"", "."),
    ],
)
def test_a_pickle_that_is_none_of_images_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pickles.table(content)


def test_what_a_table_holds_is_checked() -> None:
    images, labels = rows(0, 10)
    for wrong in (images[:, :100], images.astype(np.int16), images.astype(object), None, "text"):
        with pytest.raises(ValueError, match="data"):
            pickles.pixels(pickles.table(pickle.dumps({"data": wrong}, 2))["data"], 3072)
    fortran = pickles.table(pickle.dumps({"data": np.asfortranarray(images)}, 2))
    assert np.array_equal(pickles.pixels(fortran["data"], 3072), images)
    for bad in ([10], [-1], ["a"], [True], 3):
        with pytest.raises(ValueError, match="labels"):
            pickles.labels(bad, 10)
    assert pickles.labels(labels, 10).tolist() == labels


def fails(read: Callable[[], Images], said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        read()
    assert "\n" not in str(raised.value)


def test_errors_of_archives_are_one_sentence(tmp_path: Path) -> None:
    fails(lambda: cifar.read("cifar10", tmp_path / "none"), "download cifar-10-python.tar.gz")
    whole = archive(tmp_path / "whole.tar.gz", "cifar10", ".bin", binary).read_bytes()
    cut = tmp_path / "cut.tar.gz"
    for share in (0.02, 0.5, 0.97):
        cut.write_bytes(whole[: int(len(whole) * share)])
        fails(lambda: cifar.read("cifar10", cut), "truncated or damaged|holds no")
    cut.write_bytes(b"no archive")
    fails(lambda: cifar.read("cifar10", cut), "truncated or damaged")
    fails(lambda: cifar.read("cifar100", tmp_path / "whole.tar.gz"), "holds no train")


def test_errors_of_unpacked_files_are_one_sentence(tmp_path: Path) -> None:
    for file, seed in names("cifar10").items():
        (tmp_path / f"{file}.bin").write_bytes(binary("cifar10", rows(seed, 10)))
    assert not cifar.read("cifar10", tmp_path).notes
    batch = tmp_path / "data_batch_2.bin"
    batch.write_bytes(batch.read_bytes()[:-7])
    fails(lambda: cifar.read("cifar10", tmp_path), "'data_batch_2.bin' of .* is damaged: its 61,453 bytes")
    batch.write_bytes(bytes([10]) + bytes(3072))
    fails(lambda: cifar.read("cifar10", tmp_path), "it has class 10")
    batch.unlink()
    assert cifar.read("cifar10", tmp_path).notes == ("only 4 of 5 files of CIFAR-10 are there",)
    (tmp_path / "test_batch.bin").unlink()
    fails(lambda: cifar.read("cifar10", tmp_path), "holds no test_batch")


def pictures(folder: Path, count: int, shade: int) -> None:
    folder.mkdir(parents=True)
    for n in range(count):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((9, 12, 3), (shade, 0, n), np.uint8))


def test_a_folder_of_classes_is_read(tmp_path: Path) -> None:
    pictures(tmp_path / "cats", 10, 40)
    pictures(tmp_path / "dogs", 10, 80)
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    found = folders.read(tmp_path, 8)
    assert found.classes == ("cats", "dogs")
    assert found.shape == (3, 8, 8)
    assert [len(part) for part in (found.train, found.validation, found.test)] == [12, 2, 6]
    blue = found.test.images[:, 2].flatten(1).float().mean(1)  # OpenCV writes blue first, we give red first
    assert blue.tolist() == [40 if label == 0 else 80 for label in found.test.labels.tolist()]


def test_train_and_test_folders_are_taken_as_such(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("val", 2)):
        pictures(tmp_path / part / "cats", count, 40)
        pictures(tmp_path / part / "dogs", count, 80)
    found = folders.read(tmp_path, 8)
    assert (len(found.train) + len(found.validation), len(found.test)) == (20, 4)


def test_errors_of_folders_are_one_sentence(tmp_path: Path) -> None:
    fails(lambda: folders.read(tmp_path / "none", 8), "no folder")
    fails(lambda: folders.read(tmp_path, 8), "holds no subfolder")
    pictures(tmp_path / "cats", 6, 40)
    fails(lambda: folders.read(tmp_path, 8), r"holds 1 subfolder")
    (tmp_path / "dogs").mkdir()
    fails(lambda: folders.read(tmp_path, 8), "dogs' holds 0 image")
    pictures(tmp_path / "rats", 6, 40)
    (tmp_path / "dogs").rmdir()
    (tmp_path / "rats" / "3.png").write_bytes(b"no image")
    fails(lambda: folders.read(tmp_path, 8), "3.png' is no image")


def test_parts_do_not_overlap_and_hold_every_class() -> None:
    found = data.digits()
    parts = [found.train, found.validation, found.test]
    assert sum(map(len, parts)) == 1797
    assert all(sorted(set(part.labels.tolist())) == list(range(10)) for part in parts)
    assert int(found.train.images.max()) == 255
    again = data.digits()
    assert all(
        bool((one.images == other.images).all())
        for one, other in zip(parts, [again.train, again.validation, again.test], strict=True)
    )
