"""What a student begins with: the play of its ANN, and a network that can learn from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch as th
from torch import Tensor

from snn_rl.core.initialise import initialize, keep_memory
from snn_rl.core.network import QNetwork, State
from snn_rl.core.spec import UnconvertibleError
from snn_rl.store.agents import Agent
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.recipes import Recipe
from snn_rl.training.conversion import PLAY_ENVS, record_play
from snn_rl.training.jobs import Job

CHUNK = 32  # environment steps that go through the ANN at a time


@dataclass(frozen=True)
class Lesson:
    """The play of an ANN.

    Attributes:
        observations: what the student sees of it, ``(n, *observation)``.
        values: the ANN's Q-values there, ``(n, actions)``.
    """

    observations: Tensor
    values: Tensor

    @classmethod
    def of(cls, ann: Agent, recipe: Recipe, frames: int, seed: int, show: bool = False) -> Self:
        """As much of the ANN's play as a conversion is made from; ``frames`` is what the student sees; ``show`` says how far
        it is."""
        steps = max(recipe.convert.observations // PLAY_ENVS, 2)
        device, values = next(ann.network.parameters()).device, list[Tensor]()
        state: State | None = None
        with Progress(2 * steps * PLAY_ENVS, "observations", f"{ann.label} plays and values what it sees", show) as progress:
            play = record_play(ann, recipe, steps, seed, frames, progress)
            for seen, begins in zip(play.of_teacher.split(CHUNK), play.episode_starts.split(CHUNK), strict=True):
                with th.no_grad():
                    q, state = ann.network.unroll(seen.to(device), state, begins.to(device))
                values.append(q.flatten(0, 1).cpu())
                progress.advance(progress.done + len(values[-1]), {})
        return cls(play.observations.flatten(0, 1), th.cat(values))


def action_gap(q: Tensor) -> float:
    """Median gap between the best and the second-best action of Q-values ``(n, actions)``: what a decision hangs on."""
    best = q.topk(2, -1).values
    return max(float((best[:, 0] - best[:, 1]).median()), 1e-6)


def first_student(job: Job, lesson: Lesson) -> QNetwork:
    """The network with which a stage begins, at its T.

    A trained agent goes on from its own weights, with decays that keep as much from one decision to the next at the new T.
    A conversion keeps the ANN's weights, but every neuron's current gets mean 0 and deviation 1, each threshold is one
    deviation, and the Q-values begin close to the ANN's means: in the conversion itself most neurons are silent or always
    fire, and hardly a gradient passes them. Layers that cannot be standardised stay as the conversion left them.
    """
    assert job.start is not None
    before = job.start.network
    student = QNetwork(before.spec, job.T, before.input_scale, before.carry)
    student.load_state_dict(before.state_dict())
    if job.start.made.untrained:
        try:
            initialize(student, lesson.observations, lesson.values.mean(0))
        except UnconvertibleError as error:
            print(f"training starts from the conversion as it is: {error}")
    if student.spiking:
        keep_memory(student, before.T)
    return student
