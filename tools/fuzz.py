"""Tries the properties of ``tests/properties.py`` for some minutes. For maintainers, in a checkout, on Linux.

    python tools/fuzz.py [--minutes 10] [--seed 0]

Every reader of files is given spoilt ones, and every law of states random networks; round after round, others each time.
What is printed: how many examples of each were tried, and what did not hold. ``make test`` runs a short form.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch as th
from hypothesis import HealthCheck, Phase, given, seed, settings

ROUND = 50  # examples of one property before the next one's turn
LIMIT_BYTES = 24 << 30  # of addresses: torch takes many that it does not use


def fuzz(properties: dict[str, Any], minutes: float, first: int) -> tuple[Counter[str], list[str]]:
    """Tries each property in turn until the time is over.

    Args:
        properties: by name a strategy and a check.
        minutes: how long.
        first: seed of the first round.

    Returns:
        How many examples of each were tried, and the names of those that did not hold, with what was found.
    """
    tried, broken, until, number = Counter[str](), dict[str, str](), time.monotonic() + 60 * minutes, first
    long = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    while time.monotonic() < until:
        for name, (strategy, check) in properties.items():
            if name in broken or time.monotonic() >= until:
                continue
            try:
                seed(number)(long(given(strategy)(counted(check, tried, name))))()
            except Exception:
                broken[name] = traceback.format_exc(limit=-3)
                print(f"{name}, seed {number}:\n{broken[name]}", flush=True)
        number += 1
    return tried, [*broken]


def counted(check: Callable[[Any], None], tried: Counter[str], name: str) -> Callable[[Any], None]:
    """The check, which counts its examples."""

    def one(example: Any) -> None:
        tried[name] += 1
        check(example)

    return one


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/fuzz.py``; the exit code is 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to try")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    args = parser.parse_args(argv)
    th.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    tried, broken = fuzz(importlib.import_module("properties").PROPERTIES, args.minutes, args.seed)
    for name, number in tried.items():
        print(f"{name}: {number:,}{', BROKEN' * (name in broken)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"{len(tried)} properties, {tried.total():,} examples, {len(broken)} broken; {peak:.2f} GB at most")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
