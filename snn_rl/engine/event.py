"""The event-driven engine: an integer network that multiplies only what changed, and adds only what spiked.

The first layer is linear, so the weights times the change of an observation, added to its last current, give the new current:
in integers exactly, without drift. Needs numba.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, cast

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor

from snn_rl.core.counts import Changes
from snn_rl.core.deciding import Observation, check_observation
from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_OBSERVED
from snn_rl.core.network import QNetwork, State
from snn_rl.core.observed import check_observed
from snn_rl.core.outline import outline
from snn_rl.engine.floats import Floats, floats
from snn_rl.engine.kernels import decide
from snn_rl.engine.program import Program
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.semantics import Array, Integers
from snn_rl.store.agents import Agent


class Events(QNetwork):
    """A Q-network, fast on one core. Not for several threads at once.

    Its state is one array with a row per environment, of the numbers of its membranes: these, the last observation, last
    spikes of recurrent layers. :meth:`membranes` gives it the form of the reference. The current of the last observation is
    kept beside the states: whatever observation comes next, differences bring it there.
    """

    program: Program

    def _prepare(self, integers: Integers | Floats, observation_shape: Sequence[int]) -> None:
        """Makes all that decisions need, of the network's numbers, for observations of one shape."""
        outline(integers.spec, integers.T, integers.input_scale, integers.carry, observation_shape)
        self.program = Program(integers, observation_shape)
        self._net, self._work = self.program.net(), self.program.work(1)
        self._actions, self._nothing = len(integers.synapses[-1].bias), np.empty((0, 0, 0), np.uint8)
        self._nowhere = np.full(1, not integers.carry)
        self._last = [self.initial_state(0, ())]  # in a list, because to set what a module has takes it microseconds
        self.changes: Changes = Changes(self._accesses())

    def initial_state(self, batch: int, observation_shape: Any) -> State:
        """Rest, for ``batch`` environments, after an observation of zeros."""
        return cast(State, (np.zeros((batch, self.program.width), self.program.kind),))

    def sums(
        self, observations: Array, state: State | None, fresh: NDArray[np.bool_] | None, record: Array | None = None
    ) -> tuple[Array, State]:
        """One decision per environment.

        Args:
            observations: ``(rows, *observation)``.
            state: what the previous call returned, which stays as it is; None for rest.
            fresh: ``(rows,)``, true where an episode begins; None for nowhere.
            record: uint8 ``(T, rows, neurons)``, where the spikes go.

        Returns:
            The sums of the readout ``(rows, actions)``, and the state after the decision.
        """
        rows, seen = len(observations), self.program.seen(observations)
        if state is None:
            state = self.initial_state(rows, ())
        elif state is not self._last[0] or len(state[0]) != rows:
            _check_rows(rows, state, None)
            self._check_state(rows, cast(tuple[Array, ...], state))
        if rows > len(self._work[2]):
            self._work = self.program.work(rows)
        if fresh is None or not self.carry:
            fresh = self._nowhere if rows == 1 else np.full(rows, not self.carry)
        kind = self.program.kind
        after, sums = np.empty((rows, self.program.width), kind), np.empty((rows, self._actions), kind)
        decide(self._net, self._work, state[0], seen, after, fresh, sums, self._nothing if record is None else record)
        self.changes.inputs, self.changes.macs = self._work[-1].tolist()
        self._last[0] = cast(State, (after,))
        return sums, self._last[0]

    def _check_state(self, rows: int, state: tuple[Array, ...]) -> None:
        """The kernels do not look where an array ends."""
        if len(state) != 1 or not isinstance(state[0], np.ndarray):
            raise UserError("the state is not of this engine; pass on what the previous call returned, or None for rest")
        own, wanted = state[0], (rows, self.program.width)
        if own.dtype != self.program.kind or own.shape != wanted or not own.flags.carray:
            raise UserError(
                f"the state is {own.dtype}{own.shape} where the network's is {self.program.kind}{wanted}; pass on what the "
                "previous call returned"
            )

    def _accesses(self) -> int:
        """32-bit accesses per decision to what is kept beside the membranes: the last observation is read and written, the
        first layer's current written once and read at every timestep."""
        return 2 * 2 * self.program.words + (self.T + 1) * int(np.prod(self.program.shapes[0]))

    def forward(
        self, observation: Tensor, state: State | None = None, episode_start: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """As :meth:`QNetwork.forward`."""
        check_observed(observation)
        _check_rows(len(observation), state, episode_start)
        q, state = self.unroll(observation[None], state, None if episode_start is None else episode_start[None])
        return q[0], state

    def unroll(
        self,
        observations: Tensor,
        state: State | None = None,
        episode_starts: Tensor | None = None,
        record: list[Tensor] | None = None,
    ) -> tuple[Tensor, State]:
        """As :meth:`QNetwork.unroll`, with the state of the engine and Q-values as float64."""
        S, batch = observations.shape[:2]
        seen = observations.cpu().numpy()
        starts = None if episode_starts is None else episode_starts.cpu().numpy().astype(bool)
        spikes = np.empty((S, self.T, batch, self.program.neurons), np.uint8)
        state = self.initial_state(batch, ()) if state is None else state
        sums, inputs, macs = [], 0, 0
        for s in range(S):
            own, state = self.sums(
                seen[s], state, None if starts is None else starts[s], spikes[s] if record is not None else None
            )
            sums.append(own)
            inputs, macs = inputs + self.changes.inputs, macs + self.changes.macs
        self.changes.inputs, self.changes.macs = inputs, macs
        if record is not None:
            record += [one.float() for one in self.by_layer(th.from_numpy(spikes))]
        return th.from_numpy(np.stack(sums)).double() * self.program.integers.form.q_scale, state

    def membranes(self, state: State) -> State:
        """A state in the form of the reference: membranes and last spikes, int32, channels first."""
        program, kept = self.program, np.asarray(state[0])
        behind = program.held + 2 * program.words
        spikes = th.from_numpy(kept[:, behind : behind + sum(program.recurrent)].copy())
        return (*self.membranes_of(state), *spikes.split(program.recurrent, 1))

    def membranes_of(self, state: State) -> State:
        """As :meth:`QNetwork.membranes_of`."""
        return tuple(self.by_layer(th.from_numpy(self.flat(state))))

    def flat(self, state: State) -> Array:
        """The membranes of a state ``(rows, neurons)``, layer after layer without gaps, channels side by side."""
        kept = np.asarray(state[0])
        return np.concatenate([kept[:, one.held : one.held + one.neurons] for one in self.program.layers], 1)

    def by_layer(self, flat: Tensor) -> list[Tensor]:
        """Numbers of all neurons ``(..., neurons)``, by layer and with channels first."""
        parts = flat.split([int(np.prod(shape)) for shape in self.program.shapes], -1)
        layers = []
        for part, (channels, high, wide), own in zip(parts, self.program.shapes, self.program.integers.synapses, strict=False):
            image = part.unflatten(-1, (high, wide, channels)).movedim(-1, -3)
            layers.append(image.flatten(-3) if own.layer["type"] == "Linear" else image)
        return layers


class EventNetwork(Events, IntegerNetwork):
    """:class:`IntegerNetwork` by events: every spike and every membrane is the same.

    Args:
        integers: its numbers.
        observation_shape: of one observation.
    """

    def __init__(self, integers: Integers, observation_shape: Sequence[int]) -> None:
        IntegerNetwork.__init__(self, integers)
        self._prepare(integers, observation_shape)


class FloatEventNetwork(Events):
    """A spiking network of float numbers by events. It adds in another order than PyTorch, so membranes differ by rounding.

    Args:
        network: of which it has the numbers; for observations of bytes.
        observation_shape: of one observation.

    Raises:
        UserError: as :func:`~snn_rl.engine.floats.floats`.
    """

    def __init__(self, network: QNetwork, observation_shape: Sequence[int]) -> None:
        super().__init__(network.spec, network.T, network.input_scale, network.carry)
        self.load_state_dict(network.state_dict())
        self.requires_grad_(False)
        self._prepare(floats(network), observation_shape)


class EventAgent(Agent):
    """An agent that the event-driven engine plays."""

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], State]:
        """As :meth:`Agent.predict`; without tensors on the way, which would take longer than the decision."""
        network, shape = cast(Events, self.network), self.observation_shape
        plain = isinstance(observation, np.ndarray) and observation.dtype == np.uint8 and observation.shape == shape
        if plain and len(shape) == 3 and episode_start is None:  # an image, of which nothing else needs to be looked at
            sums, state = network.sums(cast(Array, observation)[None], state, None)
            return sums[0].argmax(), state
        observation = self.seen(observation)
        check_observation(observation)
        seen = np.asarray(observation)
        batch = seen.ndim != len(shape)
        seen = seen if batch else seen[None]
        finite = seen.dtype.kind != "f" or bool((np.abs(seen) <= MAX_OBSERVED).all())
        if seen.shape[1:] != shape or not finite:
            return super().predict(observation, None, episode_start)  # which says what is wrong
        starts = None if episode_start is None else np.atleast_1d(episode_start).astype(np.bool_)
        _check_rows(len(seen), state, starts)
        sums, state = network.sums(seen, state, starts)
        action = sums.argmax(1)
        return (action if batch else action[0]), state


def _check_rows(rows: int, state: State | None, starts: Sized | None) -> None:
    """Raises UserError where the state or the starts are for another number of environments."""
    for name, given in (("the state", state[0] if state else None), ("episode_start", starts)):
        if given is not None and len(given) != rows:
            raise UserError(f"{name} is for {len(given)} environments but {rows} observations were given")
