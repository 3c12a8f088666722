"""What is installed is what is meant: the lock, the licences and the source distribution."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import licences
import lock
import sdist

ROOT = sdist.ROOT


def test_the_lock_is_that_of_the_constraints() -> None:
    """Where this fails, a version was changed: run ``python tools/lock.py`` (needs uv)."""
    assert lock.differences() == []


def test_a_lock_of_other_versions_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").write_text("a-b==1.0 \\\n    --hash=sha256:00\nc==2\n")
    (tmp_path / "constraints").write_text("A_b==1.0\nd==3\n")
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(lock, "CONSTRAINTS", tmp_path / "constraints")
    assert [line.partition(":")[0] for line in lock.differences()] == ["c", "d", "c has no sum in lock"]
    wheel = tmp_path / "a_b-1.0+cpu-py3-none-any.whl"
    wheel.write_bytes(b"")
    assert "a-b==1.0 \\\n    --hash=sha256:e3b0c442" in lock.added((tmp_path / "lock").read_text(), wheel)


def test_every_licence_is_listed() -> None:
    """Where this fails, a package came or went: run ``python tools/licences.py``."""
    page = licences.PAGE.read_text(encoding="utf-8")
    assert licences.filled(page) == page
    assert "| ale-py | GPL-2.0-only |" in page


def test_the_source_distribution_passes_its_own_tests(tmp_path: Path) -> None:
    folder = sdist.unpacked(tmp_path)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    inside = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in tracked if "/" in name and not name.startswith(".")} <= inside
    assert {"README.md", "LICENSE", "SECURITY.md", "Makefile", "constraints.txt", "requirements.lock"} <= inside
    assert not [name for name in inside if name.endswith((".pyc", ".mp4")) or "/." in name]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_stats.py"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
