"""What a run is made of: the agents in their order, each with what it is made from, what it sees and what it costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_rl.store.card import Work
from snn_rl.tasks.recipes import TAUGHT, Recipe
from snn_rl.tasks.view import View
from snn_rl.training.learners import LEARNERS
from snn_rl.training.options import Options

GIVEN, CONVERTED, NARROWED, RANDOM = "given", "converted", "narrowed", "random"


@dataclass(frozen=True)
class Given:
    """What a plan needs to know of an ANN that exists: where it is, the environment that it plays, its frames, and whether it
    remembers what it saw."""

    where: str
    env: str
    frames: int
    remembers: bool = False


@dataclass(frozen=True)
class PlannedAgent:
    """One agent of a run.

    Attributes:
        name: of its folder in the run.
        how: it is made: ``given``, ``converted``, ``narrowed`` (an ANN for fewer inputs), ``random`` (weights), or trained: a
            key of ``learners.LEARNERS``.
        T: timesteps per decision; 0 for an ANN.
        view: what it and its teacher see.
        recipe: whose numbers make it.
        start: name of the agent that it is made from; "" for none.
    """

    name: str
    how: str
    T: int
    view: View
    recipe: Recipe
    start: str = ""

    @property
    def trained(self) -> bool:
        """Whether it is trained in this run."""
        return self.how in LEARNERS

    @property
    def making(self) -> str:
        """How it is made, in words."""
        if self.how == "ann":
            return "trained by reward"
        if self.how == TAUGHT:
            return f"taught by the ANN, from {self.start}"
        if self.trained:
            return f"trained by reward from {self.start}"
        return {GIVEN: "copied", RANDOM: "random weights (not kept)"}.get(self.how, f"{self.how} from {self.start}")

    def zeroed_too(self, T: int) -> bool:
        """Whether it is also scored with its membranes zeroed: what a run for agents of that T has trained."""
        return self.trained and 0 < self.T == T

    @property
    def kept(self) -> bool:
        """Whether it gets a folder and scores; others only lead to the next."""
        return self.how not in (NARROWED, RANDOM)

    @property
    def work(self) -> Work | None:
        """The gradient steps or environment steps of its training, at most."""
        if not self.trained:
            return None
        goal = LEARNERS[self.how].goal(self.recipe, self.T)
        return Work(goal.total, goal.unit)


@dataclass(frozen=True)
class Otherwise:
    """What is made too if an agent falls short of its ANN.

    Attributes:
        short: name of that agent.
        agents: in the order in which they are made.
    """

    short: str
    agents: tuple[PlannedAgent, ...]


@dataclass(frozen=True)
class Plan:
    """What a run is made of.

    Attributes:
        options: what the user asked for.
        objective: what agents learn by.
        view: what the agents that the run is for see.
        recipe: of these agents, with the numbers of the options.
        ann: the ANN that is given; None if it is trained or not needed.
        agents: in the order in which they are made; the teacher is the first.
        otherwise: what is made after them if one of them falls short of its ANN.
        notes: what was decided that the user did not ask for.
    """

    options: Options
    objective: str
    view: View
    recipe: Recipe
    ann: Given | None
    agents: tuple[PlannedAgent, ...]
    otherwise: tuple[Otherwise, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def out(self) -> Path:
        """The folder of the run."""
        return self.options.folder

    @property
    def settings(self) -> dict[str, Any]:
        """What has to be the same to resume the run."""
        options = self.options
        return {
            "env": options.env,
            "seed": options.seed,
            "frames": self.view.frames,
            "carry": options.carry,
            "ann": options.ann,
            "objective": self.objective,
            "spike_penalty": options.spike_penalty,
            "start": options.start,
            "total_timesteps": options.total_timesteps,
            "recipe_set": list(options.recipe_set) or None,
        }

    @property
    def perhaps(self) -> tuple[PlannedAgent, ...]:
        """The agents that are made only if others fall short."""
        return tuple(agent for otherwise in self.otherwise for agent in otherwise.agents)

    @property
    def work(self) -> list[Work]:
        """The work of all trainings, summed by its unit, if no agent falls short."""
        sums: Counter[str] = Counter()
        for work in (agent.work for agent in self.agents):
            if work is not None:
                sums[work.unit] += work.number
        return [Work(number, unit) for unit, number in sums.items()]

    def __str__(self) -> str:
        """The plan as a table, a line for each agent; last those that are made only if another falls short."""
        head, sums = ("agent", "T", "how it is made", "sees", "work, at most"), self.work
        parts = [("", [head, *map(self._row, self.agents), *(("", "", "", "all together", str(work)) for work in sums)])]
        for otherwise in self.otherwise:
            parts.append((f"only if {otherwise.short} falls short of its ANN:", [*map(self._row, otherwise.agents)]))
        widths = [max(map(len, column)) for column in zip(*(row for _, rows in parts for row in rows), strict=True)]
        lines = [f"{self.options.env}, seed {self.options.seed}, in {self.out}:"]
        for title, rows in parts:
            lines += [title] if title else []
            lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(lines)

    def _row(self, agent: PlannedAgent) -> tuple[str, str, str, str, str]:
        how = f"copy of {self.ann.where}" if agent.how == GIVEN and self.ann else agent.making
        return agent.name, str(agent.T) if agent.T else "-", how, agent.view.described(), str(agent.work or "-")
