"""The ANN's neuron, asked in the same words as the spiking one."""

from __future__ import annotations

from torch import Tensor, nn


class ReLU(nn.ReLU):
    """A layer of ReLUs: no membrane, no time."""

    def unroll(
        self, i: Tensor, state: tuple[Tensor, ...] | None, keep: Tensor, T: int, recurrent: nn.Module | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``max(i, 0)`` with an empty state; the other arguments, which :meth:`snn_rl.core.lif.LIF.unroll` explains, have no
        effect."""
        return self(i), ()
