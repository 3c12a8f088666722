"""The neuron: leaky integrate-and-fire with a soft reset, one equation in one place.

The order integrate - fire - reset within one timestep is that of Chowdhury, Rathi, Roy (ECCV 2022) and its released code.
Nothing here keeps a membrane: state goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch as th
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.surrogate import SHAPES, USUAL, Surrogate

MIN_DECAY = 1e-3

Decay = float | tuple[float, float]
"""One decay for all neurons of a layer, or a pair between which the decays of its channels are spread."""


def check_state(state: Iterable[Tensor], shape: tuple[int, ...]) -> None:
    """Raises UserError for a state of another shape than the layer, ``(batch, *neurons)``: PyTorch would stretch one that is
    narrower."""
    for given in state:
        if tuple(given.shape) != tuple(shape):
            raise UserError(
                f"the state is {tuple(given.shape)} where the layer is {tuple(shape)}; pass on what the previous call gave"
            )


class _Clamp(th.autograd.Function):
    """Clamp whose gradient, at a bound, still passes when it points back inside.

    ``Tensor.clamp`` has no gradient beyond a bound: a decay that starts at 1 (no leak) could never begin to leak.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (x,), g = ctx.saved_tensors, grad_outputs[0]
        outward = ((x >= ctx.high) & (g < 0)) | ((x <= ctx.low) & (g > 0))  # descent moves against the gradient
        return g.masked_fill(outward, 0.0), None, None


def lif_step(i: Tensor, v: Tensor, v_th: Tensor, decay: Tensor, surrogate: Surrogate = USUAL) -> tuple[Tensor, Tensor]:
    """One timestep of the leaky integrate-and-fire neuron::

        v <- decay * v + i              integrate
        z  = 1 if v > v_th else 0       fire (strict)
        v <- v - v_th * z               soft reset, in the same timestep

    Backward, ``dz/du`` is the surrogate gradient of ``u = v / v_th - 1``: in the paper ``0.3 * max(0, 1 - |u|)``. The reset
    carries none: ``z`` is a constant in it, while ``v_th`` still gets its gradient from it (both as in the paper's code).

    This is the definition, in plain operations: to read, to export (without gradients it is the three lines above alone), and
    to test :func:`fast_lif_step` against, which computes the same in fewer passes over memory.

    A membrane without leak does not grow for ever, nor to infinity: in float32 it stays below 2**25 times the largest current,
    where adding the current changes it no more. A clamp would cost a pass over memory at every timestep, and there is none.

    Args:
        i: input current ``(batch, *neurons)``.
        v: membrane potential before the timestep, same shape.
        v_th: firing threshold, positive, broadcastable to ``i``.
        decay: part of ``v`` kept per timestep, in (0, 1]; 1 is no leak. Broadcastable to ``i``.
        surrogate: gradient of ``z``.

    Returns:
        Spikes ``z`` (0.0 or 1.0, in the precision of ``i``) and the membrane potential after the reset (in that of ``v``),
        both shaped like ``i``.
    """
    charged = decay * v + i
    u = charged / v_th - 1
    z = (u > 0).to(u.dtype)
    after = charged - v_th * z
    if th.is_grad_enabled():
        z = z + surrogate.of(u.detach()) * (u - u.detach())  # adds 0, and the surrogate gradient
    return z.to(i.dtype), after


def fast_lif_step(
    i: Tensor, v: Tensor | None, v_th: Tensor, decay: Tensor, surrogate: Surrogate = USUAL, *, reset: bool = True
) -> tuple[Tensor, Tensor | None]:
    """What :func:`lif_step` says, by a backward pass written by hand: it is most of what a training does. Without ``v`` from
    rest; without ``reset`` the membrane after it, which is then None, is not computed."""
    if th.is_grad_enabled():
        stepped: tuple[Tensor, Tensor | None] = _Step.apply(i, v, v_th, decay, surrogate, reset)
        return stepped
    return _charged(i, v, v_th, decay, reset)[1:]


