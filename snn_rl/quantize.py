"""``python -m snn_rl.quantize``: a spiking agent as integers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import ENV_HELP, add_hints, add_threads, device, environment, run, use_threads
from snn_rl.store.files import check_new


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.quantize``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.quantize",
        description="Rounds a spiking agent to integers, and plays both from the same starts. Nothing is trained without "
        "--finetune.",
        epilog="example: python -m snn_rl.quantize PongNoFrameskip-v4/T1-frames1 --out runs/T1-frames1-int8",
    )
    parser.add_argument("agent", help="spiking agent: folder, shipped name, or SpikingDQN zip")
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    add_hints(parser)
    parser.add_argument("--bits", type=int, default=8, choices=range(2, 9), metavar="2..8", help="of a weight (default 8)")
    parser.add_argument(
        "--readout-bits",
        type=int,
        default=16,
        choices=range(2, 17),
        metavar="2..16",
        help="of a readout's weight (default 16)",
    )
    parser.add_argument(
        "--finetune",
        action="store_true",
        help="first let the ANN teach the agent while its weights are rounded, for fewer than 6 bits; the agent of float "
        "numbers is kept beside --out, and the same command goes on where it stopped",
    )
    parser.add_argument("--ann", help="teacher of --finetune: folder, shipped name or zip (default: who taught the agent)")
    parser.add_argument("--device", type=device, default="cpu", help="of --finetune: cpu, cuda or auto (default cpu)")
    parser.add_argument("--episodes", type=int, default=3, help="to play before and after (default 3)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the agent of integers")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    use_threads(args.threads)
    from snn_rl.core.spec import check_undivided
    from snn_rl.measure.scores import Protocol, describe, evaluate
    from snn_rl.sb3.hints import Hints
    from snn_rl.sb3.zips import load_hinted
    from snn_rl.store import agents
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.training.finetune import finetuned
    from snn_rl.training.integers import to_integers

    check_new(args.out)
    hints = Hints(args.extractor, args.activation, args.vecnormalize, args.trust_pickle)
    agent = load_hinted(args.agent, args.env, hints)
    check_undivided(agent.network.spec, "an integer network")  # before anything is trained
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    tuned = agent
    if args.finetune:
        beside = args.out.with_name(f"{args.out.name}-float")
        tuned = finetuned(agent, args.ann, recipe, args.bits, beside, args.device)
    rounded = to_integers(tuned, recipe, args.bits, args.readout_bits)
    rounded.name = args.out.name
    for word, one in (("before", agent), ("after", rounded)):
        print(f"{word}: {describe(evaluate(one, recipe, Protocol(episodes=args.episodes), progress=True))}")
    print(f"stored in {agents.save(rounded, args.out)}")
    return 0


if __name__ == "__main__":
    run(main)
