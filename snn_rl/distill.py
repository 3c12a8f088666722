"""The distillation objective: the spiking agent plays, its ANN labels what it sees, the spiking agent learns the labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch as th
import torch.nn.functional as F
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from snn_rl.environments import PruneRecipe
from snn_rl.network import QNetwork, detach
from snn_rl.replay import SequenceReplayBuffer
from snn_rl.rollout import Step, stream

NEURON_LR = 10.0  # thresholds and decays are few and far from 0: the step size of a weight would leave them where they are


def mixed_precision(device: th.device) -> AbstractContextManager[None]:
    """bfloat16 where the processor multiplies it natively, full precision elsewhere."""
    native = device.type == "cuda" or bool(th.cpu.get_capabilities().get("avx512_bf16", False))
    context: AbstractContextManager[None] = th.autocast(device.type, th.bfloat16, enabled=native)
    return context


def distillation_loss(q: Tensor, teacher_q: Tensor, scale: float) -> Tensor:
    """How far a student's Q-values are from its teacher's, both ``(n, actions)``; a scalar.

    Cross-entropy of the policies ``softmax(q / scale)`` (Rusu et al. 2016, policy distillation), which looks at the
    differences between actions, plus the Huber distance of the values in units of ``scale``, which keeps Q on its scale.

    Args:
        q: the student's Q-values.
        teacher_q: the teacher's.
        scale: temperature in units of Q: the size of the differences between actions that matter.
    """
    soft = F.kl_div(F.log_softmax(q / scale, -1), F.log_softmax(teacher_q / scale, -1), reduction="none", log_target=True)
    return soft.sum(-1).mean() + 0.1*F.smooth_l1_loss(q / scale, teacher_q / scale)


class Distiller:
    """Trains a student from a teacher. ``update`` does one gradient step; the student's own play feeds the replay buffer.

    Args:
        student: the spiking network, trained in place.
        teacher: the ANN.
        venv: the environments in which the student plays.
        recipe: the numbers.
        frame_stack: frames per observation.
        seed: of exploration and sampling.
    """

    def __init__(
        self, student: QNetwork, teacher: QNetwork, venv: VecEnv, recipe: PruneRecipe, frame_stack: int, seed: int
    ) -> None:
        self.student, self.teacher, self.recipe = student, teacher, recipe
        self.device = next(student.parameters()).device
        actions = int(venv.action_space.n)  # type: ignore[attr-defined]
        self.buffer = SequenceReplayBuffer(
            recipe.buffer_size,
            venv.observation_space,
            venv.action_space,
            self.device,
            venv.num_envs,
            frame_stack=frame_stack,
            n_labels=actions,
            seed=seed,
        )
        neurons = [p for lif in student.lifs for p in lif.parameters()]
        weights = [p for synapse in student.synapses for p in synapse.parameters()]
        self.optimizer = th.optim.Adam(
            [{"params": weights}, {"params": neurons}], lr=recipe.learning_rate, fused=True
        )
        self.play: Iterator[Step] = stream(student, venv, recipe.exploration_eps, np.random.default_rng(seed))
        self.updates = 0
        self.collect(max(recipe.learning_starts // venv.num_envs, recipe.burn_in + recipe.sequence_length + frame_stack))
        labels = th.as_tensor(self.buffer.labels[:, : int(self.buffer.head.min())].reshape(-1, actions))
        best = labels.topk(2, -1).values
        # The median gap between the best and the second-best action: what a decision hangs on.
        self.scale = max(float((best[:, 0] - best[:, 1]).median()), 1e-6)
        self.returns: list[float] = []

    def collect(self, steps: int) -> None:
        """Plays ``steps`` steps in every environment; the teacher labels each observation."""
        for _ in range(steps):
            step = next(self.play)
            with th.no_grad():
                labels = self.teacher(th.as_tensor(step.observation, device=self.device))[0].cpu().numpy()
            self.buffer.add(
                step.observation, step.next_observation, step.action, step.reward, step.done, step.infos, labels
            )
            if self.updates:
                self.returns += [info["episode"]["r"] for info in step.infos if "episode" in info]

    def update(self, progress: float) -> float:
        """One step of play in every environment, then one gradient step; returns the loss.

        Args:
            progress: part of the stage that is done, in [0, 1]; the learning rate falls linearly with it.
        """
        recipe = self.recipe
        self.collect(self.recipe_collect)
        batch = self.buffer.sample_sequences(recipe.batch_size, recipe.burn_in + recipe.sequence_length)
        observations, starts = batch.observations, batch.starts
        for group, factor in zip(self.optimizer.param_groups, (1.0, NEURON_LR), strict=True):
            group["lr"] = recipe.learning_rate * factor * (1 - progress)
        with mixed_precision(self.device):
            state = None
            if recipe.burn_in:
                with th.no_grad():
                    _, state = self.student.unroll(observations[: recipe.burn_in], None, starts[: recipe.burn_in])
                state = detach(state)
            q, _ = self.student.unroll(observations[recipe.burn_in :], state, starts[recipe.burn_in :])
        assert batch.labels is not None
        loss = distillation_loss(q.float().flatten(0, 1), batch.labels[recipe.burn_in :].flatten(0, 1), self.scale)
        self.optimizer.zero_grad()
        loss.backward()
        th.nn.utils.clip_grad_norm_(self.student.parameters(), 10.0)
        self.optimizer.step()
        self.updates += 1
        return float(loss.detach())
    recipe_collect = 1
