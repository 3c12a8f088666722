"""The surrogate gradient: what a spike, a step that has none, passes backward instead."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Self

from torch import Tensor

from snn_rl.core.errors import UserError

SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "triangle": lambda u: u.abs().neg_().add_(1).clamp_(min=0),  # max(0, 1 - |u|): Bellec et al. 2018, and the paper
    "rectangle": lambda u: (u.abs() < 1).to(u.dtype),  # 1 within one threshold's distance: Wu et al. 2018
    "sigmoid": lambda u: u.abs().add_(1).pow_(-2),  # 1 / (1 + |u|)^2, of the fast sigmoid: Zenke and Ganguli 2018
    "arctan": lambda u: u.mul(math.pi).square_().add_(1).reciprocal_(),  # 1 / (1 + (pi u)^2): Fang et al. 2021
}
"""By name, the gradient over ``u = v / v_th - 1`` with height 1 at the threshold."""


class Surrogate(NamedTuple):
    """``dz/du = height * SHAPES[shape](u)``; as text ``shape:height``."""

    shape: str = "triangle"
    height: float = 0.3

    @classmethod
    def read(cls, text: str) -> Self:
        """``arctan:0.5``, or ``arctan`` with the usual height.

        Raises:
            UserError: if the shape is unknown or the height no positive number.
        """
        shape, _, number = text.partition(":")
        try:
            height = float(number) if number else cls().height
        except ValueError:
            height = math.nan
        if shape not in SHAPES or not 0 < height < math.inf:
            raise UserError(
                f"the surrogate gradient is SHAPE or SHAPE:HEIGHT, such as arctan:0.5, with a shape of {', '.join(SHAPES)} "
                f"and a height above 0, got '{text}'"
            )
        return cls(shape, height)

    def of(self, u: Tensor) -> Tensor:
        """The gradient at ``u``, a new tensor."""
        return SHAPES[self.shape](u).mul_(self.height)

    def __str__(self) -> str:
        return f"{self.shape}:{self.height:g}"


USUAL = Surrogate()
