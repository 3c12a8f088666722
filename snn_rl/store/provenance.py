"""What a card says of the process that made an agent: its command and the versions of what it ran on."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path


def versions() -> dict[str, str]:
    """Versions that a number depends on."""
    packages = ("snn-rl", "torch", "stable-baselines3", "gymnasium", "ale-py", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def command() -> str:
    """The command line of this process, as a user would type it."""
    program = Path(sys.argv[0])
    if program.suffix != ".py":
        name = program.name
    elif program.resolve().parent == Path(__file__).resolve().parents[1]:
        name = f"python -m snn_rl.{program.stem}"
    else:
        name = f"python {program.name}"
    return f"{name} {shlex.join(sys.argv[1:])}"
