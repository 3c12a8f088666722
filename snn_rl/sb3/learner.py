"""An agent as a :class:`~snn_rl.sb3.dqn.SpikingDQN`: it goes on learning there, and its zip is Stable-Baselines3's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.type_aliases import GymEnv

from snn_rl.core.errors import UserError
from snn_rl.sb3.dqn import SpikingDQN
from snn_rl.sb3.zips import load_agent
from snn_rl.store.agents import Agent
from snn_rl.tasks.catalogue import register

EPSILON = 0.05  # of random actions: who can play already needs few


def to_sb3(agent: Agent | str | Path, env: GymEnv | str, **kwargs: Any) -> SpikingDQN:
    """A learner with the agent's layers, weights, thresholds and decays.

    Args:
        agent: spiking, or an ANN; or the folder or the name that :func:`~snn_rl.sb3.zips.load_agent` takes.
        env: what it plays; images with as many stacked frames as the agent sees.
        kwargs: SpikingDQN's, but for ``T`` and ``carry``, which are the agent's. ``warm_up_eps`` and
            ``exploration_initial_eps`` are 0.05 where they are not given.

    Raises:
        UserError: if the environment's observations or actions are not the agent's, or ``policy_kwargs`` ask for other layers
            than it has.
    """
    agent = agent if isinstance(agent, Agent) else load_agent(agent)
    if {"T", "carry"} & kwargs.keys():
        raise UserError(f"T and carry are those of {agent.label}; leave them out, or prune the agent to another T first")
    register()
    made, network = maybe_make_env(env, verbose=0), agent.network
    assert made is not None
    made = SpikingDQN._wrap_env(made, verbose=0)  # turns images so that their channels come first
    if made.observation_space.shape != agent.observation_shape:
        raise UserError(
            f"{agent.label} takes observations of shape {agent.observation_shape}, the environment gives "
            f"{made.observation_space.shape}; is it the agent's environment, with as many stacked frames as the agent sees?"
        )
    own = {"spec": network.spec, "input_scale": network.input_scale}
    model = SpikingDQN(
        "MlpPolicy",
        made,
        T=network.T,
        carry=network.carry,
        policy_kwargs=own | (kwargs.pop("policy_kwargs", None) or {}),
        **{"warm_up_eps": EPSILON, "exploration_initial_eps": EPSILON, **kwargs},
    )
    model.policy.fill(network)
    return model
