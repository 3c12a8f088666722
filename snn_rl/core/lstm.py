"""The neurons of an ANN that remembers: a long short-term memory (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

import torch as th
from torch import Tensor, nn

from snn_rl.core.lif import check_state

GATES = 4  # currents of a cell: input gate, forget gate, candidate, output gate
CANDIDATE = 2  # place of the candidate among them


class LSTM(nn.Module):
    """A layer of LSTM cells, as PyTorch computes them::

        i, f, g, o = the current in four parts, what the layer sent last included
        c <- sigmoid(f) * c + sigmoid(i) * tanh(g)      the cell
        h <- sigmoid(o) * tanh(c)                       what it sends

    It has no weights: those for what is sent to it are its synapses, those for what it sent last its recurrent synapses, as
    of a spiking layer. Both biases of PyTorch are one.

    Args:
        recurrent: how many cells; what they send reaches all of them.
    """

    def __init__(self, recurrent: int) -> None:
        super().__init__()
        self.recurrent = recurrent

    def unroll(
        self,
        i: Tensor,
        state: tuple[Tensor, ...] | None,
        keep: Tensor,
        T: int,
        recurrent: nn.Module | None = None,
        *,
        after: bool = True,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One update for each of S environment steps.

        Args:
            i: current ``(S, 1, batch, 4 * recurrent)``.
            state: the cells and what they sent, ``(batch, recurrent)`` each, before the first step; None for rest.
            keep: ``(S, batch)``, 1 to carry the state into that environment step and 0 to start it from rest.
            T: without effect, as is ``after``.
            recurrent: synapses from what the layer sent to its own current at the next environment step.

        Returns:
            What it sends ``(S, 1, batch, recurrent)``, and the state after the last step.
        """
        assert recurrent is not None
        c, h = state or [i.new_zeros(i.shape[2], self.recurrent)] * 2
        check_state((c, h), (i.shape[2], self.recurrent))
        sent = []
        for current, kept in zip(i.squeeze(1).unbind(0), keep.unsqueeze(-1).unbind(0), strict=True):
            gate, forget, candidate, out = (current + recurrent(h * kept)).chunk(GATES, -1)
            c = forget.sigmoid() * c * kept + gate.sigmoid() * candidate.tanh()
            h = out.sigmoid() * c.tanh()
            sent.append(h)
        return th.stack(sent).unsqueeze(1), (c, h)

    def extra_repr(self) -> str:
        return str(self.recurrent)


def sent_by(neurons: nn.Module, i: Tensor) -> Tensor:
    """A tensor of the shape that a layer of neurons sends for a current ``(batch, *neurons)``."""
    return i[:, : neurons.recurrent] if isinstance(neurons, LSTM) else i
