"""How many threads torch computes with: one, unless more are asked for or a measurement shows that they pay.

Small networks lose by several threads, and lose badly where other work shares the cores: on two such cores 100 decisions in
Pong took 13 to 35 seconds with torch's own choice and 0.07 with one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch as th

GAIN = 1.3  # times as fast as with one thread: less is not worth the cores
ROUNDS = 3


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Processor cores that this process may use, at least 1.

    Args:
        quota: the file in which a Linux container's share of the processor stands: microseconds of work (or ``max``) in a
            period of so many microseconds.
    """
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        work, period = map(int, quota.read_bytes().split())
    except (OSError, ValueError):  # no such file, or no limit
        return free
    return max(min(free, work // period), 1)


def most() -> int:
    """The most threads that are tried: the cores, or fewer where ``OMP_NUM_THREADS`` says so."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores(), int(wanted)) if wanted.isdecimal() and int(wanted) else cores()


@contextmanager
def using(n: int) -> Iterator[None]:
    """Lets torch compute with ``n`` threads for a while."""
    before = th.get_num_threads()
    th.set_num_threads(n)
    try:
        yield
    finally:
        th.set_num_threads(before)


def timed(work: Callable[[], object], most: int, clock: Callable[[], float] = time.perf_counter) -> dict[int, float]:
    """Median seconds of a piece of work, with one thread and with ``most``; these only if they may still turn out faster.

    The work is done up to seven times, in turns, so that what else the machine does meanwhile slows both.
    """
    seconds: dict[int, list[float]] = {n: [] for n in sorted({1, most})}
    with using(1):
        work()  # the first time is slow
    for _ in range(ROUNDS):
        for n, spent in seconds.items():
            with using(n):
                begun = clock()
                work()
                spent.append(clock() - begun)
        if seconds[most][0] > seconds[1][0]:  # shared cores: waiting for the other rounds could take minutes
            break
    return {n: median(spent) for n, spent in seconds.items()}


def choice(seconds: dict[int, float]) -> int:
    """The number of threads that :func:`timed` speaks for: the most if they are at least 1.3 times as fast, else one."""
    many = max(seconds)
    return many if seconds[1] >= GAIN * seconds[many] else 1
