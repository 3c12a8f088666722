"""Energy per decision from exact operation counts, with every convention stated.

A synaptic operation is one (spike, synapse) pair. It is counted exactly, zero padding included: the fan-out of each neuron
is found once (the gradient of the layer's output, with all weights 1, with respect to its input) and each spike adds its own.
"Spike rate times dense operations" is up to 40 % off for convolutions, whose border neurons have fewer synapses.

Energies are for 45 nm CMOS: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch as th
from torch import Tensor, nn

from snn_rl.core.network import QNetwork
from snn_rl.core.synops import analog_macs, dense_macs, fan_out
from snn_rl.measure.technology import FP32, Technology
from snn_rl.tasks.rollout import Decision

CONVENTION = (
    "per decision; first layer (analog input) dense MACs charged once per decision; one AC per (spike, synapse) pair; "
    "one MAC per neuron update; membrane read and written once per timestep (zeroed: not "
    "before the first nor after the last); weight and activation memory not counted; "
    "ANN dense"
)


def priced(report: dict[str, Any], T: int, technology: Technology) -> dict[str, Any]:
    """The operations of a :meth:`Meter.report`, which is in FP32, at another technology's prices.

    Counts stay what they are: it is the energy of a network that plays the same with such numbers, which is not shown by
    this. Membranes stay 32 bits wide, their updates and their traffic too.
    """
    mac = technology.mac_pj / FP32.mac_pj
    factors = dict.fromkeys(("ann_uj", "ann_effective_uj", "first_layer_uj", "analog_uj"), mac)
    factors["accumulate_uj"] = technology.ac_pj / FP32.ac_pj
    factors["neuron_uj"] = technology.update_pj / FP32.update_pj
    factors["membrane_uj"] = technology.memory_pj / FP32.memory_pj
    parts = {key: report[key] * factor for key, factor in factors.items() if key in report}
    return report | {"technology": technology.name} | parts | (_sums(parts, T) if T else {})


def _sums(parts: dict[str, float], T: int) -> dict[str, float]:
    """The energy of a decision by each way of counting, and how many times the dense ANN's is that."""
    synaptic = parts["first_layer_uj"] + parts["accumulate_uj"] + parts.get("analog_uj", 0.0)
    total = synaptic + parts["neuron_uj"] + parts["membrane_uj"]
    layer_1_times_T = total + parts["first_layer_uj"] * (T - 1)
    return {
        "snn_uj": total,
        "ratio": parts["ann_uj"] / total,
        "snn_synaptic_uj": synaptic,
        "ratio_synaptic": parts["ann_uj"] / synaptic,
        "snn_first_layer_times_T_uj": layer_1_times_T,
        "ratio_first_layer_times_T": parts["ann_uj"] / layer_1_times_T,
    }


