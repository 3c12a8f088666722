"""The integer network in PyTorch: the reference, written to be read. What else computes it must agree in every bit.

Currents are convolutions in float64, which hold every integer below 2^53 exactly; membranes are int64 while they are
computed and int32 where they are kept.
"""

from __future__ import annotations

from typing import Any, cast

import torch as th
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.lif import LIF
from snn_rl.core.network import QNetwork, State
from snn_rl.core.spec import build, decay_shape, split_at_neurons
from snn_rl.engine.semantics import DECAY_BITS, Array, Integers, Neurons, Synapses


class IntegerNetwork(QNetwork):
    """A Q-network that computes with integers. Its state is int32: membranes, then the last spikes of recurrent layers.

    Args:
        integers: its numbers.
    """

    def __init__(self, integers: Integers) -> None:
        super().__init__(integers.spec, integers.T, integers.input_scale, integers.carry)
        self.integers = integers
        groups, layers = split_at_neurons(self.spec)
        self.synapses = nn.ModuleList(
            IntegerSynapses(group, own) for group, own in zip(groups, integers.synapses, strict=True)
        )
        shapes = [decay_shape(*pair) for pair in zip(groups, layers, strict=False)]
        self.neurons = nn.ModuleList(IntegerLIF(*pair) for pair in zip(integers.neurons, shapes, strict=True))
        self.recurrent = nn.ModuleDict(
            {str(n): _Recurrent(own.recurrent) for n, own in enumerate(integers.neurons) if own.recurrent is not None}
        )
        self.requires_grad_(False)

    def initial_state(self, batch: int, observation_shape: Any) -> State:
        """Membranes at rest, int32, for ``batch`` environments."""
        return tuple(v.int() for v in super().initial_state(batch, observation_shape))

    def unroll(
        self,
        observations: Tensor,
        state: State | None = None,
        episode_starts: Tensor | None = None,
        record: list[Tensor] | None = None,
    ) -> tuple[Tensor, State]:
        """As :meth:`QNetwork.unroll`, with the membranes as int32 and the Q-values as float64."""
        S, batch = observations.shape[:2]
        device = observations.device
        v = list(self.initial_state(batch, observations.shape[2:]) if state is None else state)
        v, z = v[: len(self.neurons)], dict(zip(map(int, self.recurrent), v[len(self.neurons) :], strict=True))
        sums, spikes = [], [list[Tensor]() for _ in self.neurons]
        for s in range(S):
            if not self.carry or episode_starts is not None:
                ends = episode_starts[s] if self.carry and episode_starts is not None else th.ones(batch, device=device)
                keep = 1 - ends.int()
                v, z = [_times(own, keep) for own in v], {n: _times(own, keep) for n, own in z.items()}
            seen = th.as_tensor(self.integers.seen(observations[s].cpu().numpy()), device=device)
            total = th.zeros((), dtype=th.long, device=device)
            for _ in range(self.T):
                sent, readout = self.timestep(seen, v, z)
                for own, now in zip(spikes, sent, strict=True):
                    own.append(now)
                total = total + readout
            sums.append(total)
        if record is not None:
            record += [th.stack(own).unflatten(0, (S, self.T)).float() for own in spikes]
        return th.stack(sums).double() * self.integers.form.q_scale, (*v, *z.values())

    def timestep(self, seen: Tensor, v: list[Tensor], z: dict[int, Tensor]) -> tuple[list[Tensor], Tensor]:
        """One timestep of all layers.

        Args:
            seen: the observation as integers.
            v: the membranes, layer by layer; changed in place, as is ``z``.
            z: the last spikes of the recurrent layers.

        Returns:
            The spikes of each layer, and what the readout adds.
        """
        spikes, sent = [], seen
        for n in range(len(self.neurons)):
            sent, v[n] = self._step(n, sent, v[n], z.get(n))
            spikes.append(sent)
            if n in z:
                z[n] = sent
        readout = cast(IntegerSynapses, self.synapses[-1])
        return spikes, readout(sent) + readout.bias

    def _step(self, n: int, sent: Tensor, v: Tensor, z: Tensor | None) -> tuple[Tensor, Tensor]:
        """One timestep of layer ``n``: its spikes, and its membrane after them.

        Args:
            n: which layer.
            sent: what arrives: the observation, or the spikes of the layer before.
            v: its membrane before.
            z: its own last spikes, where they arrive too.
        """
        if z is not None and z.shape != v.shape:
            said = f"the state has last spikes {tuple(z.shape)} where its membranes are {tuple(v.shape)}"
            raise UserError(f"{said}; pass on what the previous call returned")
        synapses, neurons = cast(IntegerSynapses, self.synapses[n]), cast(IntegerLIF, self.neurons[n])
        i = synapses(sent) << self.integers.form.fraction_bits[n]
        i = i + neurons.like(synapses.bias, i)
        if z is not None:
            i = i + (self.recurrent[str(n)](z) << neurons.shift)
        return neurons(i, v, self.integers.limit)


