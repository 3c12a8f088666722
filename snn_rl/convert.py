"""``python -m snn_rl.convert``: an ANN into a spiking agent."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import ENV_HELP, EXTRACTOR_HELP, add_threads, environment, frame_count, run, seed, use_threads


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.convert``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.convert",
        description="Converts an ANN-DQN into a spiking agent.",
        epilog="example: python -m snn_rl.convert --ann my_dqn.zip --env CartPole-v1 --T 5 --out runs/cartpole-T5",
    )
    parser.add_argument("--ann", required=True, help="agent folder, shipped name, or SB3 DQN zip")
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    parser.add_argument("--T", type=int, default=5, help="timesteps per decision (default 5)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new agent")
    parser.add_argument("--extractor", metavar="MODULE:CLASS", help=EXTRACTOR_HELP)
    parser.add_argument(
        "--frames", type=frame_count, help="frames that the new agent sees, at most the ANN's (default: as many)"
    )
    parser.add_argument("--no-carry", action="store_true", help="the membranes start from rest at every decision")
    parser.add_argument("--seed", type=seed, default=0, help="default 0")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.store import agents
    from snn_rl.store.files import check_new
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.training.conversion import convert, load_ann

    use_threads(args.threads)
    check_new(args.out)
    given = load_recipe(args.env, args.frames) if args.env else None
    ann = load_ann(args.ann, given, args.extractor)
    recipe = given or load_recipe(ann.env, args.frames)
    print(f"{ann.label}: conversion to T={args.T}, written to {args.out}")
    agent = convert(ann, recipe, args.T, seed=args.seed, carry=not args.no_carry, frames=args.frames, show=True)
    print(f"wrote {agents.save(agent, args.out, half=recipe.half)}")
    return 0


if __name__ == "__main__":
    run(main)
