"""Statistics of returns: interquartile mean, bootstrap intervals, paired differences.

A claim about a method is a claim about its trainings. An interval is therefore over trainings, as in Agarwal et al. 2021
("Deep Reinforcement Learning at the Edge of the Statistical Precipice") and their library rliable: a run is a training, its
score is its mean over episodes, and the bootstrap resamples runs. The episodes of one training say how well that agent plays,
not how well the method trains; where there is one training, its interval is over episodes, and ``over`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
BLOCK = 250  # resamples at a time: all at once would take 80 kB of memory for each episode

Values = NDArray[np.float64]
Summary = dict[str, float | list[float] | str]


def iqm(values: ArrayLike, axis: int = -1) -> Values:
    """Interquartile mean: the mean of the middle half (Agarwal et al. 2021).

    A quarter of the values, rounded down, is left out at each end, as ``scipy.stats.trim_mean(values, 0.25)`` does. Of up to
    three values none is left out.

    Raises:
        ValueError: if there are no values, or one is not finite.
    """
    x = np.sort(_finite(values), axis=axis)
    cut = x.shape[axis] // 4
    middle = np.take(x, range(cut, x.shape[axis] - cut), axis=axis)
    return np.asarray(middle.mean(axis=axis))


def mean(values: Values) -> Values:
    """Mean over the last axis."""
    return np.asarray(values.mean(-1))


def run_scores(trainings: Sequence[ArrayLike]) -> Values:
    """The values that statistics and intervals are of: each training's mean over its episodes, ``(trainings,)``. Of a single
    training its episodes, ``(n,)``.

    Args:
        trainings: of each training the returns of its episodes, ``(n,)``.

    Raises:
        ValueError: if a training has no episodes, or a return is not finite.
    """
    each = [_finite(training) for training in trainings]
    return np.array([training.mean() for training in each]) if len(each) > 1 else each[0]


def bootstrap(values: ArrayLike, statistic: Callable[[Values], Values], seed: int = 0) -> list[float]:
    """95 % percentile-bootstrap interval of a statistic: the values are drawn anew, with replacement.

    With three trainings it reaches from the worst to the best: all three draws are the worst one with probability 1/27,
    which is more than 2.5 %.

    Args:
        values: what is resampled, ``(n,)``, see :func:`run_scores`.
        statistic: of values along the last axis.
        seed: of the resampling; the same seed gives the same interval.

    Raises:
        ValueError: if there are no values, or one is not finite.
    """
    x = _finite(values)
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.choice(x, (BLOCK, len(x)))) for _ in range(0, RESAMPLES, BLOCK)]
    return [float(end) for end in np.quantile(np.concatenate(drawn), [0.025, 0.975])]


def paired(a: Sequence[ArrayLike], b: Sequence[ArrayLike]) -> dict[str, float]:
    """Mean of ``a - b`` start by start, its 95 % interval (over trainings, of one training over its episodes), and in how many
    episodes each is ahead.

    Args:
        a: of each training the returns, ``(n,)``.
        b: the returns of the other side from the same starts.

    Raises:
        ValueError: if the two differ in length.
    """
    pairs = [(_finite(x), _finite(y)) for x, y in zip(a, b, strict=True)]
    for x, y in pairs:
        if x.shape != y.shape:
            raise ValueError(f"paired differences need the same episodes on both sides, got {len(x)} and {len(y)}")
    differences = [x - y for x, y in pairs]
    values, d = run_scores(differences), np.concatenate(differences)
    low, high = bootstrap(values, mean)
    return {
        "mean": float(values.mean()),
        "low": low,
        "high": high,
        "wins": float((d > 0).sum()),
        "ties": float((d == 0).sum()),
        "losses": float((d < 0).sum()),
    }


def summary(returns: ArrayLike) -> Summary:
    """The fields of ``"return"`` in an evaluation: mean, std (of the episodes), iqm, ci95 (of the iqm), min, max."""
    x = _finite(returns)
    return {
        "mean": float(x.mean()),
        "std": float(x.std()),
        "iqm": float(iqm(x)),
        "ci95": bootstrap(x, iqm),
        "min": float(x.min()),
        "max": float(x.max()),
    }


def over_trainings(trainings: Sequence[ArrayLike]) -> Summary:
    """The fields of ``"return"`` in ``summary.json``.

    ``mean`` and ``iqm`` with their intervals ``mean_ci95`` and ``ci95`` are of the trainings' scores (:func:`run_scores`);
    ``over`` says whether that is over ``"trainings"`` or, of a single one, over its ``"episodes"``. ``std``, ``min`` and
    ``max`` are those of all episodes.

    Raises:
        ValueError: if a training has no episodes, or a return is not finite.
    """
    values, episodes = run_scores(trainings), np.concatenate([_finite(training) for training in trainings])
    return {
        "mean": float(values.mean()),
        "std": float(episodes.std()),
        "iqm": float(iqm(values)),
        "ci95": bootstrap(values, iqm),
        "min": float(episodes.min()),
        "max": float(episodes.max()),
        "mean_ci95": bootstrap(values, mean),
        "over": "trainings" if len(trainings) > 1 else "episodes",
    }


def _finite(values: ArrayLike) -> Values:
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        raise ValueError("no values: a statistic of nothing is an error, not 0")
    if not np.isfinite(x).all():
        raise ValueError("values must be finite")
    return x
