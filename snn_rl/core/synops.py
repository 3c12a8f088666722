"""Operations, counted exactly: those that a network's shape tells, and those of its play.

A synaptic operation is one (spike, synapse) pair, zero padding included: the fan-out of each neuron is found once (the
gradient of the layer's output, with all weights 1, with respect to its input) and each spike adds its own. "Spike rate times
dense operations" is up to 40 % off for convolutions, whose border neurons have fewer synapses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, cast

import torch as th
from numpy.typing import NDArray
from torch import Tensor, nn

from snn_rl.core.changes import ChangeCounter, activations
from snn_rl.core.counts import Counts, membrane_accesses
from snn_rl.core.lstm import sent_by
from snn_rl.core.network import QNetwork
from snn_rl.core.reach import Reach, fan_out
from snn_rl.core.resting import bits
from snn_rl.core.spec import Spec


def dense_macs(spec: Spec, observation_shape: Sequence[int]) -> list[int]:
    """Multiply-accumulates of each layer of the ANN, with those of numbers beside an image and those of an LSTM on what it
    sent itself; biases, pooling and what happens within a cell are not counted.

    NatureCNN on four 84x84 frames with 6 actions: 3,276,800 + 2,654,208 + 1,806,336 + 1,605,632 + 3,072.
    """
    network = QNetwork(spec, T=0)
    x, macs = th.zeros(1, *observation_shape), []
    with th.no_grad():
        for synapse, neurons in zip_longest(network.synapses, network.neurons):
            macs.append(0)
            for layer in synapse.children():
                x = layer(x)
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    macs[-1] += x.numel() * layer.weight[0].numel()
            x = sent_by(neurons, x)
    for n, layer in [*network.beside.items(), *network.recurrent.items()]:
        macs[int(n)] += cast(Tensor, layer.weight).numel()
    return macs


def analog_macs(synapse: nn.Sequential, input_shape: Sequence[int]) -> int:
    """Multiply-accumulates of weighted layers that follow another one with no neurons between; 0 in ordinary networks."""
    x, macs, first = th.zeros(1, *input_shape), 0, True
    with th.no_grad():
        for layer in synapse:
            x = layer(x)
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                macs += 0 if first else x.numel() * layer.weight[0].numel()
                first = False
    return macs


def fan_out_shares(network: QNetwork, observation_shape: Sequence[int]) -> list[Tensor]:
    """Each spiking neuron's part in all spike-driven synapses, per layer ``(*neurons,)``; together they sum to 1.

    The weight of a spike in a penalty on what spikes cost: one spike of a neuron costs its fan-out in accumulates.
    """
    twin, device = QNetwork(network.spec, T=0), next(network.parameters()).device
    shapes = network.shapes(observation_shape)
    counts = [fan_out(cast(nn.Sequential, s), shape) for s, shape in zip(list(twin.synapses)[1:], shapes, strict=True)]
    for n, synapses in network.recurrent.items():  # a decision's last spikes arrive in the next one, if carried
        arriving = 1.0 if network.carry else 1 - 1 / network.T
        counts[int(n)] = counts[int(n)] + arriving * cast(nn.Linear, synapses).out_features
    total = sum(float(count.sum(dtype=th.float64)) for count in counts)
    return [(count / total).to(device) for count in counts]


@dataclass
class Sums:
    """What was counted over some decisions: sums over them all, so those of several processes can be added up.

    Attributes:
        decisions: how many.
        outputs: decisions times timesteps.
        reached: synapses that what was sent to a layer reached, by layer.
        active: outputs that were not 0, by layer of neurons.
        recurrent: recurrent synapses that spikes reached, by index of the layer; of an LSTM that what is not 0 reached.
        changes: the first layer's multiply-accumulates, of a network that computes only what changes.
        compared: decisions of which is known what came before; the next two are of these.
        changed: multiply-accumulates, if only what changes were computed, see :class:`~snn_rl.core.changes.ChangeCounter`.
        kept: accesses to what would be kept for that.
        updated: decisions of which updates were counted that leave neurons at rest alone.
        updates: these, by layer of neurons.
    """

    decisions: int
    outputs: int
    reached: list[float]
    active: list[float]
    recurrent: dict[int, float]
    changes: float = 0
    compared: int = 0
    changed: float = 0
    kept: float = 0
    updated: int = 0
    updates: list[float] = field(default_factory=list)

    def add(self, other: Sums) -> None:
        """Adds what was counted of the same network elsewhere."""
        self.decisions += other.decisions
        self.outputs += other.outputs
        self.changes += other.changes
        self.compared += other.compared
        self.changed += other.changed
        self.kept += other.kept
        self.updated += other.updated
        self.updates = [mine + theirs for mine, theirs in zip(self.updates, other.updates, strict=True)]
        self.reached = [mine + theirs for mine, theirs in zip(self.reached, other.reached, strict=True)]
        self.active = [mine + theirs for mine, theirs in zip(self.active, other.active, strict=True)]
        self.recurrent = {n: mine + other.recurrent[n] for n, mine in self.recurrent.items()}


class OperationCounter:
    """Counts what a network does while it plays.

    Args:
        network: the agent that plays, spiking or not; whether it carries its membranes is asked here.
        observation_shape: of one observation.

    Attributes:
        sums: what was counted so far.
    """

    def __init__(self, network: QNetwork, observation_shape: Sequence[int]) -> None:
        shapes, twin = network.shapes(observation_shape), QNetwork(network.spec, T=0)  # which lies on the CPU
        synapses = [cast(nn.Sequential, synapse) for synapse in twin.synapses]
        self.network, self.carry = network, network.carry
        self.macs = dense_macs(network.spec, observation_shape)
        later = [cast(nn.Linear, layer).weight.numel() for n, layer in network.beside.items() if n != "0"]
        self.analog_input_macs = self.macs[0] + sum(later)
        self.analog_macs = sum(analog_macs(*pair) for pair in zip(synapses[1:], shapes, strict=True)) * network.T
        self.neurons = [th.Size(shape).numel() for shape in shapes]
        arriving = [tuple(observation_shape), *shapes]
        self._changes = ChangeCounter(network, observation_shape)
        self._reaches = [Reach(*pair, spikes=network.spiking) for pair in zip(synapses, arriving, strict=True)]
        self._fan_out = {int(n): cast(nn.Linear, layer).out_features for n, layer in network.recurrent.items()}
        self._beside = {int(n): cast(nn.Linear, layer).out_features for n, layer in network.beside.items()}
        active, updates = [0.0] * len(shapes), [0.0] * len(shapes)
        self.sums = Sums(0, 0, [0.0] * len(synapses), active, dict.fromkeys(self._fan_out, 0.0), updates=updates)

    @property
    def decisions(self) -> int:
        """How many were counted."""
        return self.sums.decisions

    def update(
        self,
        observations: Tensor | NDArray[Any],
        layers: Sequence[Tensor],
        before: Sequence[Tensor] | None = None,
        updates: Sequence[float] | None = None,
    ) -> None:
        """Adds a batch of decisions.

        Args:
            observations: ``(batch, *observation)``.
            layers: what each layer of neurons sent on at the T timesteps, ``(T, batch, *neurons)``; of an ANN ``(1, batch,
                *neurons)``.
            before: the observations of the decisions before these, and of an ANN what its layers sent on then, see
                :class:`~snn_rl.core.changes.Last`. Without them changes are not counted.
            updates: of each layer, see :class:`~snn_rl.core.resting.Resting`; None where they were not counted.
        """
        sums = self.sums
        if updates is not None:
            sums.updated += len(observations)
            sums.updates = [mine + more for mine, more in zip(sums.updates, updates, strict=True)]
        sums.decisions += len(observations)
        sums.changes += 0 if self.network.changes is None else self.network.changes.macs
        sums.outputs += len(observations) * len(layers[0]) if layers else 0
        sent = [th.as_tensor(observations).cpu(), *(out.flatten(0, 1).cpu() for out in layers)]
        if before is not None and self._changes.countable:
            changed, kept = self._changes(before, sent)
            sums.compared, sums.changed, sums.kept = (
                sums.compared + len(observations),
                sums.changed + changed,
                sums.kept + kept,
            )
        for n, (reach, values) in enumerate(zip(self._reaches, sent, strict=True)):
            sums.reached[n] += reach(values)
        for n, reached in self._beside.items() if not self.network.spiking else ():
            sums.reached[n] += float((self.network.numbers(sent[0]) != 0).sum()) * reached
        for n, out in enumerate(layers):
            sums.active[n] += float((out != 0).sum())
        for n, reached in self._fan_out.items():  # the spikes of a decision's last timestep arrive in the next, if carried
            arriving = layers[n] if self.carry else layers[n][:-1]
            sums.recurrent[n] += float((arriving != 0).sum()) * reached

    def watch(self, before: Tensor, now: Tensor) -> None:
        """Adds what an ANN would do that saw these observations, ``(rows, *observation)`` each, ``now`` after ``before``."""
        parts = [layer.chunk(2) for layer in activations(self.network, th.cat([before, now]))]
        self.update(now, [after[None] for _, after in parts], [before, *(first for first, _ in parts)])

    def counts(self) -> Counts:
        """Operations per decision.

        Raises:
            ValueError: if nothing was counted yet.
        """
        self._check()
        T, names, changes, compared = self.network.T, self.network.layer_names, self.network.changes, self.sums.compared
        changed = (self.sums.changed / compared, self.sums.kept / compared) if compared else (None, None)
        if not self.network.spiking:
            effective = (sum(self.sums.reached) + sum(self.sums.recurrent.values())) / self.decisions
            return Counts(T, sum(self.macs), effective, change_macs=changed[0], change_accesses=changed[1])
        by_layer = dict(zip(names[1:], self.sums.reached[1:], strict=True))
        by_layer |= {f"{names[n]} recurrent": count for n, count in self.sums.recurrent.items()}
        updates, kept = None, changed[1]
        if self.sums.updated and kept is not None:  # a neuron at rest does not read its current
            updates = sum(self.sums.updates) / self.sums.updated
            kept += self.sums.updates[0] / self.sums.updated - self.neurons[0] + bits(self.neurons)
        return Counts(
            T,
            sum(self.macs),
            first_layer_macs=self.analog_input_macs if changes is None else self.sums.changes / self.decisions,
            analog_macs=self.analog_macs,
            acs_by_layer={name: count / self.decisions for name, count in by_layer.items()},
            neuron_updates=sum(self.neurons) * T,
            membrane_accesses=membrane_accesses(sum(self.neurons), T, self.carry) + (changes.accesses if changes else 0),
            changes=changes is not None,
            change_macs=changed[0],
            change_accesses=kept,
            change_updates=updates,
        )

    def rates(self) -> dict[str, float]:
        """Spikes per neuron per timestep of each spiking layer (for an ANN: share of non-zero activations).

        Raises:
            ValueError: if nothing was counted yet.
        """
        self._check()
        return {
            name: active / (self.sums.outputs * neurons)
            for name, active, neurons in zip(self.network.layer_names, self.sums.active, self.neurons, strict=False)
        }

    def _check(self) -> None:
        if not self.decisions:
            raise ValueError("nothing was measured: play at least one decision first")