def _charged(i: Tensor, v: Tensor | None, v_th: Tensor, decay: Tensor, reset: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """The membrane before the reset, the spikes, and the membrane after it."""
    if v is None and not reset:  # the current is the membrane: in half precision too it is compared as it is
        return i, th.gt(i, _rounded_down(v_th, i.dtype), out=th.empty_like(i)), None
    charged = i.to(th.promote_types(i.dtype, th.float32)) if v is None else (decay * v).add_(i)
    z = th.gt(charged, v_th, out=th.empty_like(charged))  # where charged / v_th is above 1, in floating point too
    return charged, z.to(i.dtype), th.addcmul(charged, z, v_th, value=-1) if reset else None


def _rounded_down(x: Tensor, dtype: th.dtype) -> Tensor:
    """Positive numbers ``x`` rounded down to those of a type: a number of that type is above these where it is above ``x``."""
    near = x.to(dtype)
    return near if dtype == x.dtype else th.where(near > x, th.nextafter(near, th.zeros_like(near)), near)


def _rows(i: Tensor) -> Sequence[Tensor]:
    """The currents ``(batch, *neurons)`` in those of :meth:`LIF.unroll`, in order. Not by their index, whose gradient would be
    a tensor of the full size each time; the gradient of one alone is not copied at all."""
    return i.flatten(0, 1).unbind(0) if i.shape[:2].numel() > 1 else [i.view(i.shape[2:])]


class _Step(th.autograd.Function):
    """Forward and backward of :func:`fast_lif_step`: few passes over memory, and no boolean tensors, which PyTorch converts
    slowly on CPUs.

    Forward: the charged membrane ``c = decay * v + i``, the spikes ``z``, and ``after = c - v_th * z``.
    Backward, ``u = c / v_th - 1``, ``dz`` and ``dafter`` arrive, and these gradients leave::

        s      = dz * surrogate(u) / v_th                   of c, through z
        di     = s + dafter                                 of c: after is c less a constant
        dv     = decay * di
        ddecay = sum(v * di)
        dv_th  = -sum(z * dafter + s * (1 + u))             du/dv_th = -c / v_th^2 = -(1 + u) / v_th

    ``sum`` is over the neurons that share a threshold or a decay. What is 0 is not computed: what rest gives, and what comes
    of ``dafter`` where nothing was made of the membrane.
    """

    @staticmethod
    def forward(
        ctx: Any, i: Tensor, v: Tensor | None, v_th: Tensor, decay: Tensor, surrogate: Surrogate, reset: bool
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        charged, z, after = _charged(i, v, v_th, decay, reset)
        ctx.save_for_backward(charged, v, v_th, decay)
        ctx.surrogate = surrogate
        return z, after

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        charged, v, v_th, decay = ctx.saved_tensors
        dz, dafter = grad_outputs
        u = charged.to(th.promote_types(charged.dtype, th.float32), copy=True).div_(v_th).sub_(1)
        s = th.zeros_like(u) if dz is None else SHAPES[ctx.surrogate.shape](u).mul_(dz).mul_(ctx.surrogate.height / v_th)
        if dafter is None:
            di, dv_th = s, -th.addcmul(s, s, u, out=u).sum_to_size(v_th.shape)
        else:
            work = th.gt(u, 0, out=th.empty_like(u))  # z, then z * dafter + s * (1 + u)
            dv_th = -work.mul_(dafter).add_(s).addcmul_(s, u).sum_to_size(v_th.shape)
            di = s.add_(dafter)  # s is not needed any more
        if v is None:
            return di, None, dv_th, th.zeros_like(decay), None, None
        dv = di * decay if ctx.needs_input_grad[1] else None
        return di, dv, dv_th, (di * v).sum_to_size(decay.shape), None, None


class LIF(nn.Module):
    """A layer of LIF neurons with a trainable threshold and a trainable decay.

    Both are ``nn.Parameter`` because Stable-Baselines3 copies parameters, not buffers, to the target network.
    ``v_th`` is positive by construction (its logarithm is what is trained); ``decay`` lies in [0.001, 1].

    The threshold is one scalar: a threshold per neuron can express nothing more, since the weights before and behind a
    neuron can scale its membrane as well. The decay is one scalar as in the paper, or one per channel: neurons that forget at
    different speeds together tell how their input changes (heterogeneous time constants, Perez-Nieves et al. 2021).

    Args:
        v_th: initial threshold, above 0.
        decay: initial decay, in (0, 1]; a pair spreads the decays of the channels evenly from its first to its second.
        shape: of the decay: ``()``, or what broadcasts to the neurons with one element per channel.

    Attributes:
        surrogate: the gradient that its spikes pass backward; no part of what the network is.
        plain: run :func:`lif_step` instead of :func:`fast_lif_step`, for exports; the spikes are the same.

    Raises:
        ValueError: if ``v_th`` or ``decay`` is out of range.
    """

    def __init__(self, v_th: float = 1.0, decay: Decay = 1.0, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.surrogate = USUAL
        self.plain = False
        self.log_v_th = nn.Parameter(th.empty(()))
        self.raw_decay = nn.Parameter(th.empty(shape))
        self.set(v_th=v_th, decay=decay)

    def set(self, *, v_th: float | None = None, decay: Decay | None = None) -> None:
        """Sets the threshold and/or the decay in place; a pair as in the constructor."""
        with th.no_grad():
            if v_th is not None:
                if not 0 < v_th < float("inf"):
                    raise ValueError(f"v_th must be a finite number above 0, got {v_th}")
                log_v_th = th.tensor(v_th, device="cpu").log()  # on the meta device this would import a compiler
                self.log_v_th.fill_(log_v_th.item())
            if decay is not None:
                low, high = decay if isinstance(decay, tuple) else (decay, decay)
                if not (MIN_DECAY <= low <= 1 and MIN_DECAY <= high <= 1):
                    raise ValueError(f"decay must lie in [{MIN_DECAY}, 1], got {decay}")
                if low != high and self.raw_decay.dim() == 0:
                    raise ValueError(f"one decay for the whole layer cannot be spread from {low} to {high}")
                self.raw_decay.copy_(th.linspace(low, high, self.raw_decay.numel()).view_as(self.raw_decay))

    @property
    def v_th(self) -> Tensor:
        """Firing threshold, a positive scalar."""
        return self.log_v_th.exp()

    @property
    def decay(self) -> Tensor:
        """Part of the membrane potential kept per timestep, in (0, 1]: a scalar, or one per channel."""
        decay: Tensor = _Clamp.apply(self.raw_decay, MIN_DECAY, 1.0)
        return decay

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
        """T timesteps for each of S environment steps.

        Args:
            i: current ``(S, T, batch, *neurons)``, or ``(S, 1, batch, *neurons)`` where it is the same at each timestep.
            state: the membrane ``(batch, *neurons)`` before the first step; with ``recurrent`` also the spikes of the timestep
                before it, of the same shape. None for rest.
            keep: ``(S, batch)``, 1 to carry the state into that environment step and 0 to start it from rest.
            T: timesteps per environment step.
            recurrent: synapses from the layer's spikes to its own current at the next timestep; None for none.
            after: compute the state after the last step; otherwise it is ``()``.

        Returns:
            Spikes ``(S, T, batch, *neurons)`` and the state after the last step.
        """
        v: Tensor | None = state[0] if state else None
        z = state[1] if state and len(state) > 1 else None
        v_th, decay = self.v_th, self.decay if v is not None or len(i) * T > 1 else self.raw_decay  # from rest nothing leaks
        if recurrent is not None and z is None:
            z = i.new_zeros(i.shape[2:])
        check_state([given for given in (v, z) if given is not None], i.shape[2:])
        rows, same = _rows(i), i.shape[1] == 1
        spikes: list[Tensor] = []
        for n in range(len(i) * T):
            s, t = divmod(n, T)
            if t == 0 and v is not None:
                v = v * keep[s].reshape(-1, *[1] * (v.dim() - 1))
            i_t = rows[s if same else n]
            if recurrent is not None and z is not None:
                i_t = i_t + recurrent(z if t else z * keep[s].reshape(-1, *[1] * (z.dim() - 1)))
            z, v = self._step(i_t, v, v_th, decay, after or n < len(i) * T - 1)
            spikes.append(z)
        sent = (th.stack(spikes) if len(spikes) > 1 else spikes[0]).view(len(i), T, *i.shape[2:])
        if v is None or z is None or not after:
            return sent, ()
        return sent, (v,) if recurrent is None else (v, z)

    def _step(self, i: Tensor, v: Tensor | None, v_th: Tensor, decay: Tensor, reset: bool) -> tuple[Tensor, Tensor | None]:
        if not self.plain:
            return fast_lif_step(i, v, v_th, decay, self.surrogate, reset=reset)
        return lif_step(i, th.zeros_like(i) if v is None else v, v_th, decay, self.surrogate)

    def extra_repr(self) -> str:
        decay = self.decay.detach()
        shown = f"{decay.item():.4g}" if decay.dim() == 0 else f"{decay.min():.4g}..{decay.max():.4g}"
        return f"v_th={self.v_th.item():.4g}, decay={shown}, surrogate={self.surrogate}"
