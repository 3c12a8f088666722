"""An agent as a :class:`~snn_rl.sb3.dqn.SpikingDQN`: it goes on learning there, and its zip is Stable-Baselines3's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.type_aliases import GymEnv

from snn_rl.core.errors import UserError
from snn_rl.core.spec import NEURONS
from snn_rl.sb3.dqn import SpikingDQN
from snn_rl.sb3.zips import load_agent
from snn_rl.store.agents import Agent
from snn_rl.tasks.catalogue import register

EPSILON = 0.05  # of random actions: who can play already needs few


def _mismatch(agent: Agent, shape: tuple[int, ...] | None) -> str:
    return (
        f"{agent.label} takes observations of shape {agent.observation_shape}, the environment gives {shape}; is it the "
        "agent's environment, with as many stacked frames as the agent sees?"
    )


def to_sb3(agent: Agent | str | Path, env: GymEnv | str, **kwargs: Any) -> SpikingDQN:
    """A learner with the agent's layers, weights, thresholds and decays.

    Args:
        agent: spiking, or an ANN; or the folder or the name that :func:`~snn_rl.sb3.zips.load_agent` takes.
        env: what it plays; images with as many stacked frames as the agent sees.
        kwargs: SpikingDQN's, but for ``T`` and ``carry``, which are the agent's. ``warm_up_eps`` and
            ``exploration_initial_eps`` are 0.05 where they are not given; ``policy_kwargs`` are needed for a feature extractor
            other than NatureCNN: its class and the ``net_arch`` behind it.

    Raises:
        UserError: if the environment's observations or actions are not the agent's, or its layers not what the policy builds.
    """
    agent = agent if isinstance(agent, Agent) else load_agent(agent)
    if {"T", "carry"} & kwargs.keys():
        raise UserError(f"T and carry are those of {agent.label}; leave them out, or prune the agent to another T first")
    register()
    network, made = agent.network, maybe_make_env(env, verbose=0)
    assert made is not None
    if len(made.observation_space.shape or ()) != len(agent.observation_shape):  # no policy of the agent's kind can be built
        raise UserError(_mismatch(agent, made.observation_space.shape))
    widths = [layer["out_features"] for layer in network.spec if layer["type"] == "Linear"][:-1]
    neurons = [layer for layer in network.spec if layer["type"] in NEURONS]
    image = len(agent.observation_shape) == 3
    policy: dict[str, Any] = {"net_arch": widths}
    if image and widths:  # the first dense layer belongs to NatureCNN
        policy = {"net_arch": widths[1:], "features_extractor_kwargs": {"features_dim": widths[0]}}
    if any("decays" in layer for layer in neurons):
        policy["decay"] = (0.1, 0.9)  # a decay per channel; their values come with the weights
    if any("recurrent" in layer for layer in neurons):
        policy["recurrent"] = True
    given = kwargs.pop("policy_kwargs", None) or {}
    if "features_extractor_class" in given:
        policy.pop("features_extractor_kwargs", None)
    model = SpikingDQN(
        "CnnPolicy" if image else "MlpPolicy",
        made,
        T=network.T,
        carry=network.carry,
        policy_kwargs=policy | given,
        **{"warm_up_eps": EPSILON, "exploration_initial_eps": EPSILON, **kwargs},
    )
    if model.observation_space.shape != agent.observation_shape:
        raise UserError(_mismatch(agent, model.observation_space.shape))
    built = model.policy.q_net.network
    if (built.spec, built.input_scale) != (network.spec, network.input_scale):
        raise UserError(
            f"the layers of {agent.label} are not those that the policy builds for this environment; if they come from a "
            "feature extractor of your own, give policy_kwargs with its features_extractor_class and the net_arch behind it"
        )
    for q_net in (model.policy.q_net, model.policy.q_net_target):
        q_net.network.load_state_dict(network.state_dict())
    return model
