"""What a network would compute that computes only what changed since its last decision: counted exactly, from its play.

A layer of synapses is linear. Its sums are kept from decision to decision; the weights behind each input that changed, times
that change, are added to them. An ANN does so in every layer, with its observation and with its activations; a spiking network
in the first one, since what follows it are spikes, and where it sees numbers beside an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch as th
from torch import Tensor, nn

from snn_rl.core.network import QNetwork
from snn_rl.core.reach import Reach
from snn_rl.core.spec import has_lstm

WORD = 4  # bytes


class ChangeCounter:
    """Counts what a network would do for changes.

    What is kept is counted in accesses to 32 bits. The last observation is read and written (four pixels a word). Each sum
    that a change reaches is read and written; the others stay where they are. The neurons of a spiking network also read the
    first layer's current at every timestep.

    Args:
        network: an ANN or a spiking network.
        observation_shape: of one observation.

    Attributes:
        countable: whether it can be counted: every weighted layer has neurons behind it, or is the readout, and none of
            these neurons are LSTMs.
    """

    def __init__(self, network: QNetwork, observation_shape: Sequence[int]) -> None:
        shapes, twin = network.shapes(observation_shape), QNetwork(network.spec, T=0)
        synapses = [cast(nn.Sequential, synapse) for synapse in twin.synapses]
        alone = all(sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in one) == 1 for one in synapses)
        self.countable = alone and not has_lstm(network.spec)
        counted = slice(0, 1) if network.spiking else slice(None)
        arriving = [tuple(observation_shape), *shapes]
        self._reaches = [Reach(*pair) for pair in zip(synapses[counted], arriving, strict=False)]
        self._beside = [cast(nn.Linear, layer).out_features for layer in network.beside.values()]
        kept = sum(self._beside) + (th.Size(shapes[0]).numel() if shapes else 0)
        self._current = network.T * kept if network.spiking else 0
        self._network = network

    def __call__(self, before: Sequence[Tensor], now: Sequence[Tensor]) -> tuple[float, float]:
        """Counts some decisions.

        Args:
            before: the observations ``(rows, *observation)`` of the decisions before these, and of an ANN what each layer sent
                on, ``(rows, *neurons)``.
            now: the same of these decisions.

        Returns:
            Multiply-accumulates and accesses, summed over the rows.
        """
        seen = now[0]
        pixels = self._network.pixels  # bytes, also where they come as floats, with numbers behind them
        words = -(-(seen[0].numel() - pixels) * min(seen.element_size(), WORD) // WORD) - (-pixels // WORD)
        macs, accesses = 0.0, float(len(seen) * (2 * words + self._current))
        for reach, old, new in zip(self._reaches, before, now, strict=False):
            changed = (new != old).float()
            macs += reach(changed)
            accesses += 2 * reach.touched(changed)
        changed = (self._network.numbers(now[0]) != self._network.numbers(before[0])).float() if self._beside else seen[:0]
        for width in self._beside:
            macs += float(changed.sum()) * width
            accesses += 2 * float((changed.sum(-1) > 0).sum()) * width
        return macs, accesses


class Last:
    """What each episode showed last and, of an ANN, what its layers made of it. An episode begins after an observation of
    zeros.

    Args:
        network: on any device.
        observation: one, of which form and type are taken.
    """

    def __init__(self, network: QNetwork, observation: Tensor) -> None:
        zeros = th.zeros_like(observation)
        self._rest = [zeros, *(layer[0] for layer in activations(network, zeros[None]))]
        self._known: dict[int, list[Tensor]] = {}

    def swap(self, episodes: Sequence[int], now: Sequence[Tensor]) -> list[Tensor]:
        """Takes what is seen and sent on now, a row for each episode; returns what was before, in the same form."""
        before = [th.stack(rows) for rows in zip(*(self._known.get(e, self._rest) for e in episodes), strict=True)]
        for row, episode in enumerate(episodes):
            self._known[episode] = [part[row] for part in now]
        return before

    def forget(self, episode: int) -> None:
        """An episode is over."""
        self._known.pop(episode, None)


def activations(network: QNetwork, observations: Tensor) -> list[Tensor]:
    """What each layer of an ANN sends on for observations ``(rows, *observation)``; nothing of a spiking network."""
    layers: list[Tensor] = []
    if not network.spiking:
        with th.no_grad():
            network.unroll(observations[None].to(next(network.parameters()).device), None, None, layers)
    return [layer[0, 0].cpu() for layer in layers]
