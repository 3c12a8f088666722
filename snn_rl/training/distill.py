"""The objective ``distill``: the student plays, its ANN labels what it sees, the student learns the labels. It is a spiking
agent, or, as its control, an ANN: one that sees as little, or one that is active as little."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch as th
import torch.nn.functional as F
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from snn_rl.core.network import QNetwork, State, mixed_precision
from snn_rl.core.synops import fan_out_shares
from snn_rl.sb3.replay import SequenceReplayBuffer
from snn_rl.sb3.ring import ReplayRing
from snn_rl.store.card import GRADIENT_STEPS
from snn_rl.tasks import resuming
from snn_rl.tasks.environments import make_vec_env
from snn_rl.tasks.parts import sees_image, stacked
from snn_rl.tasks.recipes import PruneRecipe, Recipe, listed
from snn_rl.tasks.rollout import Stream, action_count
from snn_rl.tasks.view import View
from snn_rl.training.jobs import Goal, Job, early_points, late_points
from snn_rl.training.lesson import Lesson, action_gap, first_student
from snn_rl.training.logs import Log
from snn_rl.training.rounded import Rounded
from snn_rl.training.watch import Watch

ADVANTAGE_WEIGHT = 0.1
MAX_GRAD_NORM = 10.0
LOG_INTERVAL = 50  # gradient steps
TINY = 1e-12  # keeps the penalty of a layer that is silent at 0


def distillation_loss(q: Tensor, teacher_q: Tensor, temperature: float) -> Tensor:
    """How far a student's Q-values ``(n, actions)`` are from its teacher's; a scalar.

    The Kullback-Leibler divergence of the policies ``softmax(q / temperature)`` (policy distillation, Rusu et al. 2016)
    looks at the differences between actions, which decide. A tenth of the Huber distance of the advantages ``(q - mean over
    the actions) / temperature`` keeps these on the teacher's scale where one action is far ahead and the divergence is 0.
    The mean itself decides nothing: where values are large and actions differ by little (CartPole: 100 and 0.05), its error
    would drown both.
    """
    student, teacher = ((values - values.mean(-1, keepdim=True)) / temperature for values in (q, teacher_q))
    divergence = F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)
    return divergence + ADVANTAGE_WEIGHT * F.smooth_l1_loss(student, teacher)


def spike_penalty(spikes: list[Tensor], cost: list[Tensor]) -> Tensor:
    """What the spikes cost: accumulates per timestep as a part of those if every neuron fired, a scalar in [0, 1].

    Args:
        spikes: of each layer, ``(S, T, batch, *neurons)``.
        cost: of each layer's neurons, see :func:`~snn_rl.core.synops.fan_out_shares`.
    """
    return th.stack([(z.float().mean((0, 1, 2)) * share).sum() for z, share in zip(spikes, cost, strict=True)]).sum()


def activity_penalty(activations: list[Tensor], cost: list[Tensor]) -> Tensor:
    """What an ANN multiplies that skips zeros: about the part of its multiply-accumulates behind the first layer whose input
    is not 0, a scalar in [0, 1].

    Of one layer it is ``(sum c |a|)^2 / sum c a^2``, with a the activations and c their cost: the squared Hoyer measure with
    weights (Yang, Wen and Li, *DeepHoyer*, ICLR 2020; of activations: Kurtz et al., ICML 2020). By Cauchy-Schwarz it is at
    most the cost of those that are not 0, and it is that where they are equal. It does not change when all of them are
    scaled, so a network cannot lower it by small activations and large weights behind them.

    Args:
        activations: of each layer, ``(S, 1, batch, *neurons)``.
        cost: of each layer's neurons, see :func:`~snn_rl.core.synops.fan_out_shares`.
    """
    parts = []
    for a, share in zip(activations, cost, strict=True):
        size = a.float().abs().flatten(3)
        weight = share.flatten()
        parts.append(((size * weight).sum(-1).square() / ((size.square() * weight).sum(-1) + TINY)).mean())
    return th.stack(parts).sum()


class Distiller:
    """Trains a student from its ANN; each :meth:`update` is some of the student's play and a gradient step.

    Sequences are trained in the way the agent is deployed: the membranes are carried through them, zeroed where an episode
    begins, and brought into a plausible state by ``burn_in`` steps before the learnt ones.

    Decays are trained only where they can serve: where the teacher sees more than the student or remembers, or where
    membranes start from rest. What another teacher says hangs on the observation alone. Trained decays rose all the same, to
    0.91 from one decision to the next in MountainCar: then a membrane still holds what was long before the few steps of a
    sequence, the student plays in states that it never learnt in, and plays worse than it learns. The recipe may decide
    (``train_decays``).

    Args:
        student: the network, trained in place; one that carries nothing learns from single steps.
        teacher: the ANN.
        venv: the environments in which the student plays.
        recipe: the numbers.
        view: what the student and the teacher see.
        seed: of exploration and sampling.
        temperature: of the policies that are compared, in units of Q-values; see :func:`distillation_loss`.
    """

    def __init__(
        self,
        student: QNetwork,
        teacher: QNetwork,
        venv: VecEnv,
        recipe: PruneRecipe,
        view: View,
        seed: int,
        temperature: float,
    ) -> None:
        self.student, self.teacher, self.venv, self.recipe, self.view = student, teacher, venv, recipe, view
        self.device = next(student.parameters()).device
        self.burn_in, self.learnt = (recipe.burn_in, recipe.sequence_length) if student.carry else (0, 1)
        self.batch_size = recipe.batch_size * (1 if student.carry else recipe.sequence_length)
        self.bfloat16 = sees_image(venv.observation_space)  # small dense layers only lose by the conversions
        self.buffer = SequenceReplayBuffer(
            recipe.buffer_size,
            venv.observation_space,
            venv.action_space,
            self.device,
            venv.num_envs,
            frame_stack=stacked(venv.observation_space, view.frames),
            n_labels=action_count(venv.action_space),
            seed=seed,
        )
        weights = [*student.synapses.parameters(), *student.recurrent.parameters(), *student.beside.parameters()]
        serve = view.teacher_sees_more or teacher.remembers or not student.carry
        for lif in student.lifs:
            lif.raw_decay.requires_grad_(serve if recipe.train_decays is None else recipe.train_decays)
        neurons = [parameter for lif in student.lifs for parameter in lif.parameters()]
        self.optimizer = th.optim.Adam([{"params": weights}, {"params": neurons}], fused=True)
        self.ring = ReplayRing(self.buffer)
        self.played, self.updates = 0, 0  # steps in each environment, gradient steps
        self._losses: deque[float] = deque(maxlen=LOG_INTERVAL)
        self._marked: tuple[int, dict[str, Any], State | None, list[resuming.Mark]] | None = None
        self.remembered: State | None = None  # what the teacher keeps of what it saw
        self.play = Stream(student, venv, recipe.exploration_eps, np.random.default_rng(seed))
        self.first_steps = max(recipe.learning_starts // venv.num_envs, self.burn_in + self.learnt + view.frames)
        self.temperature = temperature
        self.rounded: Rounded | None = None
        self.spike_cost = fan_out_shares(student, venv.observation_space.shape or ()) if recipe.spike_penalty else []

    @property
    def network(self) -> QNetwork:
        """The student."""
        return self.student

    @classmethod
    def goal(cls, recipe: Recipe, T: int) -> Goal:
        """The gradient steps of the stage at T."""
        numbers, total = recipe.prune, recipe.prune.steps(T)
        count = numbers.evaluations
        points = early_points(total, count) if numbers.stop_at_share and T else late_points(total, count)
        return Goal(total, GRADIENT_STEPS, points, numbers.eval_episodes, listed(numbers))

    @classmethod
    def of(cls, job: Job, device: th.device) -> Self:
        """A student with the network of ``job.start`` at T, taught by ``job.teacher``."""
        assert job.teacher is not None
        numbers, view, seed = job.recipe.prune, job.view, job.seed * 1000 + job.T
        lesson = Lesson.of(job.teacher, job.recipe, view.frames, seed, show=True)
        student, teacher = first_student(job, lesson).to(device), job.teacher.network.to(device)
        student.learn_by(numbers.surrogate)
        venv = make_vec_env(
            job.recipe, numbers.n_envs, seed=seed, frames=view.frames, teacher_frames=view.teacher_frames, resumable=True
        )
        learner = cls(student, teacher, venv, numbers, view, seed, numbers.temperature * action_gap(lesson.values))
        if job.weight_bits is not None:
            learner.rounded = Rounded(student, learner.optimizer, job.weight_bits)
        return learner

    def learn(self, watch: Watch, log_folder: Path) -> None:
        """Updates until ``watch`` says stop; losses and spike rates go to TensorBoard in ``log_folder``."""
        losses = self._losses
        with Log(log_folder) as log:
            while watch.going and self.played < self.first_steps:
                self.mark()
                watch.pause()
                self._collect()
            while self._learning(watch):
                losses.append(self.update(watch.done / watch.total))
                self.updates += 1
                if self.updates % LOG_INTERVAL == 0:
                    log.add("train/loss", float(np.mean(losses)), self.updates)
                    for name, rate in self.spike_rates().items() if self.student.spiking else ():
                        log.add(f"snn/spike_rate/{name}", rate, self.updates)
        self.venv.close()

    def _learning(self, watch: Watch) -> bool:
        """Tells the watch how far it is; whether it goes on."""
        self.mark()
        return watch.update(self.updates, **({"loss": float(np.mean(self._losses))} if self._losses else {}))

    def spike_rates(self) -> dict[str, float]:
        """Spikes per neuron and timestep of each layer, on a small sample of replay."""
        spikes: list[Tensor] = []
        batch = self.buffer.sample_sequences(8, self.burn_in + self.learnt)
        with th.no_grad():
            self.student.unroll(batch.observations, None, batch.starts, spikes)
        return {name: float(z.mean()) for name, z in zip(self.student.layer_names, spikes, strict=False)}

    def _collect(self) -> None:
        """Plays one step in every environment and stores it with the teacher's Q-values."""
        step = next(self.play)
        self.played += 1
        observation = step.full if self.view.teacher_sees_more else step.observation
        with th.no_grad():
            seen, begins = (th.as_tensor(part, device=self.device) for part in (observation, step.episode_start))
            labels, self.remembered = self.teacher(seen, self.remembered, begins)
        values = labels.cpu().numpy()
        self.buffer.add(step.observation, step.next_observation, step.action, step.reward, step.done, step.infos, values)

    def update(self, progress: float) -> float:
        """``play_steps`` steps of play in every environment, then one gradient step; returns the loss.

        Args:
            progress: part of the stage that is done, in [0, 1); the learning rate falls linearly with it.
        """
        for _ in range(self.recipe.play_steps):
            self._collect()
        self._marked = None  # what follows changes the student: there is no way back
        batch = self.buffer.sample_sequences(self.batch_size, self.burn_in + self.learnt)
        assert batch.labels is not None
        rate = self.recipe.learning_rate * (1 - progress)
        for group, factor in zip(self.optimizer.param_groups, (1.0, self.recipe.neuron_rate), strict=True):
            group["lr"] = rate * factor
        before, after = slice(self.burn_in), slice(self.burn_in, None)
        with mixed_precision(self.device, self.bfloat16):
            state = self.student.burn_in(batch.observations[before], batch.starts[before]) if self.burn_in else None
            spikes: list[Tensor] = []
            q, _ = self.student.unroll(batch.observations[after], state, batch.starts[after], spikes)
        acted = batch.acted[after]  # the slot after a time limit's cut was never labelled
        loss = distillation_loss(q.float()[acted], batch.labels[after][acted], self.temperature)
        if self.recipe.spike_penalty:
            penalty = spike_penalty if self.student.spiking else activity_penalty
            loss = loss + self.recipe.spike_penalty * penalty(spikes, self.spike_cost)
        self.optimizer.zero_grad()
        loss.backward()
        th.nn.utils.clip_grad_norm_(self.student.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        return float(loss.detach())

    def mark(self) -> None:
        """Remembers where play stands, for :meth:`rollback`."""
        self.buffer.mark()
        stands = resuming.marks(self.venv) if self.played else []
        self._marked = self.played, self.play.state_dict(), self.remembered, stands

    def rollback(self) -> bool:
        """Goes back to where :meth:`mark` was, if there was only play since; whether it could."""
        if self._marked is None:
            return False
        self.played = self._marked[0]
        self.play.load_state_dict(self._marked[1])
        self.remembered = self._marked[2]
        self.buffer.rollback()
        return True

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on from the last :meth:`mark`: the student, its optimiser, where its play and the
        environments stand, and the replay buffer without its slots, which are in :attr:`ring`."""
        return {
            "network": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay_buffer": {**self.buffer.state_dict(), "rings": {}},
            "losses": [*self._losses],
            "played": self.played,
            "updates": self.updates,
            "play": self.play.state_dict(),
            "rounded": None if self.rounded is None else self.rounded.state_dict(),
            "teacher": None if self.remembered is None else list(self.remembered),
            "environments": [resuming.stand(mark) for mark in self._marked[3]] if self._marked else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a :meth:`state_dict` back, after the slots of the replay buffer. Environments that do not come back to where
        they stood begin new episodes."""
        self.student.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.rounded is not None:
            self.rounded.load_state_dict(state["rounded"])
        self.buffer.load_state_dict(state["replay_buffer"])
        self._losses.extend(state["losses"])
        self.played, self.updates = state["played"], state["updates"]
        if not self.played:
            return
        self.play.load_state_dict(state["play"])
        remembered = state.get("teacher")  # older checkpoints do not say it
        self.remembered = None if remembered is None else tuple(v.to(self.device) for v in remembered)
        if not resuming.restore(self.venv, state["environments"]):
            self.play.begin_episodes()
            self.buffer.begin()
        self.mark()
