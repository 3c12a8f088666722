"""``make demo``: the shipped Pong agent that decides in one timestep and sees one frame plays beside its ANN, which sees
four; a table, a video and a reward-vs-T plot. With ``--compare`` any two agents do: a table and a video."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import add_threads, run, use_threads

ENV, AGENTS = "PongNoFrameskip-v4", ("ann", "T1-frames1")
VIDEO, COMPARED = "pong_T1_beside_ann.mp4", "compared.mp4"


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.demo``."""
    parser = argparse.ArgumentParser(prog="snn_rl.demo", description=__doc__, epilog="example: python -m snn_rl.demo")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of what it writes")
    parser.add_argument(
        "--compare", nargs=2, metavar="AGENT", help="two other agents, folders or shipped names; the first is on the left"
    )
    parser.add_argument("--episodes", type=int, default=8, help="whole games per agent (30 is every start)")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from rich.console import Console

    from snn_rl.measure import results, tables
    from snn_rl.measure.side_by_side import side_by_side, table
    from snn_rl.measure.video import record
    from snn_rl.sb3.zips import load_agent
    from snn_rl.store.files import data_folder
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.tasks.rollout import starts

    processes = use_threads(args.threads)
    first, second = args.compare or (f"{ENV}/{name}" for name in AGENTS)
    left = load_agent(first)
    players, recipe = [left, load_agent(second, left.env)], load_recipe(left.env, left.frames, left.module)
    args.out.mkdir(parents=True, exist_ok=True)
    scores = side_by_side(players, recipe, args.episodes, processes=processes)
    names = [player.name for player in players] if args.compare else ()
    title = f"{left.env}, {args.episodes} whole game{'s' * (args.episodes != 1)} each, greedy, the same starts"
    Console().print(table(scores, title, names))
    print("Energy: 45 nm, FP32; synapses, neuron updates and membrane traffic; an ANN counted dense.")
    start, video = starts(recipe, 1, 0)[0], args.out / (COMPARED if args.compare else VIDEO)
    record(players if args.compare else players[::-1], start, video, progress=True)
    if not args.compare:
        for path in tables.write(results.read(results.find(str(data_folder("agents") / ENV))), args.out):
            print(path)
        print(f"plot:  {args.out / 'reward_vs_T.png'} (all shipped agents, all their episodes)")
    print(f"video: {video}")
    return 0


if __name__ == "__main__":
    run(main)
