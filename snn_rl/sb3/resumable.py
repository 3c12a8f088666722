"""Learning in Python that goes on after an interruption as if there had been none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from snn_rl.core.errors import UserError
from snn_rl.sb3.ring import ReplayRing
from snn_rl.sb3.state import LearnerState, StatefulDQN
from snn_rl.store.checkpoints import SECONDS, States
from snn_rl.tasks import resuming
from snn_rl.tasks.resuming import Resumable

STATELESS = (VecTransposeImage, VecCheckNan)


class ResumableDQN(StatefulDQN):
    """The part of :class:`~snn_rl.sb3.dqn.SpikingDQN` that writes and reads checkpoints."""

    _states: States | None = None

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_states"]

    def save_checkpoint(self, folder: str | Path) -> None:
        """Writes all by which learning goes on: networks, optimiser, replay buffer, random generators, and where the
        environments stand. The last two are kept; a large replay buffer is written piece by piece.

        Call it between two rollouts: after ``learn`` or in a callback's ``_on_rollout_start``. :class:`Checkpoints` does that.

        Args:
            folder: of the checkpoint alone; made if need be.

        Raises:
            OSError: if it cannot be written; the last one is still there.
        """
        env = cast(VecEnv, self.env)
        if self._states is None or self._states.folder != Path(folder):
            self._states = States(Path(folder), ReplayRing(self.replay_buffer))
        resumable = all(env.env_is_wrapped(Resumable))
        begun = self._last_obs is not None
        state: dict[str, Any] = {**self.state_dict()}
        state["replay_buffer"] = {**state["replay_buffer"], "rings": {}}
        stands = [resuming.stand(mark) for mark in resuming.marks(env)] if begun and resumable else None
        self._states.write({"learner": state, "environments": stands, "wrappers": [_told(layer) for layer in _layers(env)]})

    def load_checkpoint(self, folder: str | Path) -> bool:
        """Goes on from what :meth:`save_checkpoint` wrote, into a model that was built by the same arguments:
        ``learn(total - model.num_timesteps, reset_num_timesteps=False)`` then learns what would have been learnt.

        Environments that are not :class:`~snn_rl.tasks.resuming.Resumable`, or do not repeat themselves, begin new episodes,
        and a line says so.

        Returns:
            Whether there was a checkpoint.

        Raises:
            UserError: if it is damaged or of another model.
        """
        env, states = cast(VecEnv, self.env), States(Path(folder), ReplayRing(self.replay_buffer))
        if not states.there:
            return False
        self.replay_buffer.clear()
        saved, said = states.read()
        if said:
            print(said)
        try:
            self.load_state_dict(cast(LearnerState, saved["learner"]))
            for layer, told in zip(_layers(env), saved["wrappers"], strict=True):
                _put_back(layer, told)
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            first = str(error).partition("\n")[0][:200]
            raise UserError(f"the checkpoint '{folder}' is of another model ({first}); build it as it was built") from error
        self._states = states
        stands = saved["environments"]
        if stands is None and self._last_obs is not None:
            print("the environments are no snn_rl.Resumable: new episodes begin where learning goes on")
            self.begin_episodes()
        elif stands and not resuming.restore(env, stands):
            self.begin_episodes()
        return True


class Checkpoints(BaseCallback):
    """Writes a checkpoint of a :class:`~snn_rl.sb3.dqn.SpikingDQN` now and then, and when ``learn`` has made all its steps.

    Args:
        folder: of the checkpoint alone.
        every: seconds between two, at least; writing takes at most a twentieth of the time.
    """

    def __init__(self, folder: str | Path, every: float = SECONDS) -> None:
        super().__init__()
        self.folder, self.every = Path(folder), every

    def _on_rollout_start(self) -> None:
        states = cast(ResumableDQN, self.model)._states
        if states is None or states.due(self.every):
            self._write()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        if cast(ResumableDQN, self.model)._last_obs is not None:  # else a callback ended a rollout half way
            self._write()

    def _write(self) -> None:
        try:
            cast(ResumableDQN, self.model).save_checkpoint(self.folder)
        except OSError as error:
            print(f"warning: no checkpoint could be written to '{self.folder}' ({error.strerror}); learning goes on")


def _layers(env: VecEnv) -> list[VecEnvWrapper]:
    """The wrappers around the environments that have a state."""
    found = []
    while isinstance(env, VecEnvWrapper):
        if not isinstance(env, STATELESS):
            found.append(env)
        env = env.venv
    return found


def _told(layer: VecEnvWrapper) -> dict[str, Any]:
    """The state of a wrapper of Stable-Baselines3's.

    Raises:
        UserError: for any other.
    """
    if isinstance(layer, VecFrameStack):
        return {"stacked": th.from_numpy(layer.stacked_obs.stacked_obs.copy())}
    if isinstance(layer, VecMonitor):
        return {"returns": th.from_numpy(layer.episode_returns), "lengths": th.from_numpy(layer.episode_lengths)}
    if isinstance(layer, VecNormalize) and isinstance(getattr(layer, "obs_rms", None), RunningMeanStd | None):
        statistics = (getattr(layer, "obs_rms", None), layer.ret_rms)
        means = [None if one is None else [th.as_tensor(one.mean), th.as_tensor(one.var), one.count] for one in statistics]
        return {"statistics": means, "returns": th.from_numpy(layer.returns)}
    raise UserError(f"what a {type(layer).__name__} knows cannot be written; use Stable-Baselines3's wrappers, or none")


def _put_back(layer: VecEnvWrapper, told: dict[str, Any]) -> None:
    """Puts :func:`_told` back."""
    if isinstance(layer, VecFrameStack):
        layer.stacked_obs.stacked_obs[...] = told["stacked"].numpy()
    elif isinstance(layer, VecMonitor):
        layer.episode_returns, layer.episode_lengths = told["returns"].numpy(), told["lengths"].numpy()
    elif isinstance(layer, VecNormalize):
        for own, one in zip((getattr(layer, "obs_rms", None), layer.ret_rms), told["statistics"], strict=True):
            if own is not None and one is not None:
                own.mean, own.var, own.count = one[0].numpy(), one[1].numpy(), one[2]
        layer.returns = told["returns"].numpy()
