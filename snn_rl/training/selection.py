"""Which network of a training is kept: the best one of several evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from snn_rl.core.network import QNetwork
from snn_rl.store.card import Compared
from snn_rl.tasks.players import Player
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import starts
from snn_rl.tasks.workers import play_all
from snn_rl.training.match import Match

SELECTION_SEED = 1_000_000  # selection never plays the episodes that are reported
SELECTION_EPSILON = 0.01  # nor, on Atari, the greedy games from the 30 starts


def selector(recipe: Recipe, episodes: int, frames: int, seed: int, processes: int = 1) -> Callable[[QNetwork], float]:
    """Mean return over ``episodes`` that are used only to choose among networks of one training. They are played in at most so
    many processes, where that pays, see :func:`~snn_rl.tasks.workers.play_all`."""
    begins = starts(recipe, episodes, SELECTION_SEED * (1 + seed))
    epsilon = SELECTION_EPSILON if recipe.atari else 0.0

    def evaluate(network: QNetwork) -> float:
        return float(play_all(Player(network, recipe, frames, epsilon), begins, processes=processes).returns.mean())

    return evaluate


class Selection:
    """Evaluates a network at certain amounts of work and remembers the best; of equals the one that was trained longer.

    Args:
        points: amounts of work, ascending.
        evaluate: mean return of a network, or what else is to be high.
        stop_at: a return that is good enough to end the training.
        match: ends the training too, once the network is as good as its ANN; that network is then kept.
        measure: what ``evaluate`` gives, in a word.
    """

    def __init__(
        self,
        points: Sequence[int],
        evaluate: Callable[[QNetwork], float],
        stop_at: float | None = None,
        match: Match | None = None,
        measure: str = "return",
    ) -> None:
        self.points, self.evaluate, self.stop_at, self.match, self.measure = points, evaluate, stop_at, match, measure
        self.evaluations: list[list[float]] = []  # [work done, mean return]
        self.best: dict[str, Tensor] | None = None
        self.best_return = float("-inf")

    @property
    def satisfied(self) -> bool:
        """Whether an evaluation reached ``stop_at``, or the network matches its ANN."""
        if self.match is not None and self.match.reached:
            return True
        return self.stop_at is not None and self.best_return >= self.stop_at

    def due(self, done: int) -> bool:
        """Whether the next evaluation is to be made after ``done`` units of work."""
        return len(self.evaluations) < len(self.points) and done >= self.points[len(self.evaluations)]

    def judge(self, network: QNetwork, done: int) -> float:
        """Evaluates the network after ``done`` units of work; returns its mean return."""
        value = self.evaluate(network)
        self.evaluations.append([done, value])
        if (self.match is not None and self.match.try_with(network, value)) or value >= self.best_return:
            self.best_return = value
            self.best = {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
        return value

    def choose(self, network: QNetwork) -> None:
        """Puts the best weights into ``network``, where there was an evaluation."""
        if self.best is not None:
            network.load_state_dict(self.best)

    def compared(self, chosen: QNetwork) -> Compared | None:
        """The chosen network beside its ANN; None where nothing is compared."""
        return None if self.match is None else self.match.settle(chosen)

    def state_dict(self) -> dict[str, Any]:
        """The evaluations, the best weights so far, and whether they match the ANN."""
        match = None if self.match is None else self.match.state_dict()
        return {"evaluations": self.evaluations, "best": self.best, "best_return": self.best_return, "match": match}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict`."""
        self.evaluations, self.best, self.best_return = (state[key] for key in ("evaluations", "best", "best_return"))
        if self.match is not None:
            self.match.load_state_dict(state["match"])
