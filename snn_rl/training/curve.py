"""What a learner says of itself in the course of a training: noted for the agent's card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

POINTS = 100  # of a training's curve


class Curve:
    """Of each thing that a learner says of itself 100 pairs of work done and value."""

    def __init__(self) -> None:
        self.points: dict[str, list[list[float]]] = {}

    def note(self, done: int, before: int, total: int, shown: Mapping[str, float]) -> None:
        """Keeps the values where a hundredth of the work was done since ``before``."""
        if done * POINTS // total == before * POINTS // total:
            return
        for name, value in shown.items():
            if math.isfinite(value):  # a card holds nothing else; loading the agent tells what became of its network
                self.points.setdefault(name, []).append([done, float(f"{value:.4g}")])

    def state_dict(self) -> dict[str, Any]:
        """The points."""
        return {"points": self.points}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict`."""
        self.points = state["points"]
