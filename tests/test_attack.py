"""The shorter form of ``tools/attack.py``, and that it would notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import posix

TOOLS = Path(__file__).parents[1] / "tools"


@posix
def test_no_hostile_or_damaged_file_does_harm() -> None:
    environment = os.environ | {"PYTHONPATH": str(TOOLS.parent)}
    command = [sys.executable, str(TOOLS / "attack.py"), "--cases", "60", "--flips", "30", "--seed", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tried 60, loaded" in done.stdout
    assert "executed 0, unexpected errors 0, over 10 s 0, above 1 GB 0" in done.stdout
    assert "flips in weights 0, flips in the card 0" in done.stdout


@posix
def test_what_should_not_happen_would_be_seen(tmp_path: Path) -> None:
    """Each line is of a file that loads, is refused, fails, fails in two lines, or takes a gigabyte: code, seconds, bytes."""
    script = """
from pathlib import Path
import numpy as np
from attack import attempt
from hostile import Case
from snn_rl.core.errors import UserError

def refused(said):
    raise UserError(said)

for read in (lambda: None, lambda: refused("no"), lambda: 1 / 0, lambda: refused("no\\nno"), lambda: np.ones(150_000_000)):
    print(*attempt(Case("", read), Path("log")))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TOOLS), str(TOOLS.parent)])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    codes, seconds, sizes = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert codes == ("0", "3", "4", "4", "0")
    assert all(float(spent) < 10 for spent in seconds)
    assert [float(size) > 1e9 for size in sizes] == [False, False, False, False, True]
