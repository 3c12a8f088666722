"""What a user says of a Stable-Baselines3 zip."""

from __future__ import annotations

from typing import NamedTuple


class Hints(NamedTuple):
    """What the user says of a zip that it does not say itself: ``module:Class`` of a custom feature extractor, imported from
    the user's own code, and the activation between the dense layers, ``ReLU`` or ``Tanh``."""

    extractor: str | None = None
    activation: str | None = None


NO_HINTS = Hints()
