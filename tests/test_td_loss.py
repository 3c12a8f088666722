"""n-step returns and the loss of SpikingDQN, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import counts, dqn, lively
from torch import Tensor

from snn_rl.sb3.sequences import Returns, Sequences, n_step_returns


def sequences(rewards: list[float], terminated: list[int], acted: list[int], starts: list[int] | None = None) -> Sequences:
    def column(values: list[Any], dtype: th.dtype) -> Tensor:
        return th.tensor(values, dtype=dtype)[:, None]

    L = len(rewards)
    return Sequences(
        th.arange(L, dtype=th.float32)[:, None, None].expand(L, 1, 2), column(starts or [0] * L, th.bool),
        column(acted, th.bool), column([0] * L, th.int64), column(rewards, th.float32), column(terminated, th.bool), None,
    )  # fmt: skip


def rows(returns: Returns) -> list[tuple[float, float, int]]:
    return [(r.item(), d.item(), b.item()) for r, d, b in zip(*returns, strict=True)]


def test_one_step_returns_by_hand() -> None:
    batch = sequences([1, 2, 4, 8], [0, 1, 0, 0], [1, 1, 1, 1])
    returns = rows(n_step_returns(batch, 0, 3, n=1, gamma=0.5))
    assert returns[0] == (1, 0.5, 1)
    assert returns[1][:2] == (2, 0)  # terminated: nothing to bootstrap from
    assert returns[2] == (4, 0.5, 3)


def test_three_step_returns_by_hand() -> None:
    batch = sequences([1, 2, 4, 8, 16, 32], [0] * 6, [1] * 6)
    assert rows(n_step_returns(batch, 1, 2, n=3, gamma=0.5)) == [(2 + 2 + 2, 0.125, 4), (4 + 4 + 4, 0.125, 5)]


def test_a_termination_inside_the_steps_ends_the_sum_without_bootstrap() -> None:
    batch = sequences([1, 2, 4, 100, 100, 100], [0, 0, 1, 0, 0, 0], [1] * 6)
    returns = rows(n_step_returns(batch, 0, 3, n=3, gamma=0.5))
    assert [r[:2] for r in returns] == [(1 + 1 + 1, 0), (2 + 2, 0), (4, 0)]


def test_a_time_limit_inside_the_steps_bootstraps_from_the_observation_of_the_cut() -> None:
    # slot 2 is the observation at which the episode was cut off; slot 3 begins the next episode
    batch = sequences([1, 2, 100, 100, 100, 100], [0] * 6, [1, 1, 0, 1, 1, 1])
    returns = rows(n_step_returns(batch, 0, 2, n=3, gamma=0.5))
    assert returns == [(1 + 1, 0.25, 2), (2, 0.5, 2)]


def test_the_loss_learns_only_what_was_done_and_bootstraps_by_hand() -> None:
    """Double and plain DQN on networks whose Q-values are known."""
    model = dqn(counts(5), T=0, gamma=0.5, policy_kwargs={"net_arch": []}, double_q=True)

    def fill(network: th.nn.Module, weights: list[list[float]], bias: list[float]) -> None:
        with th.no_grad():
            network.synapses[0][1].weight.copy_(th.tensor(weights))  # after Flatten
            network.synapses[0][1].bias.copy_(th.tensor(bias))

    fill(model.q_net.network, [[0, 0], [0, 0]], [1.0, 2.0])  # online: action 1 looks best
    fill(model.q_net_target.network, [[0, 0], [0, 0]], [10.0, 3.0])  # target: action 0 is worth more
    batch = sequences([0.25, 0.0], [0, 0], [1, 1])
    # Q(s, 0) = 1. Double: 0.25 + 0.5 * 3 = 1.75, error 0.75. Plain: 0.25 + 0.5 * 10 = 5.25, error 4.25.
    assert model._loss(batch).item() == pytest.approx(0.5 * 0.75**2)
    model.double_q = False
    assert model._loss(batch).item() == pytest.approx(4.25 - 0.5)
    model.advantage_alpha = 0.5  # the target network has a gap of 7 between the actions; action 0, its best, loses nothing
    assert model._loss(batch).item() == pytest.approx(4.25 - 0.5)
    other = batch._replace(actions=th.ones_like(batch.actions))  # Q(s, 1) = 2, goal 5.25 - 0.5 * 7 = 1.75
    assert model._loss(other).item() == pytest.approx(0.5 * 0.25**2)
    model.advantage_alpha = 0.0
    assert model._loss(batch._replace(terminated=th.tensor([[True], [False]]))).item() == pytest.approx(
        0.5 * 0.75**2  # nothing but the reward: 0.25 - 1
    )


@pytest.mark.parametrize(("double_q", "alpha"), [(True, 0.0), (False, 0.0), (True, 0.75)])
def test_the_carried_loss_is_a_loop_of_single_decisions_each_network_with_its_own_membranes(
    double_q: bool, alpha: float
) -> None:
    model = dqn(sequence_length=4, burn_in=3, n_steps=2, gamma=0.9, double_q=double_q, advantage_alpha=alpha)
    for q_net in (model.q_net, model.q_net_target):
        lively(q_net.network, decay=0.95)  # what is not zeroed stays
    with th.no_grad():
        for parameter in model.q_net_target.network.synapses.parameters():
            parameter.add_(0.1 * th.randn_like(parameter))
    L = 3 + 4 + 2
    th.manual_seed(1)
    observations = th.randn(L, 2, 2)
    starts = th.zeros(L, 2, dtype=th.bool)
    starts[1, 1] = starts[2, 0] = True  # inside the burn-in too
    starts[5, 0] = True
    terminated = th.zeros(L, 2, dtype=th.bool)
    terminated[4, 0] = True
    acted = th.ones(L, 2, dtype=th.bool)
    acted[6, 1] = False  # cut off: slot 6 is the last observation
    starts[7, 1] = True
    batch = Sequences(observations, starts, acted, th.randint(2, (L, 2)), th.randn(L, 2), terminated, None)

    def q_values(network: Any) -> Tensor:
        state, q_all = None, []
        for observation, start in zip(observations, starts, strict=True):
            q, state = network(observation, state, start)
            q_all.append(q)
        return th.stack(q_all).detach()

    online, target = q_values(model.q_net.network), q_values(model.q_net_target.network)
    errors = []
    for b in range(2):
        for slot in range(3, 7):
            if not acted[slot, b]:
                continue
            goal, factor, at = 0.0, 1.0, slot
            for _ in range(2):
                if not acted[at, b]:
                    break
                goal += factor * batch.rewards[at, b].item()
                factor *= 0.9
                at += 1
                if terminated[at - 1, b]:
                    factor = 0.0
                    break
            best = (online if double_q else target)[at, b].argmax()
            goal += factor * target[at, b, best].item()
            goal -= alpha * (target[slot, b].max() - target[slot, b, batch.actions[slot, b]]).item()
            error = abs(online[slot, b, batch.actions[slot, b]].item() - goal)
            errors.append(0.5 * error**2 if error < 1 else error - 0.5)
    assert model._loss(batch).item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_advantage_learning_widens_the_gap_to_the_limit_of_its_fixed_point() -> None:
    """Bellemare et al. 2016: V stays, the gap grows 1 / (1 - alpha) times. One state, rewards 1 and 0, no future."""
    model = dqn(counts(5), T=0, gamma=0.0, advantage_alpha=0.75, tau=1.0, policy_kwargs={"net_arch": []})
    batch = sequences([1.0, 0.0], [1, 1], [1, 1])._replace(actions=th.tensor([[0], [1]]))
    one = batch._replace(observations=th.ones_like(batch.observations))
    for _ in range(300):
        for action, reward in enumerate((1.0, 0.0)):
            row = one._replace(actions=th.full((2, 1), action), rewards=th.full((2, 1), reward))
            model.policy.optimizer.zero_grad()
            model._loss(row).backward()
            th.optim.SGD(model.q_net.parameters(), lr=0.2).step()
        model.q_net_target.load_state_dict(model.q_net.state_dict())
    q = model.q_net.network(th.ones(1, 2))[0][0]
    assert q.tolist() == pytest.approx([1.0, 1.0 - 1 / (1 - 0.75)], abs=1e-3)


def test_burn_in_brings_the_membranes_in_but_is_not_learnt() -> None:
    model = dqn(sequence_length=2, burn_in=2, n_steps=1)
    L = 5
    observations = th.randn(L, 8, 2)
    nothing = th.zeros(L, 8, dtype=th.bool)
    batch = Sequences(observations, nothing, ~nothing, th.zeros(L, 8, dtype=th.int64), th.zeros(L, 8), nothing, None)
    loss = model._loss(batch)
    other_rewards = batch.rewards.clone()
    other_rewards[:2] = 100
    assert model._loss(batch._replace(rewards=other_rewards)).item() == loss.item()
    other = observations.clone()
    other[:2] = 5 * th.randn(2, 8, 2)
    assert model._loss(batch._replace(observations=other)).item() != loss.item()
    seen = observations.clone().requires_grad_()
    model._loss(batch._replace(observations=seen)).backward()
    assert seen.grad is not None
    assert bool((seen.grad[:2] == 0).all())
    assert bool((seen.grad[2:4] != 0).any())
