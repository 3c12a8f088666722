"""Plays an agent whose membranes are replaced before every decision: what does it read in them?

    python tools/swaps.py PongNoFrameskip-v4/T1-frames1

Every start of the agent's protocol is played with its own membranes, and with these instead: zeros; zeros in one layer alone;
their means over a game; and those of that game at the same decision: what they say is plausible, but not of the game that is
played. The returns go to docs/results/ENVIRONMENT/swaps.json, in the place of those of the same agent.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch as th
from torch import Tensor

from snn_rl.console import run
from snn_rl.core.network import QNetwork, State
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.players import Played, Player, playing
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Start, play, starts

RESULTS = Path(__file__).parents[1] / "docs" / "results"
OTHER_SEED = 5_000  # of the recorded game: no start of a protocol has it


class Swapped(QNetwork):
    """An agent's network that finds other membranes than those it left.

    Its state ends with the number of the decision in its episode.

    Args:
        network: the agent's.
        zeroed: layers whose membranes are zeros.
        recorded: by decision, the membranes that it finds instead, of all layers; the last go on for ever. None for its own.
    """

    def __init__(self, network: QNetwork, zeroed: Sequence[int] = (), recorded: Sequence[State] | None = None) -> None:
        super().__init__(network.spec, network.T, network.input_scale, network.carry)
        self.load_state_dict(network.state_dict())
        self.zeroed, self.recorded = zeroed, recorded

    def initial_state(self, batch: int, observation_shape: Sequence[int]) -> State:
        """Rest, before the first decision."""
        return (*super().initial_state(batch, observation_shape), th.zeros(batch, dtype=th.long))

    def unroll(
        self,
        observations: Tensor,
        state: State | None = None,
        episode_starts: Tensor | None = None,
        record: list[Tensor] | None = None,
    ) -> tuple[Tensor, State]:
        """As :meth:`QNetwork.unroll`, of one decision."""
        assert state is not None
        assert episode_starts is not None
        *own, step = state
        step = step * ~episode_starts[0].bool()
        if self.recorded is not None:
            found = [self.recorded[min(n, len(self.recorded) - 1)] for n in step.tolist()]
            own = [th.stack(rows) for rows in zip(*found, strict=True)]
        own = [th.zeros_like(v) if n in self.zeroed else v for n, v in enumerate(own)]
        q, after = super().unroll(observations, tuple(own), episode_starts, record)
        return q, (*after, step + 1)


def record(agent: Agent, recipe: Recipe) -> list[State]:
    """Membranes before each decision of a game that no protocol plays: greedy, but for one random action in a hundred."""
    env = make_env(recipe, frames=agent.frames)
    begin = [Start(OTHER_SEED, 1 if recipe.atari else None)]
    decisions = play(agent.network, [env], begin, epsilon=0.01)
    found = [tuple(v[0].clone() for v in decision.state) for decision in decisions]
    env.close()
    return [tuple(th.zeros_like(v) for v in found[0]), *found[:-1]]


def variants(agent: Agent, recipe: Recipe) -> Iterator[tuple[str, QNetwork]]:
    """What is found instead of an agent's membranes, and the network that finds it."""
    network = agent.network
    game = record(agent, recipe)
    mean = tuple(th.stack(vs).mean(0) for vs in zip(*game, strict=True))
    yield "its own", Swapped(network)
    yield "zeros", Swapped(network, range(len(network.lifs) + len(network.recurrent)))
    for n, name in enumerate(network.layer_names[: len(network.lifs)]):
        yield f"zeros in {name}", Swapped(network, [n])
    yield "their means over a game", Swapped(network, recorded=[mean])
    yield "those of another game", Swapped(network, recorded=game)


def measure(name: str, episodes: int | None) -> dict[str, list[float]]:
    """Returns by what was found."""
    agent = agents.load(name)
    recipe = load_recipe(agent.env, agent.frames)
    begins, returns = starts(recipe, episodes or recipe.evaluate.episodes, 0), {}
    for said, network in variants(agent, recipe):
        played = Played(player := Player(network, recipe, agent.frames), len(begins))
        for _ in playing(player, begins, played):
            pass
        returns[said] = played.returns.tolist()
        print(f"{name}, {said}: {played.returns.mean():.2f}", flush=True)
    return returns


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/swaps.py``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="+")
    parser.add_argument("--episodes", type=int, help="of each; default: the agent's protocol")
    args = parser.parse_args(argv)
    th.set_num_threads(1)
    for name in args.agents:
        env, _, own = name.partition("/")
        out = RESULTS / env / "swaps.json"
        found: dict[str, Any] = {own: measure(name, args.episodes)}
        known = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        write_json(dict(sorted({**known, **found}.items())), out)
    return 0


if __name__ == "__main__":
    run(main)
