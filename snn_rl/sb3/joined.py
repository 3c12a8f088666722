"""Environments whose observations come in parts (a Dict, a Tuple, numbers), as a network sees them: one vector."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize, unwrap_vec_wrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from snn_rl.core.errors import UserError
from snn_rl.tasks.environments import JoinedObservation
from snn_rl.tasks.parts import Joined, in_parts


class VecJoined(VecEnvWrapper):
    """Observations in parts as one vector, as the network of a stock ``MultiInputPolicy`` joins them."""

    def __init__(self, venv: VecEnv) -> None:
        space = Joined.of(venv.observation_space, transposed=True)
        super().__init__(venv, space)
        self.parts = space.parts

    def reset(self) -> NDArray[Any]:
        return self.parts.join(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self.parts.join(info["terminal_observation"])
        return self.parts.join(observations), rewards, dones, infos


def joinable(env: GymEnv) -> GymEnv:
    """An environment as Stable-Baselines3 takes it: what it refuses (parts within parts) is joined before.

    Raises:
        UserError: for observations that no network sees, and for actions that no Q-network chooses.
    """
    if isinstance(env, gym.Env):
        _check_reset(env.unwrapped)
    space, actions = getattr(env, "observation_space", None), getattr(env, "action_space", None)
    if isinstance(actions, spaces.Space) and not (isinstance(actions, spaces.Discrete) and actions.start == 0):
        raise UserError(f"the environment has actions {actions}; a DQN chooses one of several, Discrete from 0")
    if isinstance(space, spaces.Space) and not isinstance(space, spaces.Box):
        Joined.of(space)  # says which part no network sees
    parts: list[Any] = []
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = [*space.spaces.values()] if isinstance(space, spaces.Dict) else [*space.spaces]
    nested = isinstance(space, spaces.Tuple) or any(isinstance(part, spaces.Dict | spaces.Tuple) for part in parts)
    return JoinedObservation(env) if nested and isinstance(env, gym.Env) else env


def _check_reset(env: gym.Env[Any, Any]) -> None:
    taken = inspect.signature(env.reset).parameters
    if "seed" not in taken and all(one.kind is not one.VAR_KEYWORD for one in taken.values()):
        raise UserError(
            f"reset() of {type(env).__name__} takes no seed, as in the older gym: in Gymnasium reset(seed=None, options=None) "
            "returns (observation, info), and step() returns five values"
        )


def as_vectors(venv: VecEnv) -> VecEnv:
    """The environments with observations in parts joined; others as they are.

    Raises:
        UserError: for a part that no network sees, and where ``VecNormalize`` normalises the parts.
    """
    if not in_parts(venv.observation_space):
        return venv
    normalize = unwrap_vec_wrapper(venv, VecNormalize)
    if normalize is not None and normalize.norm_obs:
        raise UserError(
            "VecNormalize normalises the parts of an observation here, and a spiking network learns from one vector: wrap "
            "the environment with gymnasium.wrappers.FlattenObservation(env) first and then with VecNormalize, or give it "
            "norm_obs=False"
        )
    return VecJoined(venv)
