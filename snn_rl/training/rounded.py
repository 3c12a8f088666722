"""Fine-tuning for few bits: a student whose weights are rounded as those of integers while it plays and learns."""

from __future__ import annotations

from typing import Any, cast

import torch as th
from torch import Tensor, nn

from snn_rl.core.network import QNetwork
from snn_rl.engine.rounding import rounded


class Rounded:
    """Rounds the weights of a student's spiking layers, but not while its optimiser steps.

    The gradient is that of the rounded weights; the step is taken from exact ones, which then are rounded anew: the
    straight-through estimator (Bengio, Léonard and Courville 2013). The readout and recurrent synapses stay exact.

    Args:
        student: whose weights are rounded in place, now and after each step.
        optimizer: its optimiser.
        bits: of a weight, its sign included.
    """

    def __init__(self, student: QNetwork, optimizer: th.optim.Optimizer, bits: int) -> None:
        self.top = 2 ** (bits - 1) - 1
        layers = [list(group.children())[-1] for group in list(student.synapses)[:-1]]
        self.weights = [cast(nn.Conv2d | nn.Linear, layer).weight for layer in layers]
        self.exact = [weight.detach().clone() for weight in self.weights]
        optimizer.register_step_pre_hook(lambda *_: self._write(self.exact))
        optimizer.register_step_post_hook(lambda *_: self._round())
        self._round()

    def _write(self, values: list[Tensor]) -> None:
        with th.no_grad():
            for weight, value in zip(self.weights, values, strict=True):
                weight.copy_(value)

    def _round(self) -> None:
        self.exact = [weight.detach().clone() for weight in self.weights]
        self._write([on_grid(weight, self.top) for weight in self.exact])

    def state_dict(self) -> dict[str, Any]:
        """The exact weights."""
        return {"exact": self.exact}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a :meth:`state_dict` back."""
        self._write(state["exact"])
        self._round()


def on_grid(weight: Tensor, top: int) -> Tensor:
    """The weights that the integers of :func:`~snn_rl.engine.rounding.quantise` stand for.

    Args:
        weight: ``(channels, ...)``.
        top: the largest integer.
    """
    scale = (weight.flatten(1).abs().amax(1) / top).clamp_min(1e-12).view(-1, *[1] * (weight.dim() - 1))
    integers = rounded((weight / scale).cpu().double().numpy(), top)
    return th.from_numpy(integers).to(weight.device, weight.dtype) * scale
