"""Plays an agent of integers by its whole protocol with all that computes it at once, and compares every spike, every membrane
and every sum: the reference in torch, the event-driven engine in numba, and the exported C.

    python tools/equality.py AGENT... [--episodes N] [--save] [--json FILE]

It ends with an error at the first difference. ``--save`` stores the score in the agent's folder, as `evaluate --save` does:
one play for both. Needs numba and a C compiler.
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
from snn_rl.exports.compiled import Compiled
from snn_rl.measure.scores import Protocol, add_score, describe, evaluate
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import load_recipe


class Compared(IntegerNetwork):
    """The reference, beside which the others compute each decision.

    Its state is that of the reference, then that of the event-driven engine, then the bytes of the C's; so each environment
    keeps its own.

    Attributes:
        decisions, spikes, membranes: how many were compared.
    """

    def __init__(self, agent: Agent) -> None:
        network = cast(IntegerNetwork, agent.network)
        super().__init__(network.integers)
        self.load_state_dict(network.state_dict())
        self.event = EventNetwork(network.integers, agent.observation_shape)
        self.compiled = Compiled(agent, record=True)
        self.own = len(network.initial_state(1, agent.observation_shape))
        self.decisions = self.spikes = self.membranes = 0

    def initial_state(self, batch: int, observation_shape: Any) -> State:
        """Rest, of all three."""
        self.compiled.reset()
        event = [th.from_numpy(np.asarray(one)) for one in self.event.initial_state(batch, observation_shape)]
        c = th.from_numpy(self.compiled.state.copy()).expand(batch, -1)
        return (*super().initial_state(batch, observation_shape), *event, c)

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
        spikes, fired = list[Tensor](), list[Tensor]()
        q, after = super().unroll(observations, state[: self.own], episode_starts, spikes)
        before = cast(State, tuple(one.numpy() for one in state[self.own : -1]))
        fast, event = self.event.unroll(observations, before, episode_starts, fired)
        self._same("the event-driven engine", (q, *after, *spikes), (fast, *self.event.membranes(event), *fired))
        c = state[-1].clone()
        for row in range(len(c)):
            self.compiled.state[:] = c[row].numpy()
            if episode_starts[0, row]:
                self.compiled.reset()
            self.compiled.decide(observations[0, row].numpy())
            c[row] = th.from_numpy(self.compiled.state)
            self._same_c(row, q, after, spikes)
        self.decisions += len(c)
        self.membranes += sum(v.numel() for v in after[: len(self.neurons)])
        self.spikes += int(sum(float(one.sum()) for one in spikes))
        if record is not None:
            record += spikes
        return q, (*after, *(th.from_numpy(np.asarray(one)) for one in event), c)

    def _same_c(self, row: int, q: Tensor, after: State, spikes: Sequence[Tensor]) -> None:
        sums = th.from_numpy(self.compiled.q).double() * self.integers.form.q_scale
        membranes = self.event.by_layer(th.from_numpy(self.compiled.membrane))
        fired = [one.float() for one in self.event.by_layer(th.from_numpy(self.compiled.fired))]
        wanted = (q[0, row], *(v[row] for v in after[: len(membranes)]), *(one[0, :, row] for one in spikes))
        self._same("the C", wanted, (sums, *membranes, *fired))

    def _same(self, name: str, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        if not all(th.equal(*pair) for pair in zip(wanted, found, strict=True)):
            raise UserError(f"{name} differs from the reference, in a decision after {self.decisions:,} equal ones")


def compare(agent: Agent, episodes: int | None = None, save: bool = False) -> dict[str, Any]:
    """Plays the agent's protocol, or fewer episodes of it; returns what was compared.

    Raises:
        UserError: at a difference.
    """
    own, agent.network = agent.network, Compared(agent)
    try:
        result = evaluate(
            agent, load_recipe(agent.env, agent.frames, agent.module), Protocol(episodes=episodes), progress=True
        )
        compared = agent.network
    finally:
        agent.network = own
    print(describe(result))
    if save:
        add_score(agent, result)
        agents.save_scores(agent)
    counts = {name: getattr(compared, name) for name in ("decisions", "spikes", "membranes")}
    return {"agent": agent.label, "episodes": len(result.episodes), "return": result.score.returns.mean, **counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="+")
    parser.add_argument("--episodes", type=int)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    th.set_num_threads(1)
    rows = []
    for name in args.agents:
        rows.append(compare(load_agent(name), args.episodes, args.save))
        print(
            f"{rows[-1]['agent']}: {rows[-1]['decisions']:,} decisions in {rows[-1]['episodes']} episodes: "
            f"{rows[-1]['spikes']:,} spikes and {rows[-1]['membranes']:,} membranes are the same in torch, numba and C"
        )
    if args.json:
        write_json(rows, args.json)


if __name__ == "__main__":
    main()
