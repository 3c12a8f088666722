"""Q-networks as one flat list of layers, unrolled over environment steps and over T timesteps: ``(obs, state) -> (q, state)``.

A network is ``synapse, neuron, synapse, neuron, ..., synapse``. With ``T >= 1`` the neurons are LIF; with ``T = 0`` they are
ReLU, Tanh or LSTM and the network is an ANN. Both go through the same code: only the neurons know which they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import reduce
from itertools import zip_longest
from typing import Any, cast

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from snn_rl.core.activations import Activation, ReLU, Tanh
from snn_rl.core.counts import Changes
from snn_rl.core.errors import UserError
from snn_rl.core.lif import LIF
from snn_rl.core.lstm import GATES, LSTM, sent_by
from snn_rl.core.observed import check_observed
from snn_rl.core.spec import Spec, analog, build, decay_shape, has_lstm, image_of, numbers_beside, spiking, split_at_neurons
from snn_rl.core.surrogate import Surrogate

State = tuple[Tensor, ...]
"""One membrane ``(batch, *neurons)`` per spiking layer, then the last spikes of each recurrent layer. Of an ANN the cells of
each LSTM, then what each of them sent last; ``()`` for one that has none."""

Neuron = LIF | Activation | LSTM
"""A layer of neurons; what a network asks of it is ``unroll``."""


class QNetwork(nn.Module):
    """Synapses and neurons in turn; the last synapses are the readout and do not fire.

    The first layer sees the real-valued observation (direct encoding): its current is the same at each of the T timesteps
    and is computed once per decision. So is that of numbers beside an image, see :data:`~snn_rl.core.spec.Spec`. Spikes are
    0/1. ``q`` is the mean over T of the readout's current.

    Args:
        spec: the layers, see :data:`~snn_rl.core.spec.Spec`: of the ANN or of the spiking network, whatever ``T`` is.
        T: timesteps per decision; 0 for the ANN.
        input_scale: factor on the observation (1/255 for pixels); not on numbers beside an image.
        carry: keep the membranes from one environment step to the next; otherwise each decision starts from rest.

    Attributes:
        spec: what it is given as, in the words of what it is now: its neurons are called LIF, those of an ANN ReLU,
            Tanh or LSTM.
        image: size of the image with which observations begin that are one vector, see :data:`~snn_rl.core.spec.Spec`.
        pixels: in it; 0 where observations are one thing.
        aside: numbers behind it.
        beside: by layer, the weights of the numbers behind the image.
        changes: of a network that computes only what changes.
        dropout: in training mode, the part of what each layer of neurons sends that is lost: the same neurons are silent at
            all T timesteps of a decision (Rathi et al. 2020).

    Raises:
        ValueError: if ``T`` is negative.
        UnconvertibleError: if the spec is not a network.
    """

    changes: Changes | None = None
    dropout: float = 0.0

    def __init__(self, spec: Spec, T: int, input_scale: float = 1.0, carry: bool = True) -> None:
        super().__init__()
        if T < 0:
            raise ValueError(f"T must be at least 1 for a spiking network (0 is the ANN), got {T}")
        self.spec = spiking(spec) if T else analog(spec)
        self.T, self.input_scale, self.carry = T, input_scale, carry
        groups, neurons = split_at_neurons(self.spec)
        self.synapses = nn.ModuleList(nn.Sequential(*map(build, group)) for group in groups)
        self.neurons = nn.ModuleList(_neuron(layer, group) for layer, group in zip(neurons, groups, strict=False))
        self.recurrent = nn.ModuleDict()
        for n, layer in enumerate(neurons):
            if "recurrent" in layer:
                gates = GATES if layer["type"] == "LSTM" else 1
                synapses = nn.Linear(layer["recurrent"], gates * layer["recurrent"], bias=False)
                nn.init.zeros_(synapses.weight)  # at first the network is what it is without them
                self.recurrent[str(n)] = synapses
        self.image, beside = image_of(self.spec), numbers_beside(groups)
        self.pixels, self.aside = math.prod(self.image) if self.image else 0, max(beside.values(), default=0)
        widths = {str(n): (size, groups[n][-1]["out_features"]) for n, size in beside.items()}
        self.beside = nn.ModuleDict({n: nn.Linear(*width, bias=False) for n, width in widths.items()})
        conv, fc = 0, 0
        self.layer_names: list[str] = []
        for group in groups:  # conv1, conv2, fc1, ...: the names used in cards, tables and plots
            if any(layer["type"] == "Conv2d" for layer in group):
                conv += 1
                self.layer_names.append(f"conv{conv}")
            else:
                fc += 1
                self.layer_names.append(f"fc{fc}")

    @property
    def spiking(self) -> bool:
        """Whether its neurons spike; those of an ANN do not."""
        return self.T > 0

    @property
    def remembers(self) -> bool:
        """Whether a decision depends on those before it: it spikes or has LSTMs, and what they keep is carried."""
        return self.carry and (self.spiking or has_lstm(self.spec))

    @property
    def keeping(self) -> list[int]:
        """The layers of neurons that keep something from one decision to the next; none of an ANN without LSTMs."""
        return [n for n, neuron in enumerate(self.neurons) if not isinstance(neuron, Activation)]

    @property
    def lifs(self) -> list[LIF]:
        """The spiking layers, first to last; empty for an ANN."""
        return [neuron for neuron in self.neurons if isinstance(neuron, LIF)]

    def learn_by(self, surrogate: str) -> None:
        """Sets the surrogate gradient of all spiking layers, see :meth:`~snn_rl.core.surrogate.Surrogate.read`."""
        for lif in self.lifs:
            lif.surrogate = Surrogate.read(surrogate)

    def shapes(self, observation_shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Shape of each layer of neurons, without batch, for an observation of the given shape.

        Raises:
            ValueError: if the network cannot take such an observation.
        """
        x = th.zeros(1, *observation_shape, device=next(self.parameters()).device)
        shapes = []
        try:
            if self.image is not None and (*observation_shape,) != (self.pixels + self.aside,):
                raise RuntimeError("not an image with so many numbers behind it")
            with th.no_grad():
                for synapse, neuron in zip_longest(self.synapses, self.neurons):
                    x = sent_by(neuron, sized(synapse, x))
                    shapes.append(tuple(x.shape[1:]))
        except RuntimeError as error:
            first = "x".join(map(str, observation_shape))
            raise ValueError(f"the network does not fit observations of shape {first}") from error
        if len(shapes[-1]) != 1:
            raise ValueError(f"the network's output has shape {shapes[-1]}, expected one Q-value per action")
        return shapes[:-1]

    def initial_state(self, batch: int, observation_shape: Sequence[int]) -> State:
        """Membranes at rest, for ``batch`` environments."""
        device, shapes = next(self.parameters()).device, self.shapes(observation_shape)
        at = [*self.keeping, *map(int, self.recurrent)]
        return tuple(th.zeros(batch, *shapes[n], device=device) for n in at)

    def forward(
        self, observation: Tensor, state: State | None = None, episode_start: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """One decision per environment.

        Args:
            observation: ``(batch, *observation)``, unscaled.
            state: membranes after the previous decision; None for rest.
            episode_start: ``(batch,)``, true where an episode begins and the membrane is zeroed.

        Returns:
            Q-values ``(batch, actions)`` and the membranes after the decision.

        Raises:
            UserError: if the state or the starts are for another number of environments, the state is of another network, or
                an observation is not finite, or the values are not.
        """
        check_observed(observation)
        if state is not None and len(state) != (own := len(self.keeping) + len(self.recurrent)):
            raise UserError(
                f"the state has {len(state)} tensors where this network's has {own}; pass on what the previous call returned"
            )
        for name, rows in {"the state": state[0] if state else None, "episode_start": episode_start}.items():
            if rows is not None and len(rows) != len(observation):
                raise UserError(f"{name} is for {len(rows)} environments but {len(observation)} observations were given")
        q, state = self.unroll(observation[None], state, None if episode_start is None else episode_start[None])
        if not math.isfinite(q.detach().sum()):  # the best of these would be a matter of chance
            raise UserError(
                "the network's values are NaN or infinite: its weights are too large for such observations; scale the "
                "observations, or train it anew"
            )
        return q[0], state

    def unroll(
        self,
        observations: Tensor,
        state: State | None = None,
        episode_starts: Tensor | None = None,
        record: list[Tensor] | None = None,
    ) -> tuple[Tensor, State]:
        """S consecutive decisions per environment, computed layer by layer (no layer feeds back to one before it, so each
        layer's synapses run as one large batch over environment steps and timesteps).

        Args:
            observations: ``(S, batch, *observation)``, unscaled.
            state: membranes before the first; None for rest.
            episode_starts: ``(S, batch)``, true where an episode begins: the membrane is zeroed before that decision.
            record: where given, gets each layer's output appended: spikes ``(S, T, batch, *neurons)``, for an ANN its
                activations ``(S, 1, batch, *neurons)``.

        Returns:
            Q-values ``(S, batch, actions)`` and the membranes after the last decision.
        """
        return self._unroll(observations, state, episode_starts, record, after=True)

    def values(
        self, observations: Tensor, state: State | None = None, start: Tensor | None = None, record: list[Tensor] | None = None
    ) -> Tensor:
        """Q-values as of :meth:`unroll`, where nothing goes on from the last decision: its membranes are not computed."""
        return self._unroll(observations, state, start, record, after=False)[0]

    def _unroll(
        self, observations: Tensor, state: State | None, starts: Tensor | None, record: list[Tensor] | None, after: bool
    ) -> tuple[Tensor, State]:
        S, batch = observations.shape[:2]
        x = self.scaled(observations).unsqueeze(1)  # (S, 1, batch, ...): the same current at each timestep
        keep = (
            1 - starts.float()
            if starts is not None and self.carry
            else th.full((S, batch), float(self.carry), device=x.device)
        )
        before, states, recurrent = self.state_by_layer(state), list[State](), dict(self.recurrent.items())
        for n, neuron in enumerate(self.neurons):
            i = self.with_numbers(n, _apply(self.synapses[n], x), observations.unsqueeze(1))
            x, own = cast(Neuron, neuron).unroll(i, before[n], keep, self.T, recurrent.get(str(n)), after=after)
            states.append(own)
            if record is not None:
                record.append(x)
            if self.dropout and self.training:
                x = x * F.dropout(th.ones_like(x[:, :1]), self.dropout)
        # The readout is affine, so the mean of its current is its current for the mean spike. It is never computed in half
        # precision: in one Pong ANN bfloat16 changed the best action in 8 % of 512 observations, 1 % with this in float32.
        with th.autocast(x.device.type, enabled=False):
            q = self.synapses[-1](x.float().mean(1).flatten(0, 1)).unflatten(0, observations.shape[:2])
            q = self.with_numbers(len(self.neurons), q, observations)
        return q, membranes_first(states)

    def scaled(self, observations: Tensor) -> Tensor:
        """Observations times ``input_scale``; in half precision where products are, if they are bytes: that loses nothing."""
        half = observations.dtype == th.uint8 and th.is_autocast_enabled(observations.device.type)
        return observations.to(th.get_autocast_dtype(observations.device.type) if half else th.float32) * self.input_scale

    def numbers(self, observations: Tensor) -> Tensor:
        """The numbers behind the image of observations ``(..., numbers)``, unscaled."""
        return observations[..., self.pixels :].float()

    def with_numbers(self, n: int, i: Tensor, observations: Tensor) -> Tensor:
        """The current ``i`` of synapses ``n``, with what the numbers beside an image add to it.

        Args:
            i: ``(..., neurons)``, of synapses ``n``.
            observations: ``(..., *observation)``, where ``...`` broadcasts to that of ``i``; unscaled.
        """
        return i + self.beside[str(n)](self.numbers(observations)) if str(n) in self.beside else i

    def state_by_layer(self, state: State | None) -> list[State | None]:
        """The state of each layer of neurons: nothing of ReLUs and Tanhs, the membrane of a LIF and its last spikes if
        recurrent, the cells of an LSTM and what they sent last."""
        if state is None:
            return [None] * len(self.neurons)
        by_layer: list[State] = [()] * len(self.neurons)
        for n, kept in zip([*self.keeping, *map(int, self.recurrent)], state, strict=True):
            by_layer[n] += (kept,)
        return list(by_layer)

    def membranes_of(self, state: State) -> State:
        """The membranes in a state, layer by layer, ``(batch, *neurons)``."""
        return state[: len(self.lifs)]

    def burn_in(self, observations: Tensor, episode_starts: Tensor) -> State:
        """Membranes after decisions from rest that are not learnt from; see :meth:`unroll`. Without a gradient."""
        with th.no_grad():
            _, state = self.unroll(observations, None, episode_starts)
        th.clear_autocast_cache()  # older PyTorch (#165068) keeps weights there as they were cast: without a gradient
        return state


def membranes_first(by_layer: Sequence[State]) -> State:
    """The state of a network from those of its layers: see :data:`State`."""
    return (*(v for own in by_layer for v in own[:1]), *(z for own in by_layer for z in own[1:]))


def _neuron(layer: dict[str, Any], group: Spec) -> Neuron:
    """The layer of neurons that a spec describes, behind its synapses."""
    if layer["type"] == "LIF":
        return LIF(shape=decay_shape(group, layer))
    if layer["type"] == "LSTM":
        return LSTM(layer["recurrent"])
    return Tanh() if layer["type"] == "Tanh" else ReLU()


def sized(module: nn.Module, x: Tensor) -> Tensor:
    """A tensor of the shape of ``module(x)``, for networks on the meta device. A Linear adds no bias: there, an addition
    imports PyTorch's compiler, which takes longer than to load an agent."""
    if isinstance(module, nn.Sequential):
        return reduce(lambda y, layer: sized(layer, y), module, x)
    return F.linear(x, module.weight) if isinstance(module, nn.Linear) else cast(Tensor, module(x))


def _apply(synapse: nn.Module, x: Tensor) -> Tensor:
    """Runs a synapse on ``(S, T, batch, ...)``."""
    return cast(Tensor, synapse(x.flatten(0, 2))).unflatten(0, x.shape[:3])


def mixed_precision(device: th.device, wanted: bool = True) -> AbstractContextManager[None]:
    """bfloat16 products where the processor has them (twice to four times the speed) and they are wanted."""
    native = device.type == "cuda" or bool(th.cpu.get_capabilities().get("avx512_bf16", False))
    return cast(AbstractContextManager[None], th.autocast(device.type, th.bfloat16, enabled=native and wanted))
