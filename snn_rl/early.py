"""Ctrl-C in the first moments of a command, before :func:`snn_rl.console.run` answers it."""

from __future__ import annotations

import os
import signal
import sys


def is_command(started: list[str]) -> bool:
    """Whether Python was started for a command of this package.

    Args:
        started: ``sys.orig_argv``: ``python -m snn_rl.train ...``, or ``python .../bin/snn-rl train ...``.
    """
    for before, word, after in zip(started, started[1:], [*started[2:], ""], strict=False):
        if word == "-m":
            return after.partition(".")[0] == "snn_rl"
        if not word.startswith("-") and before not in ("-X", "-W"):  # the script; the rest is said to it
            return os.path.basename(word).removesuffix(".exe") == "snn-rl"
    return False


def end(number: int, frame: object) -> None:
    """Ends the process in silence: nothing was read or written yet."""
    os._exit(130)


if is_command(sys.orig_argv) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, end)
