"""What a user says of a Stable-Baselines3 zip."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from stable_baselines3.common.vec_env import VecNormalize


class Hints(NamedTuple):
    """What the user says of a zip that it does not say itself.

    Attributes:
        extractor: ``module:Class`` of a custom feature extractor, imported from the user's own code.
        activation: between the dense layers, ``ReLU`` or ``Tanh``.
        vecnormalize: under which the agent learnt, or the file that ``VecNormalize.save`` wrote.
        trust_pickle: that file is a pickle, which runs whatever its author put there; only with this it is read.
    """

    extractor: str | None = None
    activation: str | None = None
    vecnormalize: VecNormalize | str | Path | None = None
    trust_pickle: bool = False

    @property
    def given(self) -> list[str]:
        """Names of the options that were given."""
        return [name for name, value in self._asdict().items() if value not in (None, False)]


NO_HINTS = Hints()
