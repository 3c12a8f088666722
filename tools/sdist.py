"""Builds the source distribution, unpacks it and runs tests from it. For maintainers, in a checkout.

    python tools/sdist.py [TEST...]

Without names some tests of every room are run, by the Python that runs this. What they import is what was unpacked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ("lif", "network", "card", "fixtures", "recipes", "zips", "integers", "td_loss", "report", "trust_archives")


def unpacked(folder: Path) -> Path:
    """Builds the distribution and unpacks it there; the folder that it makes."""
    build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/sdist.py``; the exit code is that of the tests."""
    names = list(sys.argv[1:] if argv is None else argv) or [f"tests/test_{name}.py" for name in TESTS]
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpacked(Path(temporary))
        environment = os.environ | {"PYTHONPATH": str(folder)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
