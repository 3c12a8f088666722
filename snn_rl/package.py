"""``python -m snn_rl.package``: an agent as a folder for the Hugging Face hub."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import run


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.package``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.package",
        description="Writes an agent's files and a model card with its scores into a folder, which the hub takes as it is.",
        epilog="example: python -m snn_rl.package CartPole-v1/T1 --out runs/hub",
    )
    parser.add_argument("agent", help="agent folder, or shipped name")
    parser.add_argument("--license", metavar="ID", help="its licence in the hub's words, such as mit (default: none is named)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.exports import hub
    from snn_rl.store.files import check_new

    if args.agent.endswith(".zip"):
        parser.error(f"a zip has no score: python -m snn_rl.evaluate {args.agent} --env ID --out DIR makes a folder of it")
    check_new(args.out)
    print(hub.write(args.agent, args.out, args.license))
    return 0


if __name__ == "__main__":
    run(main)
