"""Reads the trained network, ANN or spiking, out of a live Stable-Baselines3 model."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, cast

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.fits import Reading
from snn_rl.sb3.layers import Decider, Layers, decider_of, leaves, mean_over_quantiles, moved
from snn_rl.sb3.layouts import ACTOR_CRITIC, DQN, QR_DQN, READABLE, RECURRENT, Layout, check_actions
from snn_rl.sb3.lstms import taken_apart
from snn_rl.sb3.policy import SpikingPolicy
from snn_rl.store.agents import check_finite
from snn_rl.store.card import Made
from snn_rl.tasks.parts import Joined, in_parts


def import_policy(policy: BasePolicy) -> QNetwork:
    """A copy of the network of a live policy (``model.policy``), on the CPU: of a spiking policy its spiking network, else the
    ANN with T = 0. Its values are Q-values, or the logits of an actor-critic policy.

    Raises:
        UserError: if the policy is of an algorithm that cannot be read, or its actions are not
            discrete.
        UnconvertibleError: naming the module that cannot be read as one flat list of layers.
    """
    check_actions("the model", type(policy.action_space).__name__)
    if isinstance(policy, SpikingPolicy):
        return copy.deepcopy(policy.q_net.network).cpu()
    if isinstance(policy, DQNPolicy):
        return decider_of(policy.q_net).read()
    if _layout(policy) is QR_DQN:
        return _of_quantiles(policy).read()
    return _of_actor(cast(ActorCriticPolicy, policy)).read()


def _layout(policy: BasePolicy) -> Layout:
    """Whose policy it is. (sb3-contrib, which has QR-DQN's, need not be installed.)"""
    if hasattr(policy, "lstm_actor"):
        return RECURRENT
    if isinstance(policy, DQNPolicy):
        return DQN
    if isinstance(getattr(policy, "quantile_net", None), BasePolicy):
        return QR_DQN
    if isinstance(policy, ActorCriticPolicy):
        return ACTOR_CRITIC
    raise UserError(f"the model has a {type(policy).__name__}; only {READABLE}")


def _of_quantiles(policy: BasePolicy) -> Decider:
    network = cast(BasePolicy, policy.quantile_net)
    head, device = cast(nn.Sequential, network.quantile_net), policy.device
    mean = mean_over_quantiles(cast(nn.Linear, head[-1]), int(cast(int, network.n_quantiles)))
    return Decider(
        Layers.of(network.features_extractor, [*leaves("quantile_net", head[:-1]), ("mean", mean)]),
        lambda probe: network(moved(probe, device)).mean(1).cpu(),
        policy.observation_space,
        network.normalize_images,
        type(network.features_extractor).__name__,
    )


def _of_actor(policy: ActorCriticPolicy) -> Decider:
    extractor, body = policy.pi_features_extractor, getattr(policy.mlp_extractor, "policy_net", None)
    if not isinstance(body, nn.Module):
        kind = type(policy.mlp_extractor).__name__
        raise UnconvertibleError(
            f"cannot convert '{kind}': it has no layers called policy_net; train with Stable-Baselines3's MlpExtractor"
        )

    lstm: nn.LSTM | None = getattr(policy, "lstm_actor", None)
    named, own = taken_apart("lstm_actor", lstm) if lstm is not None else ([], {})

    def logits(probe: PyTorchObs) -> Tensor:
        seen: Any = moved(probe, policy.device)
        if lstm is None:
            return cast(Any, policy.get_distribution(seen).distribution).logits.cpu()
        n = len(next(iter(seen.values())) if isinstance(seen, dict) else seen)
        rest = th.zeros(lstm.num_layers, n, lstm.hidden_size, device=policy.device)
        given = cast(Any, policy).get_distribution(seen, (rest, rest), th.zeros(n, device=policy.device))
        return cast(Tensor, given[0].distribution.logits.cpu())

    layers = Layers.of(extractor, [*named, *leaves("policy_net", body), *leaves("action_net", policy.action_net)])
    return Decider(
        dataclasses.replace(layers, own=own),
        logits,
        policy.observation_space,
        policy.normalize_images,
        type(extractor).__name__,
        logits=True,
    )


def read_model(model: BaseAlgorithm) -> Reading:
    """The network of a live model. What the model learns later does not change it.

    Args:
        model: a DQN, ``SpikingDQN``, QR-DQN, PPO, A2C or RecurrentPPO, trained or not.

    Raises:
        UserError: as :func:`import_policy`, and if the model holds weights that are not finite.
        UnconvertibleError: naming the module that has no spiking counterpart.
    """
    network, layout = import_policy(model.policy), _layout(model.policy)
    check_finite(network.state_dict(), "the model")
    how = f"read from a live {type(model).__name__}{layout.note}"
    made = Made(how=how, num_timesteps=model.num_timesteps, seed=model.seed, logits=layout.logits or None)
    space = model.observation_space
    shape = Joined.of(space, transposed=True).shape if in_parts(space) else space.shape or ()
    return Reading(network, shape, made)
