"""The state of a learner: what goes on from it is what would have gone on without it."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import Recall, counts, dqn
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from snn_rl import SpikingDQN
from snn_rl.core.errors import UserError


def stored(state: Any) -> Any:
    """A state, written to a file and read back without unpickling anything but tensors and plain values."""
    file = io.BytesIO()
    th.save(state, file)
    file.seek(0)
    return th.load(file, weights_only=True)


def copied(env: VecEnv) -> VecEnv:
    """Environments that stand where these stand."""
    if not isinstance(env, VecNormalize):
        return copy.deepcopy(env)
    twin = VecNormalize(copy.deepcopy(env.venv))  # its own copy would have no environments
    twin.obs_rms, twin.ret_rms, twin.returns = copy.deepcopy((env.obs_rms, env.ret_rms, env.returns))
    return twin


class Snapshot(BaseCallback):
    """Stores the state of the model, with its environments as they stand, when it has made that many steps."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.state, self.env = at, None, None

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.at and self.state is None:
            self.env, self.state = copied(self.model.env), stored(self.model.state_dict())

    def _on_step(self) -> bool:
        return True


def everything(model: SpikingDQN) -> list[th.Tensor]:
    """All tensors of a model's state, and its numbers."""

    def flat(value: Any) -> list[th.Tensor]:
        if isinstance(value, th.Tensor):
            return [value]
        if isinstance(value, dict):
            return [tensor for _, part in sorted(value.items(), key=str) for tensor in flat(part)]
        if isinstance(value, list | tuple):
            return [tensor for part in value for tensor in flat(part)]
        return [th.tensor(hash(value))]

    state = dict(stored(model.state_dict()))
    state["counters"].pop("num_timesteps_at_start")  # of this call of learn: for the speed that is shown
    state["finished"] = [[info["r"], info["l"]] for info in state["finished"]]  # not how long they took
    return flat(state)


def cues(seed: int, normalized: bool) -> VecEnv:
    venv = make_vec_env(lambda: Monitor(Recall(1)), 2, seed=seed)
    return VecNormalize(venv) if normalized else venv


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"carry": False, "n_steps": 2},
        {"T": 0},
        {"policy_kwargs": {"net_arch": [8], "decay": (0.1, 0.9), "recurrent": True}},
    ],
)
def test_what_goes_on_from_a_state_is_what_would_have_gone_on(kwargs: dict[str, Any], normalized: bool) -> None:
    settings = {"train_freq": 3, "exploration_fraction": 0.9, "target_update_interval": 24, **kwargs}
    straight, snapshot = dqn(cues(0, normalized), **settings), Snapshot(100)
    straight.learn(240, callback=snapshot)
    assert snapshot.state is not None
    again = dqn(snapshot.env, **{**settings, "seed": 5})  # weights and random numbers of its own, all of them replaced
    again.load_state_dict(snapshot.state)
    assert 100 <= again.num_timesteps < 120
    again.learn(240 - again.num_timesteps, reset_num_timesteps=False)
    ours, theirs = everything(again), everything(straight)
    assert len(ours) == len(theirs)
    assert all(th.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_state_before_the_first_step_can_be_put_back() -> None:
    model, again = dqn(), dqn(seed=5)
    again.load_state_dict(stored(model.state_dict()))
    assert again._last_obs is None
    for one in (model, again):
        one.learn(90)
    assert all(th.equal(a, b) for a, b in zip(everything(model), everything(again), strict=True))


def test_where_the_environments_do_not_stand_there_new_episodes_begin() -> None:
    model, again = dqn(counts(50), learning_starts=10_000), dqn(counts(50), learning_starts=10_000)
    model.learn(10)
    again.load_state_dict(stored(model.state_dict()))
    again.begin_episodes()
    again.learn(10, reset_num_timesteps=False)
    assert again.num_timesteps == 20
    assert again.replay_buffer.frames[0, :20, 1].tolist() == [*range(10), *range(10)]
    assert again.replay_buffer.acted[0, :20].tolist() == [True] * 9 + [False] + [True] * 10


def test_a_state_of_another_replay_buffer_is_an_error_and_changes_nothing() -> None:
    model = dqn(seed=1)
    before = everything(model)
    for other in (dqn(buffer_size=1_000), dqn(counts(5, 7)), dqn(Recall())):
        with pytest.raises(
            UserError,
            match=r"is of another replay buffer than this one of 3 environments .*; build it with the same buffer_size",
        ):
            model.load_state_dict(stored(other.state_dict()))
    assert all(th.equal(a, b) for a, b in zip(everything(model), before, strict=True))


def test_a_state_is_as_large_as_what_the_buffer_holds() -> None:
    model = dqn(counts(5, 7), buffer_size=200_000)
    model.learn(50)
    file = io.BytesIO()
    th.save(model.replay_buffer.state_dict(), file)
    assert file.tell() < 20_000
    assert model.replay_buffer.size() == 50 == sum(map(len, model.state_dict()["replay_buffer"]["rings"]["age"]))
    assert np.shares_memory(model.replay_buffer.state_dict()["rings"]["age"][1].numpy(), model.replay_buffer.age)
