"""For maintainers: puts finished runs of several training seeds into the catalogue ``agents/``.

The agents of the *median* seed are shipped, never the best; ``episodes.csv`` holds the episodes of all seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import run


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.ship RUN...``, in a checkout."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.ship", description=__doc__, epilog="example: python -m snn_rl.ship runs/pong0 runs/pong1 runs/pong2"
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders that snn_rl.train wrote, one per training seed")
    only = "agents to ship, in the place of others of that name too (default: all, in nobody's place)"
    parser.add_argument("--only", nargs="+", metavar="NAME", help=only)
    args = parser.parse_args(argv)
    from snn_rl.training.shipping import ship

    ship(args.runs, args.only)
    return 0


if __name__ == "__main__":
    run(main)
