"""``python -m snn_rl.report``: tables and plots of agents, from their files alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import run


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.report``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.report",
        description="Tables and plots of evaluated agents: reward, spike rates and energy against T.",
        epilog="example: python -m snn_rl.report runs/pong0 runs/pong1 runs/pong2 --out report",
    )
    parser.add_argument("agents", nargs="+", help="folders of agents, of runs, or names of shipped ones")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.md, summary.json and the plots")
    more = "plots in this form too, to print: vectors (may be given twice)"
    parser.add_argument("--format", choices=("png", "svg", "pdf"), action="append", default=[], help=more)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.measure.results import find, read
    from snn_rl.measure.tables import write

    for path in write(read(folder for where in args.agents for folder in find(where)), args.out, args.format):
        print(path)
    return 0


if __name__ == "__main__":
    run(main)
