"""The whole path for one environment: ANN, conversion, temporal pruning, evaluation, report."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snn_rl.console import (
    ENV_HELP,
    PENALTY_HELP,
    SURROGATE_HELP,
    add_checkpoint_every,
    add_hints,
    add_threads,
    device,
    environment,
    frame_count,
    penalty,
    run,
    seed,
    surrogate,
    use_threads,
)
from snn_rl.tasks.recipes import OBJECTIVES

if TYPE_CHECKING:
    from snn_rl.training.options import Options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snn_rl.train",
        description="Trains a spiking agent: ANN, conversion, temporal pruning down to T, evaluation, report.",
        epilog="example: python -m snn_rl.train --env PongNoFrameskip-v4 --T 1",
    )
    parser.add_argument("--env", type=environment, required=True, help=ENV_HELP)
    alone = "0: the ANN alone, by reward; with --objective distill one that learns from an ANN that sees more"
    parser.add_argument("--T", type=int, default=1, help=f"timesteps per decision to end with (default 1); {alone}")
    parser.add_argument(
        "--ann",
        help="shipped, scratch, none (random weights, for --objective td), or the path of an agent or SB3 zip (default: "
        "shipped if there is one; with --T 0 scratch; by td where something is hidden none)",
    )
    add_hints(parser)
    parser.add_argument("--objective", choices=OBJECTIVES, help="default: the recipe's; with --T 0 td")
    parser.add_argument("--spike-penalty", type=penalty, metavar="W", help=PENALTY_HELP)
    parser.add_argument("--surrogate", type=surrogate, metavar="SHAPE:HEIGHT", help=SURROGATE_HELP)
    parser.add_argument("--seed", type=seed, default=0, help="default 0")
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/<env>-T<T>-seed<seed>")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    add_checkpoint_every(parser)
    parser.add_argument("--device", type=device, default="auto", help="cpu, cuda or auto (default auto)")
    parser.add_argument(
        "--no-carry", dest="carry", action="store_false", help="the membranes start from rest at every decision"
    )
    parser.add_argument(
        "--frames",
        type=frame_count,
        help="frames that the agent sees (default: the recipe's spiking_frames, else its ANN's; ANNs by reward: the recipe's)",
    )
    parser.add_argument(
        "--total-timesteps", "-n", type=int, help="environment steps of each training by reward (the ANN; each stage of td)"
    )
    parser.add_argument(
        "--start", type=int, metavar="T", help="T of the conversion and the first stage (default: the recipe's)"
    )
    said = "a number of the recipe, set anew (may be given several times): prune.learning_rate=3e-4"
    parser.add_argument("--recipe-set", action="append", default=[], metavar="TABLE.KEY=VALUE", help=said)
    parser.add_argument("--ablate", action="store_true", help="also convert straight to T, and train straight at T from there")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and end; nothing is trained or written")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def options_of(argv: Sequence[str]) -> Options:
    """What a command line asks for."""
    return _options(_parser().parse_args(argv))


def _options(args: argparse.Namespace) -> Options:
    from snn_rl.training.options import Options

    return Options(**{part.name: getattr(args, part.name) for part in dataclasses.fields(Options)})


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.train``."""
    args = _parser().parse_args(argv)
    from snn_rl.measure import results, tables
    from snn_rl.measure.scores import score
    from snn_rl.training.run import begin, carry_out, plan_for

    processes = use_threads(args.threads)
    plan = plan_for(_options(args))
    for note in plan.notes:
        print(note)
    print(plan)
    if args.dry_run:
        return 0
    with begin(plan, args.resume):
        # scored after all training, so that nothing waits for it
        for agent, recipe, zeroed in carry_out(plan, args.device, tune=args.threads is None, processes=processes):
            score(agent, recipe, ablate=zeroed, processes=processes)
        for path in tables.write(results.read(results.find(str(plan.out))), plan.out / "report"):
            print(path)
    return 0


if __name__ == "__main__":
    run(main)
