"""What networks refuse to see."""

from __future__ import annotations

from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_OBSERVED


def check_observed(observations: Tensor) -> None:
    """Raises UserError where an observation holds NaN, infinity, or a number whose products would be infinite: membranes would
    keep it for ever."""
    if observations.is_floating_point() and not bool((observations.float().abs() <= MAX_OBSERVED).all()):
        raise UserError(
            f"an observation holds NaN or infinity, or a number beyond {MAX_OBSERVED:g}; mend the environment, or leave such "
            "observations out"
        )
