"""What a learner starts from: a network that there is already, with its weights, thresholds and decays."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_wrapper
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import check_memoryless
from snn_rl.sb3.acting import ActingDQN
from snn_rl.sb3.conversion import spiking_twin
from snn_rl.sb3.fits import Place, Reading, check_image
from snn_rl.sb3.hints import Hints
from snn_rl.sb3.layouts import check_actions
from snn_rl.sb3.live import read_model
from snn_rl.sb3.normalized import folded, statistics
from snn_rl.sb3.policy import SpikingPolicy
from snn_rl.sb3.zips import read_zip
from snn_rl.tasks.catalogue import imported, register, spec
from snn_rl.tasks.recipes import ConvertRecipe
from snn_rl.tasks.rollout import Stream

EPSILON = 0.05  # of random actions: who can play already needs few

Model = TypeVar("Model", bound=ActingDQN)


def check_policy(policy: object, known: Collection[str]) -> None:
    """Refuses what is no policy of a spiking DQN.

    Raises:
        UserError: naming the nearest.
    """
    if isinstance(policy, str) and policy not in known:
        nearest = difflib.get_close_matches(policy, known, 1, cutoff=0.0)[0]
        raise UserError(f"unknown policy '{policy}'; choose from {', '.join(known)}, such as '{nearest}'")
    if not isinstance(policy, str) and not (isinstance(policy, type) and issubclass(policy, SpikingPolicy)):
        what = policy.__name__ if isinstance(policy, type) else type(policy).__name__
        raise UserError(f"a SpikingDQN takes a spiking policy ({', '.join(known)}, or a SpikingPolicy), got {what}")


def _of_older_gym(env: object) -> bool:
    """Whether Stable-Baselines3 turns it into one of Gymnasium (with shimmy)."""
    return any(kind.__module__.partition(".")[0] == "gym" for kind in type(env).__mro__)


def known_env(env: GymEnv | str | None, needed: bool) -> GymEnv | str | None:
    """An environment that can be made, or that is one.

    Args:
        env: or its id.
        needed: there has to be one.

    Raises:
        UserError: if there is none, saying how other kinds become one.
    """
    if isinstance(env, str):
        spec(imported(env))
        register()
    elif (env is not None or needed) and not isinstance(env, gym.Env | VecEnv) and not _of_older_gym(env):
        raise UserError(
            f"a learner needs an environment: the id of one, a gymnasium.Env or a VecEnv, got a {type(env).__name__}; several "
            "at a time are made by stable_baselines3.common.env_util.make_vec_env, those of the older gym by shimmy"
        )
    return env


def made_env(kind: type[ActingDQN], env: GymEnv | str) -> VecEnv:
    """The environment as a learner sees it: an id is made, images get their channels first, parts are joined."""
    made = maybe_make_env(cast(GymEnv | str, known_env(env, True)), verbose=0)
    assert made is not None
    return kind._wrap_env(made, verbose=0)


def check_env(venv: VecEnv, shape: tuple[int, ...], who: str) -> None:
    """Refuses an environment with other observations than a network's.

    Raises:
        UserError: naming both shapes.
    """
    if venv.observation_space.shape != shape:
        raise UserError(
            f"{who} takes observations of shape {shape}, the environment gives {venv.observation_space.shape}; is it the "
            "agent's environment, with as many stacked frames as the agent sees?"
        )


def check_returns(logits: bool | None, who: str, data_init: bool) -> None:
    """Refuses logits as the Q-values that learning goes on from. ``data_init`` makes the values anew.

    Raises:
        UserError: saying so.
    """
    if logits and not data_init:
        raise UserError(
            f"{who} gives logits of a policy, and a DQN learns Q-values: add data_init=True, which begins the values anew and "
            "keeps the layers before them, or let it teach (python -m snn_rl.train --ann)"
        )


def learner(kind: type[Model], network: QNetwork, venv: VecEnv, kwargs: dict[str, Any]) -> Model:
    """A learner with a network's layers, weights, thresholds and decays.

    Args:
        kind: SpikingDQN, or a class of the user's own that is one.
        network: spiking, or an ANN.
        venv: with the observations and the actions of the network.
        kwargs: SpikingDQN's. ``warm_up_eps`` and ``exploration_initial_eps`` are 0.05 where they are not given.

    Raises:
        UserError: if the network has other outputs than there are actions, or ``policy_kwargs`` ask for other layers.
    """
    check_memoryless(network.spec, "a SpikingDQN")
    own = {"spec": network.spec, "input_scale": network.input_scale} | (kwargs.pop("policy_kwargs", None) or {})
    few = {"warm_up_eps": EPSILON, "exploration_initial_eps": EPSILON}
    make = cast(Callable[..., Model], kind)
    model = make("MlpPolicy", venv, T=network.T, carry=network.carry, policy_kwargs=own, **{**few, **kwargs})
    model.policy.fill(network)
    return model


def read_ann(model: BaseAlgorithm | str | Path, venv: VecEnv, hints: Hints) -> Reading:
    """The ANN of a live model or of a zip, if it is one and sees what the environment shows.

    Raises:
        UserError: if it cannot be read, is spiking, or does not fit.
    """
    check_actions("the environment", type(venv.action_space).__name__)
    if isinstance(model, BaseAlgorithm):
        who, reading = "the model", read_model(model)
        normalize = model.get_vec_normalize_env()
        if normalize is not None and unwrap_vec_wrapper(venv, VecNormalize) is None:
            reading = folded(reading, normalize, who)
    else:
        given, wrapped = hints.vecnormalize, unwrap_vec_wrapper(venv, VecNormalize) is not None
        normalize = None if given is None or wrapped else statistics(given, hints.trust_pickle)
        who, reading = f"'{model}'", read_zip(Path(model), Place.of_venv(venv), hints, normalize)
    if reading.network.spiking:
        raise UserError(f"{who} is spiking already: load it with SpikingDQN.load, or with to_sb3(load_agent(...), env)")
    check_env(venv, reading.shape, who)
    check_image(reading.network, cast(spaces.Box, venv.observation_space), who)
    return reading


def converted(ann: QNetwork, venv: VecEnv, T: int, carry: bool, seed: int | None) -> QNetwork:
    """A conversion with the numbers of recipes by default, from the ANN's play in the environment, 5 % of it random.

    Raises:
        UserError: if T is below 1, besides what :func:`~snn_rl.sb3.conversion.spiking_twin` raises.
    """
    if T < 1:
        raise UserError(f"T must be at least 1, got {T}")
    numbers = ConvertRecipe().for_memory() if ann.remembers else ConvertRecipe()
    if seed is not None:
        venv.seed(seed)
    play = Stream(ann, venv, EPSILON, np.random.default_rng(seed))
    steps = max(numbers.observations // venv.num_envs, 2)
    seen: list[Tensor] = [th.as_tensor(step.observation) for step in islice(play, steps)]
    return spiking_twin(ann, T, th.cat(seen), numbers, carry)
