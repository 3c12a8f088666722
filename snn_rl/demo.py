"""``make demo``: the shipped Pong agent that decides in one timestep and sees one frame plays beside its ANN, which sees
four; a table, a video and a reward-vs-T plot."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import run

ENV = "PongNoFrameskip-v4"


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.demo``."""
    parser = argparse.ArgumentParser(prog="snn_rl.demo", description=__doc__, epilog="example: python -m snn_rl.demo")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of what it writes")
    parser.add_argument("--episodes", type=int, default=8, help="whole games per agent (30 is every start)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from rich.console import Console
    from rich.table import Table

    from snn_rl import report
    from snn_rl.measure.scores import Protocol, evaluate
    from snn_rl.measure.video import record
    from snn_rl.store import agents
    from snn_rl.store.files import data_folder
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.tasks.rollout import starts

    args.out.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(ENV)
    players = [agents.load(f"{ENV}/{name}") for name in ("ann", "T1-frames1")]
    used: list[float] = []
    table = Table(title=f"{ENV}, {args.episodes} whole games each, greedy, the same starts")
    for heading in ("agent", "frames", "mean return", "min .. max", "spikes per neuron", "uJ per decision", "times less"):
        table.add_column(heading, justify="right")
    for agent in players:
        score = evaluate(agent, recipe, Protocol(episodes=args.episodes), progress=True).score
        rates = list((score.spike_rate or {}).values())
        assert score.uj is not None
        used.append(score.uj)
        table.add_row(
            f"SNN, T={score.T}" if score.T else "ANN",
            str(agent.frames),
            f"{score.returns.mean:.2f}",
            f"{score.returns.min:g} .. {score.returns.max:g}",
            f"{sum(rates) / len(rates):.3f}" if rates else "-",
            f"{used[-1]:.2f}",
            f"{used[0] / used[-1]:.2f}",
        )
    console = Console()
    console.print(table)
    console.print("Energy: 45 nm, FP32, every term that docs/energy.md lists; the ANN counted dense.")
    video = args.out / "pong_T1_beside_ann.mp4"
    record(players[::-1], starts(recipe, 1, 0)[0], video)
    report.main([str(data_folder("agents") / ENV), "--out", str(args.out)])
    print(f"video: {video}\nplot:  {args.out / 'reward_vs_T.png'} (all shipped agents, all their episodes)")
    return 0


if __name__ == "__main__":
    run(main)
