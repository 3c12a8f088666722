"""The neurons of ANNs, asked in the same words as the spiking ones."""

from __future__ import annotations

from torch import Tensor, nn


class Activation(nn.Module):
    """A layer of an ANN's neurons: no membrane, no time."""

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
        """The activation of ``i`` with an empty state; the other arguments, which :meth:`snn_rl.core.lif.LIF.unroll`
        explains, have no effect."""
        return self(i), ()


class ReLU(Activation, nn.ReLU):
    """A layer of ReLUs, ``max(i, 0)``."""


class Tanh(Activation, nn.Tanh):
    """A layer of hyperbolic tangents."""
