"""How long an agent was trained, as its card says it. Torch is not needed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Self

ENVIRONMENT_STEPS, GRADIENT_STEPS = "environment steps", "gradient steps"


@dataclass(frozen=True)
class Work:
    """How long an agent was trained: ``{"number": 5000, "unit": "gradient steps"}`` in JSON.

    Older cards say ``250000`` (environment steps) or ``"5,000 gradient steps"``; ``written`` is what such a card says, and
    is what is written again.
    """

    number: int
    unit: str
    written: int | str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.unit not in (ENVIRONMENT_STEPS, GRADIENT_STEPS):
            raise ValueError(f"unit must be '{ENVIRONMENT_STEPS}' or '{GRADIENT_STEPS}', got '{self.unit}'")

    def __str__(self) -> str:
        return f"{self.number:,} {self.unit}"

    @classmethod
    def from_json(cls, value: object, where: str = "") -> Self:
        """Reads each of the three forms.

        Raises:
            ValueError: for anything else.
        """
        if type(value) is int and value >= 0:
            return cls(value, ENVIRONMENT_STEPS, value)
        if isinstance(value, str) and (found := re.fullmatch(r"([\d,]+) (environment steps|gradient steps)", value)):
            return cls(int(found[1].replace(",", "")), found[2], value)
        match value:
            case {"number": int(number), "unit": "environment steps" | "gradient steps" as unit} if number >= 0:
                return cls(number, str(unit))
        raise ValueError(f"{where.removesuffix('.')} must be a number of environment steps or gradient steps, got {value!r}")

    def to_json(self) -> Any:
        """What was read; of new work the object with number and unit."""
        return {"number": self.number, "unit": self.unit} if self.written is None else self.written
