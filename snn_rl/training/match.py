"""Whether a student plays as well as its ANN, so that its training may end early."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_rl.core.network import QNetwork
from snn_rl.store.card import Compared
from snn_rl.tasks.players import Player
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import starts
from snn_rl.tasks.workers import play_all

Returns = NDArray[np.float64]

CONFIRMING_SEED = 2_000_000  # these episodes are neither those of selection nor those that are reported
EPISODES, ATARI_EPISODES = 200, 30
MORE = 4  # times as many starts decide whether a student falls short: 200 of a noisy task can say so by chance
KEPT = 0.95  # part of the ANN's return below which a student falls short of it
NORMAL_95 = 1.645  # quantile of the normal distribution: a one-sided bound that holds with 95 % confidence


def confirming_returns(
    network: QNetwork, recipe: Recipe, frames: int, seed: int, processes: int = 1, *, more: bool = False
) -> Returns:
    """Returns of the episodes that confirm a match; the same starts for student and ANN.

    Args:
        network: who plays.
        recipe: of its environment.
        frames: that it sees.
        seed: of the training.
        processes: that play at a time at most, where that pays, see :func:`~snn_rl.tasks.workers.play_all`.
        more: :data:`MORE` times as many; greedy Atari games have no more than 30 starts.
    """
    episodes = ATARI_EPISODES if recipe.atari else EPISODES * (MORE if more else 1)
    begins = starts(recipe, episodes, CONFIRMING_SEED * (1 + seed))
    return play_all(Player(network, recipe, frames), begins, processes=processes).returns


def as_good(student: Returns, ann: Returns, share: float) -> bool:
    """Whether the student reaches ``share`` of the ANN's mean return with 95 % confidence, start by start.

    The lower bound of the mean difference (normal approximation) has to lie above what may be lost: ``1 - share`` of the
    ANN's mean return, whatever its sign.

    Args:
        student: returns, ``(episodes,)``.
        ann: its ANN's, from the same starts.
        share: in (0, 1].
    """
    difference = student - ann
    bound = difference.mean() - NORMAL_95 * difference.std(ddof=1) / len(difference) ** 0.5
    return bool(bound >= -(1 - share) * abs(ann.mean()))


class Match:
    """Compares a student with its ANN, first by a few episodes, then, where these look good, by many others.

    Args:
        of_student: plays the student: its returns, of the same starts at each call; of more where the flag says so.
        of_ann: plays the ANN from these starts.
        share: part of the ANN's return that is as good, in (0, 1].
        more: there are more starts than the usual ones; greedy Atari games have none.
    """

    def __init__(
        self,
        of_student: Callable[[QNetwork, bool], Returns],
        of_ann: Callable[[bool], Returns],
        share: float,
        more: bool = True,
    ) -> None:
        self.of_student, self.of_ann, self.share, self.more = of_student, cache(of_ann), share, more
        self.reached: Compared | None = None

    def compare(self, network: QNetwork, more: bool = False) -> Compared:
        """The student beside its ANN; from more starts than usual where the flag says so."""
        student, ann = self.of_student(network, more), self.of_ann(more)
        sure = as_good(student, ann, self.share)
        return Compared(student=float(student.mean()), ann=float(ann.mean()), share=self.share, sure=sure)

    def try_with(self, network: QNetwork, few: float) -> bool:
        """Whether the network is as good as the ANN with confidence.

        Args:
            network: the student.
            few: its mean return over a few other episodes; where it is too low, no more are played.
        """
        mean = float(self.of_ann(False).mean())
        if few >= mean - (1 - self.share) * abs(mean) and (compared := self.compare(network)).sure:
            self.reached = compared
        return self.reached is not None

    def settle(self, network: QNetwork) -> Compared:
        """The network that is kept beside its ANN; one that seems to fall short is played from more starts, if there are."""
        compared = self.reached or self.compare(network)
        return self.compare(network, more=True) if self.more and not compared.keeps(KEPT) else compared

    def state_dict(self) -> dict[str, Any]:
        """What was reached."""
        return {"reached": self.reached and self.reached.to_json()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a :meth:`state_dict`."""
        self.reached = state["reached"] and Compared.from_json(state["reached"])
