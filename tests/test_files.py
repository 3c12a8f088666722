"""Places to write to are checked before the work, and written whole."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import posix

from snn_rl.core.errors import UserError
from snn_rl.store import files, leftovers
from snn_rl.store.lock import Lock


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
    files.begin_run(tmp_path / "run", {"seed": 0}, resume=False).release()
    with pytest.raises(UserError, match="add --resume"):
        files.begin_run(tmp_path / "run", {"seed": 0}, resume=False)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"exists already; choose another --out or remove it$"):
        files.begin_run(tmp_path / "other", {"seed": 0}, resume=False)


def test_a_run_that_was_killed_in_its_first_write_can_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".lock").write_text("")
    (out / ".settings.new-999999999.json").write_text("{")
    with files.begin_run(out, {"seed": 0}, resume=True):
        assert sorted(os.listdir(out)) == [".lock", "settings.json"]
    assert os.listdir(out) == ["settings.json"]


def test_settings_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.begin_run(tmp_path / "run", {"seed": 0}, resume=False).release()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    files.begin_run(tmp_path / "run", {"seed": 0}, resume=True).release()


def test_a_folder_in_use_says_by_whom(tmp_path: Path) -> None:
    with Lock(tmp_path), pytest.raises(UserError, match=rf"in use by process {os.getpid()} on \S+ since \d{{4}}-\d\d-\d\d "):
        Lock(tmp_path)
    with Lock(tmp_path):
        pass
    assert not os.listdir(tmp_path)


HOLD = """
import sys, time
from pathlib import Path
from snn_rl.store.files import begin_run, whole
lock = begin_run(Path(sys.argv[1]), {}, resume=False)
with whole(Path(sys.argv[1], "card.json")) as new:
    new.write_text("half")
    print("writes", flush=True)
    time.sleep(60)
"""


def test_whom_a_dead_process_held_up_goes_on_without_its_leftovers(tmp_path: Path) -> None:
    out = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"writes\n"
    for resume in (True, False):
        with pytest.raises(UserError, match=f"in use by process {holder.pid} "):
            files.begin_run(out, {}, resume)
    temporary = out / f".card.new-{holder.pid}.json"
    leftovers.remove(out)  # the process lives
    assert temporary.exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with holder.stdout, files.begin_run(out, {}, resume=True):
        assert not temporary.exists()
    assert os.listdir(out) == ["settings.json"]


def test_leftovers_are_removed_whoever_has_the_number_now(tmp_path: Path) -> None:
    old, new = tmp_path / f".a.new-{os.getpid()}", tmp_path / "T1" / f".b.c.new-{os.getpid()}.json"
    for folder in (old, tmp_path / "T1", tmp_path / ".T2.new-999999999"):
        folder.mkdir()
    (tmp_path / ".T2.new-999999999" / "card.json").touch()
    new.touch()
    os.utime(old, (time.time() - 1e8,) * 2)  # written before this process began
    leftovers.remove(tmp_path)
    assert os.listdir(tmp_path) == ["T1"]
    assert new.exists()
