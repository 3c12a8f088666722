"""Playing whole episodes in this process: who plays, and what becomes of it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch as th

from snn_rl.core.changes import Last
from snn_rl.core.network import QNetwork
from snn_rl.core.resting import Resting
from snn_rl.core.synops import OperationCounter, Sums
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Decision, Start, make_envs, play

SAMPLED = 16  # an ANN that only watches looks at one decision in so many, if it is a large one
LARGE = 1_000_000  # multiply-accumulates


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
        watching: ANNs that see what the network sees; what they would compute in its place is counted too.
    """

    network: QNetwork
    recipe: Recipe
    frames: int
    epsilon: float = 0.0
    sticky: float | None = None
    counted: bool = False
    watching: tuple[QNetwork, ...] = ()


class Tally:
    """Operations of a player's network, and those of the ANNs that watch.

    Args:
        player: who plays.
        observation_shape: of one observation.

    Attributes:
        counters: of the network, then of the ANNs that watch.
    """

    def __init__(self, player: Player, observation_shape: tuple[int, ...]) -> None:
        networks = (player.network, *player.watching)
        self.counters = [OperationCounter(network, observation_shape) for network in networks]
        self._every = [SAMPLED if sum(counter.macs) > LARGE else 1 for counter in self.counters]
        self._last: Last | None = None
        self._resting = Resting(player.network) if Resting.fits(player.network) else None

    def update(self, decision: Decision, steps: Sequence[int]) -> None:
        """Adds a decision of several episodes; ``steps``: how many decisions each of these has behind it."""
        own, now = self.counters[0], th.as_tensor(decision.observation)
        sent = [] if own.network.spiking else [layer[0].cpu() for layer in decision.layers]
        if self._last is None:
            self._last = Last(own.network, now[0])
        before = self._last.swap(decision.episode, [now, *sent])
        updates = None if self._resting is None else self._resting(decision.episode, decision.state, decision.layers)
        own.update(now, decision.layers, before, updates)
        for counter, every in zip(self.counters[1:], self._every[1:], strict=True):
            rows = [row for row, step in enumerate(steps) if step % every == every // 2]
            if rows:
                counter.watch(before[0][rows], now[rows])
        for row in np.flatnonzero(decision.done):
            self._last.forget(decision.episode[row])
            if self._resting is not None:
                self._resting.forget(decision.episode[row])

    @property
    def sums(self) -> list[Sums]:
        """What each counted."""
        return [counter.sums for counter in self.counters]

    def add(self, sums: Sequence[Sums]) -> None:
        """Adds what was counted in another process."""
        for own, theirs in zip(self.sums, sums, strict=True):
            own.add(theirs)


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
        tally: what the network did; None where it is not counted, or nothing was decided yet.
    """

    def __init__(self, player: Player, episodes: int) -> None:
        self.player = player
        self.returns, self.lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
        self.over = np.zeros(episodes, dtype=np.bool_)
        self.last: float | None = None
        self.tally: Tally | None = None

    def update(self, decision: Decision) -> None:
        """Adds a decision of several episodes."""
        if self.player.counted:
            if self.tally is None:
                self.tally = Tally(self.player, decision.observation.shape[1:])
            self.tally.update(decision, self.lengths[decision.episode].tolist())
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
