"""``python -m snn_rl.sweep``: many trainings, on this machine or on a Ray cluster, in one report."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snn_rl.console import environment, run
from snn_rl.core.errors import UserError

if TYPE_CHECKING:
    from snn_rl.sweeps.cells import Cell
    from snn_rl.sweeps.run import Where
    from snn_rl.training.plan import Plan


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snn_rl.sweep",
        description="Trains every combination of environments, T, settings and seeds, and reports them together.",
        epilog="example: python -m snn_rl.sweep --env CartPole-v1 --T 1 2 5 --seeds 0..9 --out runs/sweep. "
        "What stands behind -- goes to every training: -- --objective td",
    )
    parser.add_argument("--env", type=environment, nargs="+", required=True, help="Gymnasium ids")
    parser.add_argument("--T", type=int, nargs="+", default=[1], help="timesteps per decision to end with (default 1)")
    parser.add_argument("--seeds", nargs="+", default=["0..2"], help="numbers and ranges (default 0..2)")
    said = "numbers of the recipe with commas between (may be given several times); with --search also a range LOW..HIGH"
    parser.add_argument("--recipe-set", action="append", default=[], metavar="TABLE.KEY=VALUES", help=said)
    parser.add_argument("--on", choices=("local", "ray"), default="local", help="default local: processes on this machine")
    parser.add_argument("--address", help="of the Ray cluster (default: $RAY_ADDRESS, else one on this machine)")
    parser.add_argument("--storage", type=Path, help="folder that all nodes see, for checkpoints (default: each its own)")
    parser.add_argument("--cpus", type=int, default=1, help="cores of a cell (default 1)")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs of a cell, or the part of one (default 0)")
    parser.add_argument("--search", type=int, metavar="N", help="let Optuna choose N settings instead of trying all")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sweep")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted sweep, or add cells to it")
    parser.add_argument("--dry-run", action="store_true", help="print the cells and end")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.sweep``."""
    given = list(sys.argv[1:] if argv is None else argv)
    at = given.index("--") if "--" in given else len(given)
    args, more = _parser().parse_args(given[:at]), given[at + 1 :]
    _check(args)
    from snn_rl.sweeps.cells import Cell, grid, seeds_of, settings_of

    seeds = seeds_of(args.seeds)
    if args.search is not None:
        return _search(args, Cell(args.env[0], args.T[0], (), seeds[0], tuple(more)), seeds)
    cells = grid(args.env, args.T, settings_of(args.recipe_set), seeds, more)
    plans = _plans(cells)
    if args.dry_run:
        _print(cells, plans)
        return 0
    from snn_rl.sweeps.run import carry_out

    where = _where(args)
    try:
        failed = carry_out(cells, args.out, where)
    finally:
        where.close()
    return _report(cells, args.out, len(failed))


def _check(args: argparse.Namespace) -> None:
    if args.cpus < 1:
        raise UserError(f"--cpus must be at least 1, got {args.cpus}")
    if not 0 <= args.gpus < 1000:
        raise UserError(f"--gpus must be a number from 0 on, got {args.gpus}")
    if args.on == "local" and (args.address or args.storage):
        raise UserError("--address and --storage are for --on ray; add it, or leave them out")
    if args.search is not None and (args.search < 1 or len(args.env) > 1 or len(args.T) > 1):
        raise UserError("--search takes a number of trials from 1 on, with one --env and one --T")


def _plans(cells: Sequence[Cell]) -> dict[str, Plan]:
    """The plan of one cell of each group: what cannot be trained is said before anything is."""
    from snn_rl.train import options_of
    from snn_rl.training.run import plan_for

    first = {cell.group: cell for cell in reversed(cells)}
    return {group: plan_for(options_of(cell.arguments("", 1, "cpu"))) for group, cell in sorted(first.items())}


def _print(cells: Sequence[Cell], plans: dict[str, Plan]) -> None:
    """What ``--dry-run`` prints."""
    from snn_rl.store.work import Work

    sums: Counter[str] = Counter()
    for cell in cells:
        work = plans[cell.group].work
        sums.update({each.unit: each.number for each in work})
        print(f"{cell.name}: at most {' and '.join(map(str, work)) or 'no training'}")
    total = " and ".join(str(Work(number, unit)) for unit, number in sums.items())
    print(f"{len(cells):,} cells: at most {total or 'no training'}")


def _where(args: argparse.Namespace) -> Where:
    """Where cells are trained, once the folder of the sweep is there."""
    from snn_rl.sweeps.local import Local
    from snn_rl.sweeps.on_ray import OnRay
    from snn_rl.sweeps.run import CELLS, begin

    out = args.out.resolve() / CELLS
    name = begin(args.out, args.resume)
    if args.on == "local":
        return Local(out, args.cpus, args.gpus)
    return OnRay(out, args.cpus, args.gpus, args.address, args.storage, name)


def _report(cells: Sequence[Cell], out: Path, failed: int) -> int:
    from snn_rl.sweeps.run import report

    for path in report(cells, out):
        print(path)
    if failed:
        print(f"{failed:,} of {len(cells):,} cells failed; --resume tries them again", file=sys.stderr)
    return 1 if failed else 0


def _search(args: argparse.Namespace, base: Cell, seeds: Sequence[int]) -> int:
    from snn_rl.core.threads import cores
    from snn_rl.sweeps.run import carry_out
    from snn_rl.sweeps.search import search, spaces_of

    spaces = spaces_of(args.recipe_set)
    _plans([dataclasses.replace(base, settings=())])
    if args.dry_run:
        print(f"{args.search:,} trials of {len(seeds):,} seed(s) each, among {', '.join(map(str, spaces))}")
        return 0
    where, at_once = _where(args), max(cores() // (args.cpus * len(seeds)), 1)
    try:
        best, value, cells = search(
            args.search, spaces, base, seeds, args.out, lambda cells: carry_out(cells, args.out, where), at_once
        )
    finally:
        where.close()
    said = " ".join(f"{key}={setting}" for key, setting in best.items())
    print(f"best of {args.search:,} trials: {said}, mean return {value:.2f} over {len(seeds)} seed(s)")
    print("it is the best of many by these very episodes: train it anew with other seeds before you quote it")
    return _report(cells, args.out, 0)


if __name__ == "__main__":
    run(main)
