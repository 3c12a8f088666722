"""How a DQN with membranes plays: it carries them from one environment step to the next and explores with a coin for each
environment."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, RolloutReturn
from torch import Tensor

from snn_rl.core.deciding import Observation
from snn_rl.core.network import State
from snn_rl.sb3.policy import SpikingPolicy
from snn_rl.sb3.replay import SequenceReplayBuffer
from snn_rl.tasks import rewards


class ActingDQN(DQN):
    """The part of :class:`~snn_rl.sb3.dqn.SpikingDQN` that plays, and that knows where play stands."""

    policy: SpikingPolicy
    replay_buffer: SequenceReplayBuffer
    warm_up_eps: float
    normalizes_observations: bool
    _last_states: State | None
    _rng: np.random.Generator

    def _setup_model(self) -> None:
        super()._setup_model()
        self._rng = np.random.default_rng(self.seed)
        self._last_states = None

    def _explore(self, q: Tensor, epsilon: float) -> NDArray[np.int64]:
        """Epsilon-greedy actions, one coin per environment."""
        action: NDArray[np.int64] = q.argmax(1).cpu().numpy()
        random = self._rng.random(len(action)) < epsilon
        action[random] = self._rng.integers(q.shape[1], size=int(random.sum()))
        return action

    def predict(  # type: ignore[override]  # the state is tensors, not numpy arrays
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], State]:
        """Action and membranes after it; see :meth:`SpikingPolicy.predict`.

        Unless deterministic, each environment explores with its own coin at the current ``exploration_rate``. The
        membranes see every observation, whether the action was random or not.
        """
        if deterministic:
            return self.policy.predict(observation, state, episode_start)
        q, state, vectorized = self.policy.advance(observation, state, episode_start)
        action = self._explore(q, self.exploration_rate)
        return (action if vectorized else action[0]), state

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        observation = cast(NDArray[Any], self._last_obs)
        q, self._last_states, _ = self.policy.advance(observation, self._last_states, self._last_episode_starts)
        warm_up = self.num_timesteps < learning_starts
        action = self._explore(q, self.warm_up_eps if warm_up else self.exploration_rate)
        return action, action

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: NDArray[Any],
        new_obs: Any,
        reward: NDArray[Any],
        dones: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        if self.env is not None:
            rewards.check(reward, self.env)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._last_episode_starts = dones  # off-policy algorithms never update it

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> RolloutReturn:
        """As the parent's. Where a callback stops learning (or Ctrl-C does), the parent forgets the step that was just made:
        the next ``learn`` then begins new episodes, so that no membrane and no sequence reaches across the gap."""
        complete = False
        try:
            rollout = super().collect_rollouts(*args, **kwargs)
            complete = rollout.continue_training
        finally:
            if not complete:
                self._last_obs = None
        return rollout

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> Any:
        if reset_num_timesteps or self._last_obs is None:  # the parent resets the environments
            self._last_states = None
            self.replay_buffer.begin()
        normalize = self._vec_normalize_env
        self.normalizes_observations = normalize is not None and normalize.norm_obs
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        super().set_env(env, force_reset)
        if force_reset:
            self._last_states = None

    def begin_episodes(self) -> None:
        """Makes the next ``learn`` begin new episodes: no membrane and no sequence reaches across from what was before."""
        self._last_obs, self._last_states = None, None
        self.replay_buffer.begin()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_last_states"]
