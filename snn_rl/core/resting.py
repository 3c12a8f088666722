"""Neurons at rest, which need no update: counted exactly, from a network's play."""

from __future__ import annotations

from collections.abc import Sequence

import torch as th
from torch import Tensor

from snn_rl.core.network import QNetwork

WORD = 32  # neurons whose bits are one access


class Resting:
    """Counts the updates of a spiking network that leaves neurons at rest alone.

    An update that leaves a membrane as it was, without a spike, brings a neuron to rest: the same input would leave it so for
    ever. It is left alone until another input arrives. Nothing else would come of updating it, so what a network does stays
    the same to the last bit. Here an input is another one if it moves the membrane or makes a spike.

    A bit for each neuron says whether it rests; these bits are read and written at each decision.

    Args:
        network: of one timestep per decision, which carries its membranes; see :meth:`fits`.
    """

    def __init__(self, network: QNetwork) -> None:
        self._network = network
        self._known: dict[int, list[tuple[Tensor, Tensor]]] = {}

    @staticmethod
    def fits(network: QNetwork) -> bool:
        """Whether decisions show every update: they do at one timestep. Membranes that begin anew never come to rest."""
        return network.T == 1 and network.remembers

    def __call__(self, episodes: Sequence[int], state: tuple[Tensor, ...], spikes: Sequence[Tensor]) -> list[float]:
        """Counts one decision of several episodes.

        Args:
            episodes: one for each row.
            state: after the decision, rows first.
            spikes: of each layer, ``(1, rows, *neurons)``.

        Returns:
            Updates of each layer, summed over the rows.
        """
        updates = []
        before = [self._known.get(episode) for episode in episodes]
        after: list[list[tuple[Tensor, Tensor]]] = [[] for _ in episodes]
        for n, (v, z) in enumerate(zip(self._network.membranes_of(state), spikes, strict=True)):
            old = [(th.zeros_like(v[0]), th.zeros_like(v[0], dtype=th.bool)) if one is None else one[n] for one in before]
            rested = th.stack([rest for _, rest in old])
            stays = (v == th.stack([membrane for membrane, _ in old])) & (z[0] == 0)
            updates.append(float((~(rested & stays)).sum()))
            for row, own in enumerate(after):
                own.append((v[row], stays[row]))
        self._known.update(zip(episodes, after, strict=True))
        return updates

    def forget(self, episode: int) -> None:
        """An episode is over."""
        self._known.pop(episode, None)


def bits(neurons: Sequence[int]) -> int:
    """Accesses to 32 bits per decision for the bits of layers of so many neurons: read and written."""
    return 2 * sum(-(-own // WORD) for own in neurons)
