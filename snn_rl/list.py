"""``python -m snn_rl.list``: the agents that come with the package."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from snn_rl.console import run
from snn_rl.core.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.list``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.list",
        description="The agents that come with the package: timesteps per decision, frames, mean return, energy.",
        epilog="example: python -m snn_rl.list Pong",
    )
    parser.add_argument("part", nargs="?", default="", help="part of their names")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.measure.listing import list_agents, text

    found = list_agents(args.part)
    if not found:
        raise UserError(f"no shipped agent's name has '{args.part}' in it; leave it out to see all")
    print(text(found))
    return 0


if __name__ == "__main__":
    run(main)
