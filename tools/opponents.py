"""Counts what agents and the ANNs of their shape do while an agent plays, for the table of docs/energy.md.

    python tools/opponents.py PongNoFrameskip-v4/T1-frames1 ...      (default: every shipped spiking agent)

Each agent plays its first greedy episodes; the ANNs that :mod:`snn_rl.measure.opponents` finds watch. The counts per decision
are written to docs/results/ENVIRONMENT/opponents.json, in the place of those of the same agent.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch as th

from snn_rl.console import run
from snn_rl.measure import opponents
from snn_rl.store import agents
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.players import Played, Player, playing
from snn_rl.tasks.rollout import starts

RESULTS = Path(__file__).parents[1] / "docs" / "results"
EPISODES = {True: 1, False: 10}  # of Atari, where an episode has more than a thousand decisions; of others


def measure(name: str) -> dict[str, Any]:
    """Counts of an agent's play and of the ANNs that watch."""
    agent = agents.load(name)
    recipe, found = load_recipe(agent.env, agent.frames), opponents.find(agent)
    begins = starts(recipe, EPISODES[recipe.atari], 0)
    played = Played(player := Player(agent.network, recipe, agent.frames, 0.0, None, True, found.watching), len(begins))
    for _ in playing(player, begins, played):
        pass
    assert played.tally is not None
    counted = zip(("agent", *found.networks), played.tally.counters, strict=True)
    counts = {kind: dataclasses.asdict(counter.counts()) for kind, counter in counted}
    print(f"{name}: return {played.returns.mean():.2f}, {int(played.lengths.sum()):,} decisions", flush=True)
    return {"returns": played.returns.tolist(), "decisions": int(played.lengths.sum()), "counts": counts}


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/opponents.py``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="*")
    args = parser.parse_args(argv)
    th.set_num_threads(1)
    trained = [name for name in agents.shipped() if not name.endswith("-int8") and "/converted" not in name]
    for name in args.agents or [name for name in trained if agents.load(name).network.spiking]:
        env, _, own = name.partition("/")
        out = RESULTS / env / "opponents.json"
        found = measure(name)
        known = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        write_json(dict(sorted({**known, own: found}.items())), out)
    return 0


if __name__ == "__main__":
    run(main)
