"""Playing whole episodes in this process: who plays, and what becomes of it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from snn_rl.core.network import QNetwork
from snn_rl.core.synops import OperationCounter
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Decision, Start, make_envs, play


@dataclass(frozen=True)
class Player:
    """Who plays what, and how.

    Attributes:
        network: that acts; whether it carries its membranes is asked here.
        recipe: of the environment.
        frames: that the network sees.
        epsilon: probability of a random action.
        sticky: probability that the environment repeats the previous action; its own if None.
        counted: whether operations are counted.
    """

    network: QNetwork
    recipe: Recipe
    frames: int
    epsilon: float = 0.0
    sticky: float | None = None
    counted: bool = False


class Played:
    """What became of episodes, in the order of their starts.

    Args:
        player: who played them.
        episodes: how many.

    Attributes:
        returns: unclipped, so far, ``(episodes,)``.
        lengths: decisions so far, ``(episodes,)``.
        over: which are finished, ``(episodes,)``.
        last: return of the episode that was finished last; None before.
        counter: what the network did; None where it is not counted, or nothing was decided yet.
    """

    def __init__(self, player: Player, episodes: int) -> None:
        self.player = player
        self.returns, self.lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
        self.over = np.zeros(episodes, dtype=np.bool_)
        self.last: float | None = None
        self.counter: OperationCounter | None = None

    def update(self, decision: Decision) -> None:
        """Adds a decision of several episodes."""
        if self.player.counted:
            if self.counter is None:
                self.counter = OperationCounter(self.player.network, decision.observation.shape[1:])
            self.counter.update(decision.observation, decision.layers)
        self.returns[decision.episode] += decision.reward
        self.lengths[decision.episode] += 1
        for r in np.flatnonzero(decision.done):
            self.over[decision.episode[r]] = True
            self.last = float(self.returns[decision.episode[r]])

    def decisions_left(self, usual: float | None) -> float | None:
        """An estimate; None where nothing is known yet.

        Args:
            usual: length of an episode, while none is finished.
        """
        length = float(self.lengths[self.over].mean()) if self.over.any() else usual
        if length is None:
            return None
        return float(np.maximum(length - self.lengths[~self.over], 0).sum())


def playing(player: Player, begins: Sequence[Start], played: Played) -> Generator[None, None, None]:
    """Plays every start once and notes each decision in ``played``.

    Raises:
        UserError: see :func:`~snn_rl.tasks.rollout.play` and :func:`~snn_rl.tasks.environments.make_env`.
    """
    envs = make_envs(player.recipe, len(begins), frames=player.frames, sticky=player.sticky)
    try:
        for decision in play(player.network, envs, begins, player.epsilon):
            played.update(decision)
            yield
    finally:
        for env in envs:
            env.close()
