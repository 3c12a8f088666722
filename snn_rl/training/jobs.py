"""Jobs: which training to do and how far it goes; and what a learner is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch as th

from snn_rl.core.network import QNetwork
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import Source
from snn_rl.store.checkpoints import SECONDS, Ring
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.view import View
from snn_rl.training.checkpoints import Stateful
from snn_rl.training.watch import Watch


@dataclass(frozen=True)
class Goal:
    """How far a training goes, and how its network is selected.

    Attributes:
        total: amount of work.
        unit: what it is counted in: ``card.GRADIENT_STEPS`` or ``card.ENVIRONMENT_STEPS``.
        points: amounts of work after which the network is evaluated, ascending.
        episodes: of an evaluation.
        numbers: of the recipe, that the training depends on; the agent's card holds them.
        stop_at: mean return of an evaluation at which the training ends early; None for never.
    """

    total: int
    unit: str
    points: tuple[int, ...]
    episodes: int
    numbers: Mapping[str, Any]
    stop_at: float | None = None


def late_points(total: int, count: int) -> tuple[int, ...]:
    """``count`` amounts of work in the last half of ``total``, evenly spread; the last one is ``total``."""
    return tuple(sorted({total - (total // 2) * k // count for k in range(count)}))


def early_points(total: int, count: int) -> tuple[int, ...]:
    """``count`` amounts of work from a first small one on, evenly spread; the last one is ``total``."""
    return tuple(sorted({max(total * k // count, 1) for k in range(1, count + 1)}))


@dataclass(frozen=True)
class Job:
    """One training: what learns what, seeing what, and where the result is kept.

    Attributes:
        recipe: of the environment.
        objective: a key of ``learners.LEARNERS``.
        T: timesteps per decision of the new agent; 0 for an ANN.
        view: what the new agent and its teacher see.
        seed: of the training.
        folder: of the new agent; the checkpoint is beside it.
        start: the agent whose weights, thresholds and decays it starts from; None for nothing.
        teacher: the ANN that labels observations; None where nobody does.
        weight_bits: to which the weights of spiking layers are rounded while it learns; None for not at all.
        checkpoint_every: seconds between two checkpoints, at least.
    """

    recipe: Recipe
    objective: str
    T: int
    view: View
    seed: int
    folder: Path
    start: Agent | None = None
    teacher: Agent | None = None
    weight_bits: int | None = None
    checkpoint_every: float = SECONDS

    @property
    def title(self) -> str:
        """For the progress bar."""
        return f"{self.recipe.id} {f'T={self.T}' if self.T else 'ANN'}"

    @property
    def checkpoint(self) -> Path:
        """The folder from which an interrupted training goes on."""
        return self.folder.with_name(f".{self.folder.name}.checkpoint")

    @property
    def spike_penalty(self) -> float:
        """Weight of the spikes' cost in the loss; only distillation has such a term."""
        return self.recipe.prune.spike_penalty if self.teacher else 0.0

    def parents(self) -> tuple[Source | None, Source | None]:
        """What the card says of ``start`` and of ``teacher``."""
        start, teacher = (None if a is None else agents.source(a) for a in (self.start, self.teacher))
        return start, teacher


class Learner(Stateful, Protocol):
    """Trains a network. A new way of learning is a class with these methods and a line in ``learners.LEARNERS``."""

    @property
    def network(self) -> QNetwork:
        """What is trained."""

    @property
    def ring(self) -> Ring:
        """Its replay buffer, which is stored in segments; :meth:`state_dict` leaves the slots out."""

    def rollback(self) -> bool:
        """Goes back to where it stood at the last update of its watch; False where it cannot."""

    @classmethod
    def goal(cls, recipe: Recipe, T: int) -> Goal:
        """How far a training at ``T`` timesteps per decision goes by the recipe's numbers."""

    @classmethod
    def of(cls, job: Job, device: th.device) -> Self:
        """The learner for a job, with the recipe's numbers."""

    def learn(self, watch: Watch, log_folder: Path) -> None:
        """Works until ``watch`` says stop; TensorBoard logs go to ``log_folder``."""
