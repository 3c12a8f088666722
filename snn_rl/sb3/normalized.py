"""The statistics of ``VecNormalize`` in the first layer of a network.

``VecNormalize`` shows a network ``clip((x - mean) / sqrt(var + epsilon), -clip_obs, clip_obs)``. But for the clipping that is
affine in ``x``, so a first layer ``W y + b`` takes it in exactly: ``W' = W / deviation``, ``b' = b - W' mean``.
"""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import cast

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.sb3.fits import Reading
from snn_rl.store.agents import check_finite
from snn_rl.store.bounded import MAX_TENSORS, opened
from snn_rl.tasks.parts import Joined


def statistics(given: VecNormalize | str | Path, trust_pickle: bool = False) -> VecNormalize:
    """The live object, or the one in a file that ``VecNormalize.save`` wrote.

    Args:
        given: the object, or the file. The file is a pickle: reading it runs whatever its author put there.
        trust_pickle: the user trusts the file's author.

    Raises:
        UserError: for a file without that trust, and for one that is none.
    """
    if isinstance(given, VecNormalize):
        return given
    if not trust_pickle:
        raise UserError(
            f"'{given}' is a pickle, and reading it runs whatever its author put there: if it is your own, say so with "
            "--trust-pickle (in Python trust_pickle=True), or give the live VecNormalize in Python"
        )
    try:
        with opened(Path(given), MAX_TENSORS) as file:  # a FIFO would be waited for
            found = pickle.load(file)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"no file '{given}'") from error
    except Exception as error:  # whatever a pickle can raise
        raise UserError(f"'{given}' is damaged: {type(error).__name__}: {error}; save it anew") from error
    if not isinstance(found, VecNormalize):
        raise UserError(f"'{given}' holds a {type(found).__name__}, no VecNormalize: give what VecNormalize.save wrote")
    return found


def folded(reading: Reading, normalize: VecNormalize, who: str) -> Reading:
    """A network that sees observations as they are, from one that saw them normalised.

    Args:
        reading: the network that saw them normalised, and how it was made. It stays as it is where nothing is normalised;
            else its first layer changes.
        normalize: with the statistics.
        who: the model or its file, for messages.

    Raises:
        UserError: if the statistics are not those of such observations, or the first layer is not dense.
    """
    if not normalize.norm_obs:
        return reading
    shape, (mean, deviation) = reading.shape, _statistics(normalize)
    if mean.shape != shape or len(shape) != 1:
        raise UserError(
            f"{who} sees observations of shape {shape}, the statistics of VecNormalize are of shape {mean.shape}: give those "
            "of the same training (of vectors; images are not normalised), or train with norm_obs=False"
        )
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
        raise UserError(f"the statistics of VecNormalize for {who} hold NaN, infinity or no deviation; save them anew")
    _fold(reading.network, mean, deviation, who)
    check_finite(reading.network.state_dict(), who)
    note = "; its first layer holds the statistics of VecNormalize"
    if _clips(normalize, mean, deviation):
        note += f", without the clipping at {normalize.clip_obs:g} deviations, which only matters to observations beyond them"
    return Reading(reading.network, shape, dataclasses.replace(reading.made, how=f"{reading.made.how}{note}"))


def _statistics(normalize: VecNormalize) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations, of a Dict those of all its parts, joined; what is not normalised has 0 and 1."""
    space, rms = normalize.observation_space, cast(RunningMeanStd | dict[str, RunningMeanStd], normalize.obs_rms)
    if isinstance(rms, RunningMeanStd):
        return rms.mean, np.sqrt(rms.var + normalize.epsilon)
    pairs = []
    for part in Joined.of(space).parts.laid:
        own = rms.get(part.path[0])
        usual = np.zeros(part.size), np.ones(part.size)
        pairs.append(usual if own is None else (own.mean.reshape(-1), np.sqrt(own.var.reshape(-1) + normalize.epsilon)))
    mean, deviation = (np.concatenate(values) for values in zip(*pairs, strict=True))
    return mean, deviation


def _fold(network: QNetwork, mean: np.ndarray, deviation: np.ndarray, who: str) -> None:
    scale, synapses = network.input_scale, cast(nn.Sequential, network.synapses[0])
    first = holds = next((layer for layer in synapses if not isinstance(layer, nn.Flatten)), None)
    if network.image is not None:  # the statistics are those of the numbers beside it: normalised it would be none of bytes
        scale, mean, deviation = 1.0, mean[network.pixels :], deviation[network.pixels :]
        n, first = next(iter(network.beside.items()), ("0", None))
        holds = cast(nn.Sequential, network.synapses[int(n)])[-1]
    if not isinstance(first, nn.Linear) or not isinstance(holds, nn.Linear) or holds.bias is None:
        raise UserError(
            f"{who} has no dense first layer with a bias to hold the statistics of VecNormalize; train it with norm_obs=False"
        )
    with th.no_grad():
        weight = first.weight.double() / th.as_tensor(deviation, dtype=th.float64)
        bias = holds.bias.double() - scale * (weight @ th.as_tensor(mean, dtype=th.float64))
        first.weight.copy_(weight)
        holds.bias.copy_(bias)


def _clips(normalize: VecNormalize, mean: np.ndarray, deviation: np.ndarray) -> bool:
    """Whether the space has observations that are clipped."""
    space = normalize.observation_space
    if not isinstance(space, spaces.Box):
        return True
    ends = [np.abs((bound - mean) / deviation).max() for bound in (space.low, space.high)]
    return bool(max(ends) > normalize.clip_obs)
