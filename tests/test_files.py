"""Places to write to are checked before the work, and written whole."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from conftest import posix

from snn_rl.core.errors import UserError
from snn_rl.store import files


def test_checking_an_output_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    files.check_new(tmp_path / "a" / "b")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not (tmp_path / "a" / "b").exists()


@posix
def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    files.write_json([1], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "file").read_text()) == [1]
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.check_writable(tmp_path / "pipe")
    files.write_json([2], tmp_path / "pipe")
    assert json.loads(os.read(reader, 100)) == [2]
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@posix
def test_a_file_is_flushed_where_only_writable_ones_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    flush, flushed = os.fsync, []

    def as_on_windows(file: int) -> None:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flush(file)
        flushed.append(file)

    monkeypatch.setattr(os, "fsync", as_on_windows)
    files.write_json([1], tmp_path / "file")
    assert json.loads((tmp_path / "file").read_text()) == [1]
    assert flushed


def test_only_a_run_that_could_be_resumed_is_offered_to_be(tmp_path: Path) -> None:
    files.begin_run(tmp_path / "run", {"seed": 0}, resume=False)
    with pytest.raises(UserError, match="add --resume"):
        files.begin_run(tmp_path / "run", {"seed": 0}, resume=False)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"exists already; choose another --out or remove it$"):
        files.begin_run(tmp_path / "other", {"seed": 0}, resume=False)
