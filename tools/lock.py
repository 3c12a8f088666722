"""Writes ``requirements.lock``: the versions of ``constraints.txt`` with the sums of their files. For maintainers; needs uv.

    python tools/lock.py [--also FILE.whl] [--check]

The sums are those of all files that the Python Package Index has for a version, so the lock is for every platform. ``--also``
adds the sum of a build from elsewhere, such as a PyTorch for processors alone. ``--check`` compares the lock with
``constraints.txt`` alone and needs neither uv nor a network; a test does it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS, LOCK = ROOT / "constraints.txt", ROOT / "requirements.lock"
COMMAND = ("uv", "pip", "compile", "--generate-hashes", "--no-deps", "--universal", "--no-annotate", "--no-header", "--quiet")
INDEX = "https://pypi.org/simple"
OLDEST = "3.11.7"  # Python
HEAD = """# Made by `python tools/lock.py` from constraints.txt; do not edit. Nothing is installed whose sum is not here:
#   pip install --require-hashes --no-deps -r requirements.lock
"""


def pinned(text: str) -> dict[str, str]:
    """Version of each package, by its name as an index writes it (PEP 503)."""
    found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.M)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def differences() -> list[str]:
    """Where the lock is not that of the constraints, and packages without a sum."""
    wanted, text = pinned(CONSTRAINTS.read_text(encoding="utf-8")), LOCK.read_text(encoding="utf-8")
    found = pinned(text)
    said = [
        f"{name}: {wanted.get(name)} in {CONSTRAINTS.name}, {found.get(name)} in {LOCK.name}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
    alone = re.findall(r"^([\w.-]+)==.*(?<!\\)$", text, re.M)
    return [*said, *(f"{name} has no sum in {LOCK.name}" for name in alone)]


def added(text: str, wheel: Path) -> str:
    """The lock with the sum of one more build of a package, by the name and the version of its file."""
    name, version = wheel.name.split("-")[:2]
    own = f"{name.replace('_', '-')}=={version.partition('+')[0]} \\\n"
    if own not in text:
        raise SystemExit(f"{LOCK.name} has no {own.split()[0]}, which '{wheel.name}' is a build of")
    sum_of_it = hashlib.sha256(wheel.read_bytes()).hexdigest()
    note = f"# the first sum of {name} is that of {wheel.name}\n"
    return text.replace(own, f"{note}{own}    --hash=sha256:{sum_of_it} \\\n")


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/lock.py``; the exit code is 1 if the lock is not that of the constraints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--also", type=Path, action="append", default=[], metavar="FILE.whl", help="a build from elsewhere")
    args = parser.parse_args(argv)
    if not args.check:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / LOCK.name
            options = ["--python-version", OLDEST, "--default-index", INDEX, "--output-file", str(out)]
            subprocess.run([*COMMAND, *options, str(CONSTRAINTS)], check=True)
            text = out.read_text(encoding="utf-8")
        for wheel in args.also:
            text = added(text, wheel)
        LOCK.write_text(HEAD + text, encoding="utf-8")
    for line in (said := differences()):
        print(line)
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
