"""``python -m snn_rl.probe``: what an agent's membranes remember."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import add_threads, run, seed, use_threads
from snn_rl.core.errors import UserError
from snn_rl.store.files import check_writable


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.probe``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.probe",
        description="Shows what an agent's membranes remember: a neuron beside a hidden velocity, and linear probes of it.",
        epilog="example: python -m snn_rl.probe CartPoleNoVel-v1/T1 --out runs/memory",
    )
    parser.add_argument("agent", help="spiking agent that carries its membranes: folder or shipped name")
    parser.add_argument("--out", type=Path, required=True, help="folder for memory.png and memory.json")
    parser.add_argument("--episodes", type=int, help="episodes to play (default 60; of image observations 3)")
    parser.add_argument("--seed", type=seed, default=0, help="default 0")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.measure.hidden import HIDDEN
    from snn_rl.measure.probe import probe, show
    from snn_rl.store import agents
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.tasks.rollout import starts

    use_threads(args.threads)
    agent = agents.load(args.agent)
    if not agent.network.lifs or not agent.network.carry:
        raise UserError(f"'{args.agent}' carries no membranes from step to step: there is nothing to read; give one that does")
    if agent.env not in HIDDEN:
        raise UserError(f"what is hidden in {agent.env} is not known here; known: {', '.join(HIDDEN)}")
    usual = 3 if len(agent.observation_shape) == 3 else 60  # membranes of images fill gigabytes
    episodes = usual if args.episodes is None else args.episodes
    begins = starts(load_recipe(agent.env, agent.frames), episodes, args.seed)
    check_writable(args.out / "memory.json")
    print(f"{agent.label}: {episodes} episodes, written to {args.out}")
    result, settled = probe(agent, begins, args.out, progress=True)
    show(result, agent.label)
    steps = ", ".join(f"{n}: {share:.1%}" for n, share in settled.items()) or "no episode is long enough"
    print(f"same action as in play, the membranes begun at rest this many environment steps before: {steps}")
    print(args.out / "memory.png")
    return 0


if __name__ == "__main__":
    run(main)
