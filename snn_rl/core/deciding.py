"""A decision for whoever calls ``predict``: numpy observations in, Q-values and membranes out, on the network's device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork, State

Observation = NDArray[Any] | tuple[Any, ...] | Mapping[str, Any]
"""What callers of ``predict`` give. The parts of tuples and mappings are joined where they are known; others are refused."""


class Membranes(tuple[Tensor, ...]):
    """A :data:`~snn_rl.core.network.State` that is short to print."""

    def __repr__(self) -> str:
        return f"Membranes({', '.join('x'.join(map(str, v.shape)) for v in self)})"


def check_observation(observation: object) -> None:
    """Raises UserError for the tuple that a Gymnasium ``reset()`` returns, and for other things that are no array, where an
    observation is wanted."""
    if isinstance(observation, tuple):
        raise UserError("predict() takes an observation, not the (observation, info) tuple that reset() returns")
    if isinstance(observation, Mapping | str) or observation is None:
        raise UserError(f"predict() takes an array here, got a {type(observation).__name__}")


def decide(
    network: QNetwork,
    observation: Observation,
    shape: Sequence[int],
    state: State | None = None,
    episode_start: NDArray[Any] | bool | None = None,
    who: str = "the network",
) -> tuple[Tensor, Membranes, bool]:
    """One decision per environment, without a gradient.

    Args:
        network: on any device.
        observation: one, or one per environment, ``(n_envs, *shape)``: unscaled, images with channels first.
        shape: of one observation.
        state: what the previous call returned; None for rest.
        episode_start: ``(n_envs,)``, true where an episode begins; of one environment also a bare boolean.
        who: takes the observations, for messages.

    Returns:
        Q-values ``(n_envs, actions)`` and the membranes after the decision, both on the network's device; and whether the
        observations were a batch.

    Raises:
        UserError: if the observations have another shape, are not finite, or come with the state or the starts of another
            number of environments, or with a state that is not finite or of another network.
    """
    check_observation(observation)
    seen = th.as_tensor(observation)
    batch = seen.dim() != len(shape)
    seen = seen if batch else seen[None]
    if tuple(seen.shape[1:]) != tuple(shape):
        hint = "; images have their channels first (VecTransposeImage), frames stacked along them (VecFrameStack)"
        if len(shape) == 1 and not seen.is_floating_point() and seen.dim() - (not batch) < 2:
            hint = "; numbers are seen one-hot, as gymnasium.wrappers.FlattenObservation(env) shows them"
        elif len(shape) == 1:
            hint = ""
        raise UserError(f"{who} takes observations of shape {tuple(shape)}, got {tuple(seen.shape[1:])}{hint}")
    device = next(network.parameters()).device
    seen = (seen.float() if seen.is_floating_point() else seen).to(device)  # not every device has 64 bits
    if state is not None and not isinstance(state, tuple | list):
        raise UserError(f"the state is a {type(state).__name__}; pass on what the previous call returned, or None for rest")
    for v in state or ():
        if not math.isfinite(th.as_tensor(v).sum()):  # NaN never spikes: nothing else would tell
            raise UserError("the state holds NaN or infinity; begin from rest (state=None)")
    starts = None if episode_start is None else th.as_tensor(np.atleast_1d(episode_start), dtype=th.bool, device=device)
    with th.no_grad():
        q, state = network(seen, state, starts)
    return q, Membranes(state), batch
