"""What the commands share: how they end, and how they talk."""

from __future__ import annotations

import _thread
import argparse
import ctypes
import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from snn_rl import early
from snn_rl.core.errors import UserError
from snn_rl.tasks.catalogue import imported

if TYPE_CHECKING:
    import torch as th

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of malloc.h

ENV_HELP = "Gymnasium id, or MODULE:ID where a module of yours registers it"
PENALTY_HELP = "weight of the spikes' cost in the loss of distillation: fewer spikes, less energy (default: the recipe's)"
SURROGATE_HELP = (
    "gradient that spikes pass backward: triangle, rectangle, sigmoid or arctan, and its height at the threshold (default: "
    "the recipe's, triangle:0.3 as in the paper)"
)

THREADS_HELP = (
    "processor threads to use (default: $SNN_RL_THREADS; else one, but long play in as many processes as there are cores, and "
    "trainings on images with as many threads as a measurement at their start finds to pay)"
)

HEAVY = {"ale_py", "cv2", "gymnasium", "matplotlib", "numpy", "pandas", "stable_baselines3", "torch"}

Number = TypeVar("Number", int, float)
Main = Callable[[Sequence[str] | None], int]


def run(main: Main, argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and exits: 0, or not 0 with one sentence on stderr. ``--debug`` shows the traceback too."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's way of pressing Ctrl-C
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, early.end):  # a shell may have said to ignore it
        signal.signal(signal.SIGINT, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may not know the sign of a micro
    _keep_freed_memory()
    try:
        sys.exit(main(arguments))
    except (Exception, KeyboardInterrupt) as error:
        code, message = _verdict(error)
        if debug:
            traceback.print_exception(error)
    sentence = "".join(mark if mark.isprintable() else f"\\x{ord(mark):02x}" for mark in " ".join(message.split()))
    print(f"snn_rl: {sentence}", file=sys.stderr)  # what it quotes of a file may not steer the terminal
    sys.exit(code)


def _keep_freed_memory() -> None:
    """Makes glibc keep what was freed instead of giving it back to the system: each gradient step frees and asks again for
    many megabytes, and the page faults of asking took a fifth to a half of a step's time (measured with NatureCNN)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the largest that it takes
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 << 20)


def environment(text: str) -> str:
    """An argparse type: the id of an environment, see :func:`~snn_rl.tasks.catalogue.imported`."""
    try:
        return imported(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def seed(text: str) -> int:
    """An argparse type: a seed is a whole number from 0 to 2**31 - 1."""
    return _number(int, text, lambda value: 0 <= value < 2**31, f"a seed must be a whole number in 0 .. {2**31 - 1}")


def frame_count(text: str) -> int:
    """An argparse type: at least one frame is seen."""
    return _number(int, text, lambda value: value >= 1, "an observation has at least 1 frame")


def penalty(text: str) -> float:
    """An argparse type: the weight of a penalty is a finite number from 0 on."""
    return _number(float, text, lambda value: 0 <= value < float("inf"), "a penalty must be a finite number from 0 on")


def surrogate(text: str) -> str:
    """An argparse type: a surrogate gradient, see :mod:`snn_rl.core.surrogate`."""
    from snn_rl.core.surrogate import Surrogate

    try:
        return str(Surrogate.read(text))
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_checkpoint_every(parser: argparse.ArgumentParser) -> None:
    """Adds ``--checkpoint-every``."""
    help_ = "seconds between two checkpoints, at least (default 60); they take at most a twentieth of the time"
    parser.add_argument("--checkpoint-every", type=seconds, metavar="SECONDS", default=60.0, help=help_)


def seconds(text: str) -> float:
    """An argparse type: a time is a finite number from 0 on."""
    return _number(float, text, lambda value: 0 <= value < float("inf"), "a time is a finite number of seconds from 0 on")


def add_hints(parser: argparse.ArgumentParser, of: str = "the zip") -> None:
    """Adds what a zip may need to be told: ``--extractor``, ``--activation``, ``--vecnormalize`` and ``--trust-pickle``."""
    parser.add_argument("--extractor", metavar="MODULE:CLASS", help=f"custom feature extractor of {of}, from your code")
    said = f"activation between the dense layers of {of}, where it does not say it"
    parser.add_argument("--activation", choices=("ReLU", "Tanh"), help=said)
    parser.add_argument("--vecnormalize", type=Path, metavar="FILE", help=f"what VecNormalize.save wrote beside {of}")
    parser.add_argument("--trust-pickle", action="store_true", help="read FILE, which runs whatever its author put there")


def _thread_count(text: str) -> int:
    return _number(int, text, lambda value: 1 <= value <= 1024, "--threads and SNN_RL_THREADS take a number from 1 to 1024")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Adds ``--threads``; where it is not given, the environment variable ``SNN_RL_THREADS`` counts, else it is None."""
    usual = os.environ.get("SNN_RL_THREADS") or None  # argparse reads a text as if it had been typed
    parser.add_argument("--threads", type=_thread_count, metavar="N", default=usual, help=THREADS_HELP)


def use_threads(wanted: int | None) -> int:
    """Lets torch compute with as many threads as ``--threads`` says; with one where it says nothing.

    Returns:
        In how many processes agents may play side by side: so many, or as many as there are cores.
    """
    import torch as th

    from snn_rl.core.threads import cores

    th.set_num_threads(wanted or 1)
    return wanted or cores()


def _number(kind: type[Number], text: str, fits: Callable[[Number], bool], rule: str) -> Number:
    """The number in an option's text; where there is none or it does not fit, argparse says the rule."""
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{rule}, got {text}")
    return value


def device(text: str) -> th.device:
    """An argparse type: a device that is there; ``auto`` is the GPU where there is one."""
    import torch as th

    try:
        chosen = th.device(("cuda" if th.cuda.is_available() else "cpu") if text == "auto" else text)
        if chosen.type not in ("cpu", "cuda"):
            raise RuntimeError(text)
        th.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not available here; use cpu or auto") from error
    return chosen


def _verdict(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence for whatever ended a command: 2 for what the user asked for, 130 for Ctrl-C, 1 for what the
    machine lacks, 70 for a defect of this package."""
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, str(error) or "interrupted; nothing that was there before is lost"
    if isinstance(error, OSError):
        return 1, _explain(error)
    if isinstance(error, MemoryError):
        return 1, "not enough memory; close other programs or use a smaller buffer_size in the recipe"
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = f"unexpected {type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
    return 70, f"{what}; run again with --debug to see the traceback, and report it"


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Ends the command as Ctrl-C does; while a heavy package is being imported, as soon as it is there.

    Its extensions would swallow the exception while they start, or abort the process.
    """
    if not _starting(frame):
        raise KeyboardInterrupt
    again = threading.Timer(0.05, _thread.interrupt_main)
    again.daemon = True
    again.start()


def _starting(frame: FrameType | None) -> bool:
    """Whether one of the heavy packages is being imported, or one of its modules."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__", "").partition(".")[0] in HEAVY:
            return True
        frame = frame.f_back
    return False


def _explain(error: OSError) -> str:
    where = f" '{error.filename}'" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}; free some space or choose another folder, what was there before is kept"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot write{where}: {error.strerror}; choose a folder that you may write to"
    return f"{error.strerror or error}{where}; nothing that was there before is lost"
