"""Plays an agent of integers by its protocol with all that computes it at once, and compares every spike, every membrane and
every sum: the reference in torch, the event-driven engine in numba, and the exported C.

    python tools/equality.py AGENT [--part K/N] [--json FILE]

It ends with an error at the first difference. ``--part 1/3`` plays the first third of the episodes. Needs numba and a C
compiler.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch as th
from torch import Tensor

from snn_rl import load_agent
from snn_rl.core.errors import UserError
from snn_rl.core.network import State
from snn_rl.engine.event import EventNetwork
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.semantics import Array
from snn_rl.exports.compiled import Compiled
from snn_rl.store.agents import Agent
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.rollout import make_envs, play, starts


class Compared(IntegerNetwork):
    """The reference, beside which the others compute each decision.

    Its state is that of the reference, then that of the event-driven engine, then the number of the C's state that belongs to
    the row.

    Attributes:
        decisions, spikes, membranes: how many were compared.
    """

    def __init__(self, agent: Agent) -> None:
        network = cast(IntegerNetwork, agent.network)
        super().__init__(network.integers)
        self.load_state_dict(network.state_dict())
        self.event = EventNetwork(network.integers, agent.observation_shape)
        self.own = len(network.initial_state(1, agent.observation_shape))
        self.compiled = [Compiled(agent, record=True)]
        self.decisions = self.spikes = self.membranes = 0

    def initial_state(self, batch: int, observation_shape: Any) -> State:
        """Rest, of all three."""
        self.compiled = [self.compiled[0].another() for _ in range(batch)]
        event = [th.from_numpy(np.asarray(one)) for one in self.event.initial_state(batch, observation_shape)]
        return (*super().initial_state(batch, observation_shape), *event, th.arange(batch))

    def unroll(
        self,
        observations: Tensor,
        state: State | None = None,
        episode_starts: Tensor | None = None,
        record: list[Tensor] | None = None,
    ) -> tuple[Tensor, State]:
        """As that of the reference, for one decision.

        Raises:
            UserError: at a difference.
        """
        assert state is not None
        assert episode_starts is not None
        spikes, seen = list[Tensor](), observations[0].numpy()
        q, after = super().unroll(observations, state[: self.own], episode_starts, spikes)
        fired = np.empty((self.T, len(seen), self.event.program.neurons), np.uint8)
        before = cast(State, tuple(one.numpy() for one in state[self.own : -1]))
        sums, event = self.event.sums(seen, before, episode_starts[0].numpy(), fired)
        fast = [one.float() for one in self.event.by_layer(th.from_numpy(fired))]
        self._check("the event-driven engine", th.from_numpy(sums).double() * self.integers.form.q_scale, q[0])
        for found, wanted in zip((*self.event.membranes(event), *fast), (*after, *(one[0] for one in spikes)), strict=True):
            self._check("the event-driven engine", found, wanted)
        membranes = self.event.flat(event)
        for row, n in enumerate(state[-1].tolist()):
            self._check_c(self.compiled[n], seen[row], bool(episode_starts[0, row]), sums[row], membranes[row], fired[:, row])
        self.decisions += len(seen)
        self.membranes += fired[0].size
        self.spikes += int(fired.sum())
        if record is not None:
            record += spikes
        return q, (*after, *(th.from_numpy(np.asarray(one)) for one in event), state[-1])

    def _check_c(self, c: Compiled, seen: Array, fresh: bool, sums: Array, membrane: Any, fired: Array) -> None:
        """The C beside the event-driven engine, whose numbers lie in the same order."""
        if fresh:
            c.reset()
        c.decide(seen)
        if not (np.array_equal(c.q, sums) and np.array_equal(c.membrane, membrane) and np.array_equal(c.fired, fired)):
            raise UserError(f"the C differs, in a decision after {self.decisions:,} equal ones")

    def _check(self, name: str, found: Tensor, wanted: Tensor) -> None:
        if not th.equal(found, wanted):
            raise UserError(f"{name} differs from the reference, in a decision after {self.decisions:,} equal ones")


def compare(agent: Agent, part: tuple[int, int] = (1, 1), episodes: int | None = None) -> dict[str, Any]:
    """Plays the agent's protocol, or a part of it, or its first episodes; returns what was compared.

    Raises:
        UserError: at a difference.
    """
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    begins = starts(recipe, episodes or recipe.evaluate.episodes, seed=0)[part[0] - 1 :: part[1]]
    network, returns = Compared(agent), np.zeros(len(begins))
    envs = make_envs(recipe, len(begins), frames=agent.frames)
    with Progress(None, "decisions", f"compare {agent.label}", True) as progress:
        for decision in play(network, envs, begins):
            np.add.at(returns, decision.episode, decision.reward)
            progress.advance(network.decisions, {})
    counts = {name: getattr(network, name) for name in ("decisions", "spikes", "membranes")}
    return {"agent": agent.label, "episodes": len(begins), "return": float(returns.mean()), **counts}


def _part(text: str) -> tuple[int, int]:
    k, _, n = text.partition("/")
    return int(k), int(n)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agent")
    parser.add_argument("--part", type=_part, default=(1, 1), metavar="K/N")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    th.set_num_threads(1)
    row = compare(load_agent(args.agent), args.part)
    print(
        f"{row['agent']}: {row['decisions']:,} decisions in {row['episodes']} episodes: {row['spikes']:,} spikes and "
        f"{row['membranes']:,} membranes are the same in torch, numba and C"
    )
    if args.json:
        write_json(row, args.json)


if __name__ == "__main__":
    main()
