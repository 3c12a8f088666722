"""Learning by reward as a stage: it can be watched, interrupted and resumed. The learner is that of ``td``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self, cast

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from snn_rl.core.network import QNetwork
from snn_rl.sb3.dqn import SpikingDQN
from snn_rl.sb3.ring import ReplayRing
from snn_rl.sb3.state import LearnerState
from snn_rl.store.card import ENVIRONMENT_STEPS
from snn_rl.tasks import resuming
from snn_rl.tasks.recipes import Recipe, listed
from snn_rl.training import td
from snn_rl.training.jobs import Goal, Job, late_points
from snn_rl.training.logs import logger
from snn_rl.training.watch import Watch


class _Report(BaseCallback):
    """Tells the watch before every rollout how far learning is; stops it when the watch says so."""

    def __init__(self, learner: TDLearner, watch: Watch) -> None:
        super().__init__()
        self.learner, self.watch, self.going = learner, watch, True

    def between_rollouts(self) -> None:
        """Nothing is half done then."""
        self.learner.mark()
        model = self.learner.model
        returns = [float(info["r"]) for info in model.ep_info_buffer or ()]
        shown = {"return": sum(returns) / len(returns)} if returns else {}
        self.going = self.watch.update(model.num_timesteps, **shown)

    def _on_rollout_start(self) -> None:
        self.between_rollouts()

    def _on_step(self) -> bool:
        return self.going


class TDLearner:
    """A :class:`SpikingDQN` that learns until its watch says stop, and whose whole state can be stored.

    Args:
        model: what learns; see :func:`~snn_rl.training.td.build`.
    """

    def __init__(self, model: SpikingDQN) -> None:
        self.model = model
        self.ring = ReplayRing(model.replay_buffer)
        self._stands: list[resuming.Mark] = []

    @property
    def network(self) -> QNetwork:
        """The online network."""
        return self.model.policy.q_net.network

    @classmethod
    def goal(cls, recipe: Recipe, T: int) -> Goal:
        """The environment steps of a stage by reward; they are as many at every T."""
        total, episodes = recipe.td.timesteps, recipe.prune.eval_episodes
        return Goal(total, ENVIRONMENT_STEPS, late_points(total, recipe.td.evaluations), episodes, recipe.stage("td"))

    @classmethod
    def of(cls, job: Job, device: th.device) -> Self:
        """A learner that starts from ``job.start``."""
        assert job.start is not None
        network, made = job.start.network, job.start.made
        model = td.build(
            job.recipe,
            job.T,
            seed=job.seed,
            frames=job.view.frames,
            carry=network.carry,
            device=device,
            initial=network,
            trained=not made.untrained,
        )
        return cls(model)

    def learn(self, watch: Watch, log_folder: Path) -> None:
        """Learns; TensorBoard logs under Stable-Baselines3's names go to ``log_folder``."""
        model = self.model
        model.set_logger(logger(log_folder))
        report = _Report(self, watch)
        try:
            if watch.going:
                model.learn(watch.total - watch.done, callback=report, reset_num_timesteps=False, log_interval=10)
                if report.going:
                    report.between_rollouts()
        finally:
            model.logger.close()

    def mark(self) -> None:
        """Remembers where learning and the environments stand, between two rollouts."""
        self.model.mark()
        self._stands = resuming.marks(self._venv)

    def rollback(self) -> bool:
        """Goes back to the last :meth:`mark`, if only a part of a rollout was played since; whether it could."""
        return self.model.rollback()

    @property
    def _venv(self) -> VecEnv:
        return cast(VecEnv, self.model.env)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on from the last :meth:`mark`: networks, optimiser, counters, random numbers, environments,
        and the replay buffer without its slots, which are in :attr:`ring`."""
        state = self.model.state_dict()
        state["replay_buffer"]["rings"] = {}
        return {**state, "environments": [resuming.stand(mark) for mark in self._stands]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Puts a :meth:`state_dict` back, after the slots of the replay buffer. Environments that do not come back to where
        they stood begin new episodes."""
        self.model.load_state_dict(cast(LearnerState, saved))
        if not saved["environments"]:
            return  # nothing was played yet
        if resuming.restore(self._venv, saved["environments"]):
            self._stands = resuming.marks(self._venv)
        else:
            self.model.begin_episodes()


class AnnLearner(TDLearner):
    """Trains the ANN from nothing."""

    @classmethod
    def goal(cls, recipe: Recipe, T: int) -> Goal:
        """The environment steps of the ANN's training; it may end early."""
        numbers = recipe.train
        points = (*range(numbers.eval_freq, numbers.total_timesteps, numbers.eval_freq), numbers.total_timesteps)
        total, episodes = numbers.total_timesteps, numbers.eval_episodes
        return Goal(total, ENVIRONMENT_STEPS, points, episodes, listed(numbers), numbers.stop_at)

    @classmethod
    def of(cls, job: Job, device: th.device) -> Self:
        """A learner with random weights."""
        return cls(td.build(job.recipe, 0, seed=job.seed, frames=job.view.frames, carry=False, device=device))
