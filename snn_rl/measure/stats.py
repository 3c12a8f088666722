"""Statistics of returns: interquartile mean, bootstrap intervals, paired differences. All take an explicit seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
BLOCK = 250  # resamples at a time: all at once would take 80 kB of memory for each episode


def iqm(values: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Interquartile mean: the mean of the middle half (Agarwal et al. 2021).

    A quarter of the values, rounded down, is left out at each end, as ``scipy.stats.trim_mean(values, 0.25)`` does.

    Raises:
        ValueError: if there are no values, or one is not finite.
    """
    x = np.sort(_finite(values), axis=axis)
    cut = x.shape[axis] // 4
    middle = np.take(x, range(cut, x.shape[axis] - cut), axis=axis)
    return np.asarray(middle.mean(axis=axis))


def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis."""
    return np.asarray(values.mean(-1))


def bootstrap(
    groups: Sequence[ArrayLike], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], seed: int = 0
) -> list[float]:
    """95 % percentile-bootstrap interval of a statistic of pooled episodes: training seeds are resampled, then the episodes of
    each; where there is one training seed, its episodes.

    Args:
        groups: of each training seed the episodes, ``(n,)``.
        statistic: of values along the last axis.
        seed: of the resampling; the same seed gives the same interval.

    Raises:
        ValueError: if a group has no values, or one is not finite.
    """
    each = [_finite(group) for group in groups]
    rng, size = np.random.default_rng(seed), max(map(len, each))
    table, lengths = np.array([np.resize(group, size) for group in each]), np.array([len(group) for group in each])
    seeds = rng.integers(len(each), size=(RESAMPLES, len(each), 1)) if len(each) > 1 else None
    values = []
    for begin in range(0, RESAMPLES, BLOCK):
        if seeds is None:
            samples = rng.choice(each[0], (BLOCK, size))
        else:
            chosen = seeds[begin : begin + BLOCK]
            episode = (rng.random((BLOCK, len(each), size)) * lengths[chosen]).astype(np.intp)
            samples = table[chosen, episode].reshape(BLOCK, -1)
        values.append(statistic(samples))
    return [float(x) for x in np.quantile(np.concatenate(values), [0.025, 0.975])]


def paired(a: Sequence[ArrayLike], b: Sequence[ArrayLike]) -> dict[str, float]:
    """Mean of ``a - b`` start by start over all training seeds, its 95 % interval (:func:`bootstrap`), and how often each is
    ahead.

    Args:
        a: of each training seed the returns, ``(n,)``.
        b: the returns of the other side from the same starts.

    Raises:
        ValueError: if the two differ in length.
    """
    pairs = [(_finite(x), _finite(y)) for x, y in zip(a, b, strict=True)]
    for x, y in pairs:
        if x.shape != y.shape:
            raise ValueError(f"paired differences need the same episodes on both sides, got {len(x)} and {len(y)}")
    low, high = bootstrap([x - y for x, y in pairs], mean)
    d = np.concatenate([x - y for x, y in pairs])
    return {
        "mean": float(d.mean()),
        "low": low,
        "high": high,
        "wins": float((d > 0).sum()),
        "ties": float((d == 0).sum()),
        "losses": float((d < 0).sum()),
    }


def summary(returns: ArrayLike) -> dict[str, float | list[float]]:
    """The fields of ``"return"`` in an evaluation: mean, std (of the episodes), iqm, ci95 (of the iqm), min, max."""
    x = _finite(returns)
    return {
        "mean": float(x.mean()),
        "std": float(x.std()),
        "iqm": float(iqm(x)),
        "ci95": bootstrap([x], iqm),
        "min": float(x.min()),
        "max": float(x.max()),
    }


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        raise ValueError("no values: a statistic of nothing is an error, not 0")
    if not np.isfinite(x).all():
        raise ValueError("values must be finite")
    return x