class IntegerSynapses(nn.Module):
    """Sums over pools, then a convolution or dense layer, without its bias: integers in, integers (int64) out."""

    weight: Tensor
    bias: Tensor

    def __init__(self, group: list[dict[str, Any]], own: Synapses) -> None:
        super().__init__()
        self.register_buffer("weight", th.from_numpy(own.weight))
        self.register_buffer("bias", th.from_numpy(own.bias))
        self.layers = [build(layer) for layer in group]  # a plain list: their weights are not ours

    def forward(self, x: Tensor) -> Tensor:
        x = x.double()
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                weight = self.weight.double()
                x = nn.functional.conv2d(
                    x, weight, None, layer.stride, cast(tuple[int, int], layer.padding), layer.dilation, layer.groups
                )
            elif isinstance(layer, nn.Linear):
                x = nn.functional.linear(x, self.weight.double())
            elif isinstance(layer, nn.AvgPool2d):
                x = nn.functional.avg_pool2d(x, layer.kernel_size, layer.stride, layer.padding, divisor_override=1)
            else:
                x = layer(x)
        return x.long()


class IntegerLIF(LIF):
    """Spiking neurons with integer membranes. ``v_th`` and ``decay`` are for readers."""

    threshold: Tensor
    decay_4096: Tensor
    shift: Tensor

    def __init__(self, own: Neurons, shape: tuple[int, ...]) -> None:
        super().__init__(v_th=own.v_th, shape=shape)
        for name in ("threshold", "decay", "shift"):
            value = getattr(own, name)
            if value is not None:
                self.register_buffer({"decay": "decay_4096"}.get(name, name), th.from_numpy(value))
        with th.no_grad():
            shown = th.from_numpy(own.decay / 2.0**DECAY_BITS).float()
            self.raw_decay.copy_(shown.reshape(shape) if shape else shown[0])

    def like(self, values: Tensor, i: Tensor) -> Tensor:
        """Values per channel, so that they broadcast to currents ``(batch, channels, ...)``."""
        return values.view(-1, *[1] * (i.dim() - 2))

    def forward(self, i: Tensor, v: Tensor, limit: int) -> tuple[Tensor, Tensor]:
        """One timestep.

        Args:
            i: current with bias, int64 ``(batch, *neurons)``.
            v: membrane before, int32.
            limit: of a membrane.

        Returns:
            Spikes and the membrane after, both int32.
        """
        if v.shape != i.shape or v.is_floating_point():  # PyTorch would stretch one that is narrower
            raise UserError(
                f"the state is {v.dtype} {tuple(v.shape)} where the layer is int32 {tuple(i.shape)}; pass on what the "
                "previous call returned"
            )
        v, threshold = v.long(), self.like(self.threshold, i)
        leaked = v.sign() * ((v.abs() * self.like(self.decay_4096, i)) >> DECAY_BITS)
        charged = leaked + i
        z = (charged > threshold).long()
        return z.int(), (charged - threshold * z).clamp(-limit, limit).int()


class _Recurrent(nn.Module):
    """Synapses within a layer: spikes int32 ``(batch, neurons)`` in, sums int64 out."""

    weight: Tensor

    def __init__(self, weight: Array) -> None:
        super().__init__()
        self.register_buffer("weight", th.from_numpy(weight))
        self.in_features = self.out_features = len(weight)

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.linear(z.double(), self.weight.double()).long()


def _times(values: Tensor, keep: Tensor) -> Tensor:
    return values * keep.view(-1, *[1] * (values.dim() - 1))
