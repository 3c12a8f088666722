"""A linear probe: a ridge regression that reads a quantity out of what a layer holds.

It shows how much of the quantity a linear layer behind that layer could use (Alain & Bengio 2016, "Understanding intermediate
layers using linear classifier probes").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snn_rl.core.errors import UserError

Matrix = NDArray[np.float64]

PENALTIES = tuple(10.0**k for k in range(-3, 5))  # of the ridge regression, per sample
SPLITS = 3  # of three episodes the first is fitted to, the second chooses the penalty, the third is scored
MOST_STEPS = 1_500  # of each third of the episodes; more are thinned out evenly


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: ``quantity = (input - centre) / scale @ weights + level``.

    ``r_squared`` is its coefficient of determination on episodes that neither the weights nor the penalty were fitted to: 1 if
    it knows the quantity, 0 if it does no better than its mean.
    """

    centre: Matrix
    scale: Matrix
    weights: Matrix
    level: float
    r_squared: float = float("nan")

    def read(self, inputs: Matrix) -> Matrix:
        """The quantity ``(steps,)`` in inputs ``(steps, inputs)``."""
        return (inputs - self.centre) / self.scale @ self.weights + self.level


def fit(inputs: Sequence[Matrix], wanted: Sequence[Matrix]) -> LinearProbe:
    """Fits a probe to the first of every three episodes, takes the penalty that is best on the second, scores it on the third.

    Args:
        inputs: of each episode, ``(steps, inputs)``.
        wanted: of each episode the quantity, ``(steps,)``; steps with NaN are left out.

    Raises:
        UserError: if there are too few episodes, or the quantity is never there or never changes.
    """
    if len(inputs) < SPLITS:
        raise UserError(f"a linear probe needs at least {SPLITS} episodes, got {len(inputs)}")
    (x, y), (x_choice, y_choice), (x_test, y_test) = (
        _known(inputs[split::SPLITS], wanted[split::SPLITS]) for split in range(SPLITS)
    )
    centre, scale, level = x.mean(0), x.std(0) + 1e-6, float(y.mean())
    x = (x - centre) / scale
    probes = [LinearProbe(centre, scale, weights, level) for weights in _ridge(x, y - level)]
    chosen = max(probes, key=lambda probe: _determination(probe.read(x_choice), y_choice))
    return LinearProbe(centre, scale, chosen.weights, level, _determination(chosen.read(x_test), y_test))


def _ridge(x: Matrix, y: Matrix) -> list[Matrix]:
    """The weights for each penalty: ``(x'x + penalty I)^-1 x'y``, or what is the same, ``x' (xx' + penalty I)^-1 y``."""
    dual = x.shape[1] > len(x)  # the smaller of the two systems of equations
    gram = x @ x.T if dual else x.T @ x
    systems = [gram + penalty * len(x) * np.eye(len(gram)) for penalty in PENALTIES]
    if dual:
        return [x.T @ np.linalg.solve(system, y).astype(np.float64) for system in systems]
    return [np.linalg.solve(system, x.T @ y).astype(np.float64) for system in systems]


def _known(inputs: Sequence[Matrix], wanted: Sequence[Matrix]) -> tuple[Matrix, Matrix]:
    """Inputs and quantity at the steps, of all these episodes, at which there is one."""
    y = np.concatenate(wanted)
    known = np.flatnonzero(np.isfinite(y))
    if not known.size:
        raise UserError("no step of these episodes has the hidden quantity; play more of them (--episodes)")
    known = known[:: -(-len(known) // MOST_STEPS)]
    return np.concatenate(inputs)[known].astype(np.float64), y[known]


def _determination(guess: Matrix, true: Matrix) -> float:
    """R^2: 1 - squared errors / squared deviations from the mean."""
    spread = float(np.square(true - true.mean()).sum())
    if not spread:
        raise UserError("the hidden quantity never changes in these episodes; play more of them (--episodes)")
    return 1 - float(np.square(guess - true).sum()) / spread
