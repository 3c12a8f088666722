"""Whole games of agents beside their ONNX files in onnxruntime: does every decision agree?

    python tools/onnx_games.py [AGENT ...] [--atari-games 30] [--games 100]

Both see the same observations, each carries its own membranes, and Python's actions are played. The counts go into
docs/results/exports/onnx.json; ``make results`` writes the table of docs/exports.md from that file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch as th

from snn_rl import load_agent
from snn_rl.console import run
from snn_rl.core.network import State
from snn_rl.exports.onnx import model
from snn_rl.store.agents import Agent
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.rollout import Decision, make_envs, play, starts

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "exports" / "onnx.json"
AGENTS = (
    "CartPole-v1/ann", "CartPole-v1/T5", "CartPole-v1/T1", "CartPoleNoVel-v1/T1", "CartPoleFlicker-v1/T1",
    "PongNoFrameskip-v4/ann", "PongNoFrameskip-v4/T1", "PongNoFrameskip-v4/T1-frames1",
    "PongFlickerNoFrameskip-v4/T1", "CartPole-v1/T1-int8", "CartPoleNoVel-v1/T1-int8", "PongNoFrameskip-v4/T1-frames1-int8",
)  # fmt: skip


class Alone:
    """Python deciding for one game at a time, beside the decisions that it takes for all games together."""

    def __init__(self, agent: Agent) -> None:
        self.network, self.shape = agent.network, agent.observation_shape
        self.state: dict[int, State] = {}
        self.other, self.worst = 0, 0.0

    @th.inference_mode()
    def see(self, decision: Decision) -> None:
        """Decides each row once more."""
        for r, game in enumerate(decision.episode):
            before = self.state.get(game, self.network.initial_state(1, self.shape))
            row = th.as_tensor(decision.observation[r : r + 1])
            q, self.state[game] = self.network(row, before, th.tensor([game not in self.state]))
            self.other += int(q.argmax() != decision.action[r])
            self.worst = max(self.worst, float((q[0] - decision.q[r]).abs().max()))


def compare(agent: Agent, games: int) -> dict[str, Any]:
    """Plays games of an agent and of its file.

    Returns:
        How many decisions; in how many the actions differ, and how far apart the Q-values of the two actions are there, in
        Python; how many membranes differ after them (by more than a thousandth of their threshold; those of integers: at
        all); and the largest difference of a Q-value. Of games that are no Atari: the same for Python that decides for one
        game at a time, since a matrix of one row is multiplied in another order than one of many.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model(agent).SerializeToString(), options, providers=["CPUExecutionProvider"])
    recipe, network = load_recipe(agent.env, agent.frames, agent.module), agent.network
    row: dict[str, Any] = {
        "agent": agent.label,
        "games": games,
        "decisions": 0,
        "other_actions": 0,
        "other_membranes": 0,
        "membranes": 0,
    }
    state: dict[int, list[np.ndarray]] = {}  # by game
    worst, gaps, alone = 0.0, list[float](), None if recipe.atari else Alone(agent)
    envs = make_envs(recipe, games, frames=agent.frames)
    for decision in play(network, envs, starts(recipe, games, seed=0)):
        rest = [v[0].numpy() for v in network.initial_state(1, agent.observation_shape)]
        before = [np.stack(own) for own in zip(*(state.get(game, rest) for game in decision.episode), strict=True)]
        first = np.array([game not in state for game in decision.episode])
        given = {f"state_{n}": own for n, own in enumerate(before)}
        q, action, *after = session.run(None, {"observation": decision.observation, "episode_start": first, **given})
        for r, game in enumerate(decision.episode):
            state[game] = [own[r] for own in after]
        row["decisions"] += len(action)
        differ = np.flatnonzero(action != decision.action)
        row["other_actions"] += len(differ)
        gaps += [float(decision.q[r, decision.action[r]] - decision.q[r, action[r]]) for r in differ]
        for lif, own, other in zip(network.lifs, after, decision.state, strict=False):
            near = 0.0 if agent.integer is not None else lif.v_th.item() / 1000
            row["other_membranes"] += int((np.abs(own - other.numpy()) > near).sum())
            row["membranes"] += own.size
        worst = max(worst, float(np.abs(q - decision.q.numpy()).max()))
        if alone is not None:
            alone.see(decision)
    for env in envs:
        env.close()
    found = {**row, "largest_q_difference": worst, "gaps": gaps}
    return found if alone is None else {**found, "alone": {"other_actions": alone.other, "largest_q_difference": alone.worst}}


def main(argv: Sequence[str] | None = None) -> int:
    """Compares agents; those that are not named keep what was found of them before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="*", default=AGENTS, metavar="AGENT")
    parser.add_argument("--games", type=int, default=100, help="of CartPole (default 100)")
    parser.add_argument("--atari-games", type=int, default=30, help="of Atari (default 30: all starts)")
    args = parser.parse_args(argv)
    found = json.loads(RESULTS.read_bytes())["agents"] if RESULTS.is_file() else []
    rows = {row["agent"]: row for row in found}
    for name in args.agents:
        agent = load_agent(name)
        games = args.atari_games if load_recipe(agent.env, agent.frames, agent.module).atari else args.games
        rows[agent.label] = compare(agent, games)
        print(rows[agent.label], flush=True)
        write_json({"onnxruntime": importlib.metadata.version("onnxruntime"), "agents": list(rows.values())}, RESULTS)
    return 0


if __name__ == "__main__":
    run(main)
