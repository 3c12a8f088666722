"""Sequences as they are replayed, and their n-step returns."""

from __future__ import annotations

from typing import NamedTuple

import torch as th
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor


class Sequences(NamedTuple):
    """A batch of B sequences of L slots; time first."""

    observations: Tensor
    """``(L, B, *observation)``"""
    starts: Tensor
    """``(L, B)`` bool: an episode begins here, so the membrane is zeroed first."""
    acted: Tensor
    """``(L, B)`` bool: an action was taken here."""
    actions: Tensor
    """``(L, B)`` int64"""
    rewards: Tensor
    """``(L, B)`` float32"""
    terminated: Tensor
    """``(L, B)`` bool: the action ended the episode for good; nothing to bootstrap from."""
    labels: Tensor | None
    """``(L, B, n_labels)`` float32: a teacher's Q-values, where the buffer stores them."""


class Returns(NamedTuple):
    """n-step returns of the learnt slots; all ``(L, B)``."""

    reward: Tensor
    """Discounted sum of the next n rewards, fewer at an episode's end."""
    discount: Tensor
    """Factor of the bootstrap value; 0 where the episode terminated."""
    bootstrap: Tensor
    """int64: slot of the observation to bootstrap from."""


def n_step_returns(batch: Sequences, begin: int, length: int, n: int, gamma: float) -> Returns:
    """Returns of slots ``begin .. begin + length`` of a batch whose windows reach n slots further.

    They stop at an episode's end: at a termination with no bootstrap, at a time limit with the value of the observation at
    which it was cut off.
    """
    slot = th.arange(begin, begin + length, device=batch.rewards.device)[:, None].expand(-1, batch.rewards.shape[1])
    reward = th.zeros(slot.shape, device=slot.device)
    discount, bootstrap = th.ones_like(reward), slot
    going = th.ones_like(slot, dtype=th.bool)
    for k in range(n):
        window = slice(begin + k, begin + k + length)
        going = going & batch.acted[window]
        reward = reward + going * discount * batch.rewards[window]
        bootstrap = th.where(going, slot + k + 1, bootstrap)
        discount = th.where(going, discount * gamma * ~batch.terminated[window], discount)
        going = going & ~batch.terminated[window]
    return Returns(reward, discount, bootstrap)


def normalized(batch: Sequences, statistics: VecNormalize | None) -> Sequences:
    """The buffer holds what the environment gave; where VecNormalize is in use, this applies its present statistics."""
    if statistics is None:
        return batch
    device = batch.observations.device
    observations = statistics.normalize_obs(batch.observations.cpu().numpy())
    rewards = statistics.normalize_reward(batch.rewards.cpu().numpy())
    return batch._replace(
        observations=th.as_tensor(observations, dtype=th.float32, device=device),
        rewards=th.as_tensor(rewards, dtype=th.float32, device=device),
    )