class Meter:
    """Counts what a network spends while it plays.

    Args:
        network: the agent that plays, spiking or not.
        observation_shape: of one observation.
    """

    def __init__(self, network: QNetwork, observation_shape: Sequence[int]) -> None:
        self.network = network
        self.macs = dense_macs(network.spec, observation_shape)
        shapes = network.shapes(observation_shape)
        self.neurons = [th.Size(shape).numel() for shape in shapes]
        twin = QNetwork(network.spec, T=0)
        self.pools: list[nn.Sequential] = []
        self.fan_out: list[Tensor] = []
        for synapse, shape in zip(twin.synapses, [tuple(observation_shape), *shapes], strict=True):
            layers = list(synapse.children())
            # Each spike reaches all weights behind its pool; an ANN pools first and multiplies once.
            first = 0 if network.T else next(n for n, layer in enumerate(layers) if isinstance(layer, (nn.Conv2d, nn.Linear)))
            pool = nn.Sequential(*layers[:first])
            self.pools.append(pool)
            self.fan_out.append(fan_out(nn.Sequential(*layers[first:]), tuple(pool(th.zeros(1, *shape)).shape[1:])))
        self.recurrent = {int(n): cast(nn.Linear, synapses).out_features for n, synapses in network.recurrent.items()}
        self.recurrent_acs = dict.fromkeys(self.recurrent, 0.0)
        self.analog_macs = sum(
            analog_macs(cast(nn.Sequential, synapse), shape)
            for synapse, shape in zip(list(twin.synapses)[1:], shapes, strict=True)
        )
        self.decisions = 0
        self.effective = [0.0] * len(self.macs)
        self.active = [0.0] * len(shapes)

    def update(self, decision: Decision) -> None:
        """Adds one batch of decisions."""
        self.decisions += len(decision.episode)
        self.effective[0] += self._reached(0, th.as_tensor(decision.observation))
        for n, out in enumerate(decision.layers):
            self.active[n] += float((out != 0).sum())
            self.effective[n + 1] += self._reached(n + 1, out.flatten(0, 1).cpu())
            if n in self.recurrent:  # the spikes of a decision's last timestep arrive in the next decision, if carried
                arriving = out if self.network.carry else out[:-1]
                self.recurrent_acs[n] += float((arriving != 0).sum()) * self.recurrent[n]

    def _reached(self, n: int, sent: Tensor) -> float:
        """Synapses of layer ``n`` that what was sent, ``(any, *neurons)``, reaches with something other than 0."""
        arriving = self.pools[n]((sent != 0).float()) != 0
        return float((arriving.sum(0).double() * self.fan_out[n]).sum())

    def rates(self) -> dict[str, float]:
        """Spikes per neuron per timestep of each spiking layer (for an ANN: share of non-zero activations)."""
        self._check()
        steps = self.decisions * max(self.network.T, 1)
        return {
            name: active / (steps * neurons)
            for name, active, neurons in zip(self.network.layer_names, self.active, self.neurons, strict=False)
        }

    def report(self) -> dict[str, Any]:
        """Energy per decision in microjoules, FP32, for a spiking network beside the ANN of the same shape.

        ``snn_uj`` includes everything: first layer once, accumulates, neuron updates and membrane traffic;
        ``ratio = ann_uj / snn_uj`` against the dense ANN. The other conventions are named fields beside them.

        Raises:
            ValueError: if nothing was counted yet.
        """
        self._check()
        T, uj = self.network.T, 1e-6
        report: dict[str, Any] = {
            "ann_uj": sum(self.macs) * FP32.mac_pj * uj,
            "technology": FP32.name,
            "convention": CONVENTION,
            "macs": sum(self.macs),
            "effective_macs": sum(self.effective) / self.decisions,
        }
        if not T:
            report["ann_effective_uj"] = report["effective_macs"] * FP32.mac_pj * uj
            return report
        del report["effective_macs"]
        by_layer = dict(zip(self.network.layer_names[1:], self.effective[1:], strict=True))
        by_layer |= {f"{self.network.layer_names[n]} recurrent": count for n, count in self.recurrent_acs.items()}
        acs = sum(by_layer.values()) / self.decisions
        updates = sum(self.neurons) * T
        # Carried: read and written at each timestep. From rest: nothing to read at the first nor to write at the last.
        accesses = 2 * sum(self.neurons) * (T if self.network.carry else T - 1)
        parts = {
            "first_layer_uj": self.macs[0] * FP32.mac_pj * uj,
            "accumulate_uj": acs * FP32.ac_pj * uj,
            **({"analog_uj": self.analog_macs * T * FP32.mac_pj * uj} if self.analog_macs else {}),
            "neuron_uj": updates * FP32.update_pj * uj,
            "membrane_uj": accesses * FP32.memory_pj * uj,
        }
        counts = {
            "macs": self.macs[0] + self.analog_macs * T,
            "acs": acs,
            "acs_by_layer": {name: count / self.decisions for name, count in by_layer.items()},
            "neuron_updates": updates,
        }
        return report | counts | parts | _sums({"ann_uj": report["ann_uj"], **parts}, T)

    def _check(self) -> None:
        if not self.decisions:
            raise ValueError("nothing was measured: play at least one decision first")
