"""Reads a trained Q-network, ANN or spiking, out of a live Stable-Baselines3 model."""

from __future__ import annotations

import copy

from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.dqn.policies import DQNPolicy

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.sb3.fits import as_agent
from snn_rl.sb3.layers import read_q_net
from snn_rl.sb3.policy import SpikingPolicy
from snn_rl.store.agents import Agent, check_finite
from snn_rl.store.card import Made
from snn_rl.tasks.environments import load_recipe


def import_policy(policy: DQNPolicy) -> QNetwork:
    """A copy of the network of a live DQN policy (``model.policy``), on the CPU: of a spiking policy its spiking network,
    else the ANN with T = 0.

    Raises:
        UserError: if its observations are not one vector or image.
        UnconvertibleError: naming the module that cannot be read as one flat list of layers.
    """
    if not isinstance(policy.observation_space, spaces.Box):
        raise UserError(f"an agent sees one vector or image, the model sees {policy.observation_space}")
    if isinstance(policy, SpikingPolicy):
        return copy.deepcopy(policy.q_net.network).cpu()
    return read_q_net(policy.q_net)


def read_model(model: DQN, env_id: str) -> Agent:
    """A live DQN or ``SpikingDQN`` as an agent. What the model learns later does not change the agent.

    Args:
        model: trained or not.
        env_id: Gymnasium id of the environment it plays.

    Raises:
        UserError: if the model does not fit the environment, learns from observations that VecNormalize normalises, or
            holds weights that are not finite.
        UnconvertibleError: naming the module that has no spiking counterpart.
    """
    normalize = model.get_vec_normalize_env()
    if normalize is not None and normalize.norm_obs:
        raise UserError(
            "the model sees observations that VecNormalize normalises, and an agent does not hold its statistics: train with "
            "norm_obs=False, or with the normalisation inside the environment"
        )
    recipe, network = load_recipe(env_id), import_policy(model.policy)
    check_finite(network.state_dict(), "the model")
    made = Made(how=f"read from a live {type(model).__name__}", num_timesteps=model.num_timesteps, seed=model.seed)
    return as_agent(recipe, network, model.observation_space.shape or (), made, "the model")
