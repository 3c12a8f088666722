"""Energy per decision from exact operation counts, with every convention stated.

A synaptic operation is one (spike, synapse) pair. It is counted exactly, zero padding included: the fan-out of each neuron
is found once (the gradient of the layer's output, with all weights 1, with respect to its input) and each spike adds its own.
"Spike rate times dense operations" is up to 40 % off for convolutions, whose border neurons have fewer synapses.

Energies are for 45 nm CMOS: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch as th
from torch import Tensor, nn

from snn_rl.network import QNetwork
from snn_rl.rollout import Decision
from snn_rl.spec import Spec


@dataclass(frozen=True)
class Technology:
    """Energy of one operation, in picojoules."""

    name: str
    mac_pj: float
    ac_pj: float
    update_pj: float  # of a membrane, which is 32 bits wide: a MAC of that width
    memory_pj: float = 5.0  # 32 bits from or to an 8 kB SRAM: 10 pJ per 64 bits (Horowitz 2014)


FP32 = Technology("45 nm FP32 (Horowitz 2014): MAC 4.6 pJ, AC 0.9 pJ, 32-bit SRAM access 5 pJ", 4.6, 0.9, 4.6)
INT32 = Technology("45 nm INT32 (Horowitz 2014): MAC 3.2 pJ, AC 0.1 pJ, 32-bit SRAM access 5 pJ", 3.2, 0.1, 3.2)
INT8 = Technology(
    "45 nm INT8 (Horowitz 2014): MAC 0.23 pJ, AC 0.03 pJ, membrane update in INT32 3.2 pJ, 32-bit SRAM access 5 pJ",
    0.23,
    0.03,
    3.2,
)
TECHNOLOGIES = {"fp32": FP32, "int32": INT32, "int8": INT8}

CONVENTION = (
    "per decision; first layer (analog input) dense MACs charged once per decision; one AC per (spike, synapse) pair; "
    "one MAC per neuron update; membrane read and written once per timestep (zeroed: not "
    "before the first nor after the last); weight and activation memory not counted; "
    "ANN dense"
)


def dense_macs(spec: Spec, observation_shape: Sequence[int]) -> list[int]:
    """Multiply-accumulates of each layer of the ANN, biases and pooling not counted.

    NatureCNN on four 84x84 frames with 6 actions: 3,276,800 + 2,654,208 + 1,806,336 + 1,605,632 + 3,072.
    """
    network = QNetwork(spec, T=0)
    x, macs = th.zeros(1, *observation_shape), []
    with th.no_grad():
        for synapse in network.synapses:
            macs.append(0)
            for layer in synapse.children():
                x = layer(x)
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    macs[-1] += x.numel() * layer.weight[0].numel()
    return macs


def fan_out(synapse: nn.Sequential, input_shape: Sequence[int]) -> Tensor:
    """Number of synapses of each input neuron of a layer, ``input_shape``.

    Pooling before the weights is part of the synapses: a spike reaches every weight behind its pool.
    """
    x = th.zeros(1, *input_shape, requires_grad=True)
    y: Tensor = x
    weighted = False  # a spike reaches all synapses behind its pool, but not a second set of them
    for layer in synapse:
        if isinstance(layer, nn.Conv2d) and not weighted:
            ones = th.ones_like(layer.weight, device="cpu")
            y = nn.functional.conv2d(y, ones, None, layer.stride, layer.padding, layer.dilation, layer.groups)
            weighted = True
        elif isinstance(layer, nn.Linear) and not weighted:
            y = nn.functional.linear(y, th.ones_like(layer.weight, device="cpu"))
            weighted = True
        elif isinstance(layer, nn.AvgPool2d) and not weighted:
            y = nn.functional.avg_pool2d(y, layer.kernel_size, layer.stride, layer.padding, divisor_override=1)
        elif isinstance(layer, nn.Flatten):
            y = layer(y)
        else:  # a second weighted layer without neurons between sees analog values: see analog_macs
            break
    return th.autograd.grad(y.sum(), x)[0][0]


def analog_macs(synapse: nn.Sequential, input_shape: Sequence[int]) -> int:
    """Multiply-accumulates of weighted layers that follow another one with no neurons between; 0 in ordinary networks."""
    x, macs, first = th.zeros(1, *input_shape), 0, True
    with th.no_grad():
        for layer in synapse.cpu():
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
