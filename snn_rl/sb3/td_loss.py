"""The loss of Q-learning from sequences: Double DQN with n-step returns and advantage learning, each network with membranes of
its own."""

from __future__ import annotations

import torch as th
import torch.nn.functional as F
from torch import Tensor

from snn_rl.core.network import QNetwork
from snn_rl.sb3.sequences import Sequences, n_step_returns


def td_loss(
    online: QNetwork,
    target: QNetwork,
    batch: Sequences,
    *,
    burn_in: int,
    length: int,
    n_steps: int,
    gamma: float,
    double_q: bool,
    advantage_alpha: float = 0.0,
    record: list[Tensor] | None = None,
) -> Tensor:
    """Huber loss of the TD errors of the learnt slots, a scalar.

    Args:
        online: what learns.
        target: what the values to bootstrap from are taken from; no gradient reaches it.
        batch: sequences of at least ``burn_in + length + n_steps`` slots.
        burn_in: slots before the learnt ones, which only bring the membranes near to what they were in play.
        length: learnt slots.
        n_steps: of the returns.
        gamma: discount of an environment step.
        double_q: choose the bootstrap action with the online network (van Hasselt et al. 2016).
        advantage_alpha: of advantage learning (Bellemare et al. 2016): this part of what an action falls short of the best
            one, by the target network, is taken off its goal, which widens the gap between the two.
        record: gets the spikes of the online network, see :meth:`QNetwork.unroll`.
    """
    learnt = slice(burn_in, burn_in + length)
    returns = n_step_returns(batch, burn_in, length, n_steps, gamma)
    columns = th.arange(batch.actions.shape[1], device=batch.actions.device)
    if online.remembers:
        q_all, q_target = _q_carried(online, target, batch, burn_in, record)
        next_online = q_all.detach()[returns.bootstrap - burn_in, columns]
        next_target, here = q_target[returns.bootstrap, columns], q_target[learnt]
        q_all = q_all[:length]
    else:  # nothing is remembered: only the slots that are needed
        q_all = online.values(batch.observations[learnt], record=record)
        rows = (returns.bootstrap * len(columns) + columns).flatten()
        following = batch.observations.flatten(0, 1).index_select(0, rows).unflatten(0, returns.bootstrap.shape)
        with th.no_grad():
            next_target = target.values(following)
            next_online = online.values(following) if double_q else next_target
            here = target.values(batch.observations[learnt]) if advantage_alpha else next_target  # else unused
    actions = batch.actions[learnt].unsqueeze(-1)
    with th.no_grad():
        best = (next_online if double_q else next_target).argmax(-1, keepdim=True)
        value = next_target.gather(-1, best).squeeze(-1).float()
        goal = returns.reward + returns.discount * value
        if advantage_alpha:
            goal -= advantage_alpha * (here.amax(-1) - here.gather(-1, actions).squeeze(-1)).float()
    q = q_all.gather(-1, actions).squeeze(-1).float()
    acted = batch.acted[learnt]  # the slot after a time limit's cut holds no action
    return F.smooth_l1_loss(q[acted], goal[acted])


def _q_carried(
    online: QNetwork, target: QNetwork, batch: Sequences, burn_in: int, record: list[Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Q of the slots behind the burn-in by the online network, and of all slots by the target network."""
    observations, starts = batch.observations, batch.starts
    with th.no_grad():
        q_target = target.values(observations, None, starts)
    state = online.burn_in(observations[:burn_in], starts[:burn_in]) if burn_in else None
    q = online.values(observations[burn_in:], state, starts[burn_in:], record)
    return q, q_target
