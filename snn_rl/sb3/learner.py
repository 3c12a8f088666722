"""An agent as a :class:`~snn_rl.sb3.dqn.SpikingDQN`: it goes on learning there, and its zip is Stable-Baselines3's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.type_aliases import GymEnv

from snn_rl.core.errors import UserError
from snn_rl.sb3.dqn import SpikingDQN
from snn_rl.sb3.starting import check_env, check_returns, learner, made_env
from snn_rl.sb3.zips import load_agent
from snn_rl.store.agents import Agent


def to_sb3(agent: Agent | str | Path, env: GymEnv | str, **kwargs: Any) -> SpikingDQN:
    """A learner with the agent's layers, weights, thresholds and decays.

    Args:
        agent: spiking, or an ANN; or the folder or the name that :func:`~snn_rl.sb3.zips.load_agent` takes.
        env: what it plays; images with as many stacked frames as the agent sees.
        kwargs: SpikingDQN's, but for ``T`` and ``carry``, which are the agent's. ``warm_up_eps`` and
            ``exploration_initial_eps`` are 0.05 where they are not given. An agent whose values are logits needs
            ``data_init=True``.

    Raises:
        UserError: if the environment's observations or actions are not the agent's, ``policy_kwargs`` ask for other layers
            than it has, or its values are logits and ``data_init`` is not given.
    """
    agent = agent if isinstance(agent, Agent) else load_agent(agent)
    if {"T", "carry"} & kwargs.keys():
        raise UserError(f"T and carry are those of {agent.label}; leave them out, or prune the agent to another T first")
    check_returns(agent.made.logits, agent.label, kwargs.get("data_init", False))
    venv = made_env(SpikingDQN, env)
    check_env(venv, agent.observation_shape, agent.label)
    return learner(SpikingDQN, agent.network, venv, kwargs)
