"""The state of a learner as tensors and plain values, which ``torch.load(weights_only=True)`` reads back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch as th
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import RolloutReturn
from torch import Tensor

from snn_rl.sb3.acting import ActingDQN
from snn_rl.sb3.replay import ReplayState

# What Stable-Baselines3 counts, and how far its schedules are.
COUNTERS = (
    "num_timesteps",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",
)
PLAY = ("_last_obs", "_last_original_obs", "_last_episode_starts", "_last_states")


class PlayState(TypedDict):
    """Where play stands; all None before the first step, and where new episodes are to begin."""

    observation: Tensor | None
    """``(n_envs, *observation)``, the last one, which is not acted on yet."""
    original_observation: Tensor | None
    """The same before VecNormalize, where that is in use."""
    episode_starts: Tensor | None
    """``(n_envs,)`` bool: it begins an episode."""
    membranes: list[Tensor] | None
    """After the decision before it."""


class LearnerState(TypedDict):
    """All of a learner that changes while it learns. The environments, with VecNormalize's statistics, are not part of it,
    nor are the global random numbers, from which a built learner draws nothing."""

    policy: dict[str, Tensor]
    """Online and target network."""
    optimizer: dict[str, Any]
    counters: dict[str, float]
    rng: dict[str, Any]
    """Of exploration."""
    replay_buffer: ReplayState
    play: PlayState
    finished: list[dict[str, float]]
    """Return (r), length (l) and time (t) of the last episodes, as Monitor gives them."""
    successes: list[float]


@dataclass
class Mark:
    """Where a learner was before a rollout: what the rollout changes. ``target`` is the target network before its update."""

    attributes: dict[str, Any]
    rng: dict[str, Any]
    finished: list[Any]
    successes: list[Any]
    target: dict[str, Tensor] | None = None


class StatefulDQN(ActingDQN):
    """The part of :class:`~snn_rl.sb3.dqn.SpikingDQN` that tells its state."""

    _marked: Mark | None

    def _setup_model(self) -> None:
        super()._setup_model()
        self._marked = None

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_marked"]

    def mark(self) -> None:
        """Remembers at little cost where the learner stands between two rollouts, for :meth:`rollback`."""
        self._marked = Mark(
            {name: getattr(self, name) for name in (*COUNTERS, *PLAY)},
            dict(self._rng.bit_generator.state),
            [*(self.ep_info_buffer or ())],
            [*(self.ep_success_buffer or ())],
        )
        self.replay_buffer.mark()

    def rollback(self) -> bool:
        """Goes back to where :meth:`mark` was, if no more than a part of a rollout was played since: returns whether it could.
        The environments stay where they are."""
        mark, self._marked = self._marked, None
        if mark is None or self.replay_buffer.journal is None:
            return False
        vars(self).update(mark.attributes)
        self._rng.bit_generator.state = mark.rng
        self.ep_info_buffer = deque(mark.finished, maxlen=self._stats_window_size)
        self.ep_success_buffer = deque(mark.successes, maxlen=self._stats_window_size)
        if mark.target is not None:
            self.policy.q_net_target.load_state_dict(mark.target)
        self.replay_buffer.rollback()
        return True

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> RolloutReturn:
        """As the parent's. What follows changes the networks: there is no way back from there."""
        rollout = super().collect_rollouts(*args, **kwargs)
        self._marked = None
        return rollout

    def _on_step(self) -> None:
        due = (self._n_calls + 1) % max(self.target_update_interval // self.n_envs, 1) == 0
        if due and self._marked is not None and self._marked.target is None:
            self._marked.target = {key: value.clone() for key, value in self.policy.q_net_target.state_dict().items()}
        super()._on_step()

    def state_dict(self) -> LearnerState:
        """All of the model by which learning goes on.

        Take it between two rollouts, as in a callback's ``_on_rollout_start``. (In ``_on_step`` Stable-Baselines3 has made a
        step that is not in the replay buffer yet.) The tensors share the model's memory: save or copy them before it goes on.
        """
        membranes = self._last_states
        return LearnerState(
            policy=self.policy.state_dict(),
            optimizer=self.policy.optimizer.state_dict(),
            counters={name.lstrip("_"): getattr(self, name) for name in COUNTERS},
            rng=dict(self._rng.bit_generator.state),
            replay_buffer=self.replay_buffer.state_dict(),
            play=PlayState(
                observation=_tensor(self._last_obs),
                original_observation=_tensor(self._last_original_obs),
                episode_starts=_tensor(self._last_episode_starts),
                membranes=None if membranes is None else list(membranes),
            ),
            finished=[{key: float(info[key]) for key in ("r", "l", "t")} for info in self.ep_info_buffer or ()],
            successes=[float(success) for success in self.ep_success_buffer or ()],
        )

    def load_state_dict(self, state: LearnerState) -> None:
        """Puts a :meth:`state_dict` back into a model with the same arguments. ``learn(reset_num_timesteps=False)`` then
        goes on as if nothing had happened, if the environments stand where they stood too; if they do not, call
        :meth:`begin_episodes` first.

        Raises:
            UserError: if it is of a model with another replay buffer.
        """
        self.replay_buffer.load_state_dict(state["replay_buffer"])
        self.policy.load_state_dict(state["policy"])
        self.policy.optimizer.load_state_dict(state["optimizer"])
        for name in COUNTERS:
            setattr(self, name, state["counters"][name.lstrip("_")])
        self._rng.bit_generator.state = state["rng"]
        play = state["play"]
        self._last_obs = _array(play["observation"])
        self._last_original_obs = _array(play["original_observation"])
        self._last_episode_starts = _array(play["episode_starts"])
        membranes = play["membranes"]
        self._last_states = None if membranes is None else tuple(v.to(self.device) for v in membranes)
        self.ep_info_buffer = deque(state["finished"], maxlen=self._stats_window_size)
        self.ep_success_buffer = deque(state["successes"], maxlen=self._stats_window_size)


def _tensor(array: object) -> Tensor | None:
    return None if array is None else th.from_numpy(np.ascontiguousarray(array))


def _array(tensor: Tensor | None) -> NDArray[Any] | None:
    return None if tensor is None else tensor.numpy()
