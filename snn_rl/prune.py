"""``python -m snn_rl.prune``: a spiking agent to fewer timesteps per decision."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import (
    ENV_HELP,
    PENALTY_HELP,
    SURROGATE_HELP,
    add_checkpoint_every,
    add_hints,
    add_threads,
    device,
    environment,
    penalty,
    run,
    seed,
    surrogate,
    use_threads,
)
from snn_rl.tasks.recipes import OBJECTIVES


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.prune``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.prune",
        description="Prunes a spiking agent to fewer timesteps per decision, one at a time.",
        epilog="example: python -m snn_rl.prune --agent runs/pong/converted-T5 --T 1 --ann runs/pong/ann --out runs/pruned",
    )
    parser.add_argument("--agent", required=True, help="spiking agent: folder, shipped name, or SpikingDQN zip")
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    parser.add_argument("--T", type=int, required=True, help="timesteps per decision to end with")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stages T<n>")
    parser.add_argument("--ann", help="teacher: agent folder, shipped name, or SB3 zip")
    add_hints(parser, "the zips of --ann and --agent")
    parser.add_argument("--objective", choices=OBJECTIVES, help="default: distill where there is --ann, else td")
    parser.add_argument("--spike-penalty", type=penalty, metavar="W", help=PENALTY_HELP)
    parser.add_argument("--surrogate", type=surrogate, metavar="SHAPE:HEIGHT", help=SURROGATE_HELP)
    parser.add_argument("--seed", type=seed, default=0, help="default 0")
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    add_checkpoint_every(parser)
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or auto (default cpu)")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.training.pruning import PruneOptions, prune

    processes = use_threads(args.threads)
    options = PruneOptions(**{part.name: getattr(args, part.name) for part in dataclasses.fields(PruneOptions)})
    prune(options, args.device, args.resume, tune=args.threads is None, processes=processes)
    return 0


if __name__ == "__main__":
    run(main)
