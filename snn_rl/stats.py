"""Statistics of returns: interquartile mean, bootstrap intervals, paired differences. All take an explicit seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000


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


def interval(values: ArrayLike, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Percentile-bootstrap interval of the interquartile mean.

    Args:
        values: one value per independent run or episode, shape ``(n,)``.
        seed: of the resampling; the same seed gives the same interval.
        level: coverage.

    Raises:
        ValueError: if there are no values, or one is not finite.
    """
    x = _finite(values)
    samples = np.random.default_rng(seed).choice(x, (RESAMPLES, len(x)))
    low, high = np.quantile(iqm(samples), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(
    groups: Sequence[NDArray[np.float64]], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> list[float]:
    """95 % interval of a statistic of pooled episodes: training seeds are resampled, then the episodes of each.

    With one training seed this is the bootstrap over episodes of :func:`interval`.
    """
    rng, size = np.random.default_rng(0), max(map(len, groups))
    if len(groups) == 1:
        samples = rng.choice(groups[0], (RESAMPLES, size))
    else:
        table, lengths = np.array([np.resize(group, size) for group in groups]), np.array([len(group) for group in groups])
        chosen = rng.integers(len(groups), size=(RESAMPLES, len(groups), 1))
        episode = (rng.random((RESAMPLES, len(groups), size)) * lengths[chosen]).astype(np.intp)
        samples = table[chosen, episode].reshape(RESAMPLES, -1)
    return [float(x) for x in np.quantile(statistic(samples), [0.025, 0.975])]


def paired(a: ArrayLike, b: ArrayLike, seed: int = 0) -> dict[str, float]:
    """Mean of ``a - b`` start by start, with its 95 % bootstrap interval and how often each is ahead.

    Raises:
        ValueError: if the two differ in length.
    """
    x, y = _finite(a), _finite(b)
    if x.shape != y.shape:
        raise ValueError(f"paired differences need the same episodes on both sides, got {len(x)} and {len(y)}")
    d = x - y
    means = np.random.default_rng(seed).choice(d, (RESAMPLES, len(d))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "mean": float(d.mean()),
        "low": float(low),
        "high": float(high),
        "wins": float((d > 0).sum()),
        "ties": float((d == 0).sum()),
        "losses": float((d < 0).sum()),
    }


def summary(returns: ArrayLike, seed: int = 0) -> dict[str, float | list[float]]:
    """The fields of ``"return"`` in an evaluation: mean, std (of the episodes), iqm, ci95 (of the iqm), min, max."""
    x = _finite(returns)
    return {
        "mean": float(x.mean()),
        "std": float(x.std()),
        "iqm": float(iqm(x)),
        "ci95": list(interval(x, seed)),
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
