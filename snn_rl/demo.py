"""``make demo``: the shipped Pong agent that decides in one timestep and sees one frame plays beside its ANN, which sees
four; a table, a video and a reward-vs-T plot."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import add_threads, run, use_threads

ENV, AGENTS = "PongNoFrameskip-v4", ("ann", "T1-frames1")
VIDEO = "pong_T1_beside_ann.mp4"


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.demo``."""
    parser = argparse.ArgumentParser(prog="snn_rl.demo", description=__doc__, epilog="example: python -m snn_rl.demo")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of what it writes")
    parser.add_argument("--episodes", type=int, default=8, help="whole games per agent (30 is every start)")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from rich.console import Console

    from snn_rl.measure import results, tables
    from snn_rl.measure.side_by_side import side_by_side, table
    from snn_rl.measure.video import record
    from snn_rl.store import agents
    from snn_rl.store.files import data_folder
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.tasks.rollout import starts

    processes = use_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(ENV)
    players = [agents.load(f"{ENV}/{name}") for name in AGENTS]
    scores = side_by_side(players, recipe, args.episodes, processes=processes)
    console = Console()
    console.print(
        table(scores, f"{ENV}, {args.episodes} whole game{'s' * (args.episodes != 1)} each, greedy, the same starts")
    )
    console.print("Energy: 45 nm, FP32; synapses, neuron updates and membrane traffic; the ANN counted dense.")
    record(players[::-1], starts(recipe, 1, 0)[0], args.out / VIDEO, progress=True)
    for path in tables.write(results.read(results.find(str(data_folder("agents") / ENV))), args.out):
        print(path)
    print(f"video: {args.out / VIDEO}\nplot:  {args.out / 'reward_vs_T.png'} (all shipped agents, all their episodes)")
    return 0


if __name__ == "__main__":
    run(main)
