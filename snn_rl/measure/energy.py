"""Energy per decision: counts of operations times a price list, with every convention stated. Torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snn_rl.core.counts import Counts, membrane_accesses
from snn_rl.measure.technology import FP32, Technology
from snn_rl.store.card import Energy

CONVENTION = (
    "per decision; first layer (analog input) dense MACs charged once per decision; one AC per (spike, synapse) pair; "
    "one MAC per neuron update; membrane read and written once per timestep (zeroed: not "
    "before the first nor after the last); weight and activation memory not counted; "
    "ANN dense"
)
CHANGES = CONVENTION.replace(
    "first layer (analog input) dense MACs charged once per decision",
    "first layer (analog input) one MAC per (changed input, synapse) pair, and its last input and current read and written",
)
UJ = 1e-6  # of a picojoule


def energy(counts: Counts, technology: Technology) -> Energy:
    """Energy per decision in microjoules, for a spiking network beside the ANN of the same shape.

    ``snn_uj`` includes everything: first layer once, accumulates, neuron updates and membrane traffic;
    ``ratio = ann_uj / snn_uj`` against the dense ANN. The other conventions are named fields beside them.

    In prices of integers it is the energy of a network that plays the same with such numbers, which is not shown by this.
    """
    ann_uj = counts.ann_macs * technology.mac_pj * UJ
    if not counts.spiking:
        return Energy(
            ann_uj=ann_uj,
            technology=technology.name,
            convention=CONVENTION,
            macs=counts.ann_macs,
            effective_macs=counts.effective_macs,
            ann_effective_uj=counts.effective_macs * technology.mac_pj * UJ,
        )
    first_layer = counts.first_layer_macs * technology.mac_pj * UJ
    accumulate = counts.acs * technology.ac_pj * UJ
    analog = counts.analog_macs * technology.mac_pj * UJ
    neuron = counts.neuron_updates * technology.update_pj * UJ
    membrane = counts.membrane_accesses * technology.memory_pj * UJ
    synaptic = first_layer + accumulate + analog
    total = synaptic + neuron + membrane
    first_layer_times_T = total + first_layer * (counts.T - 1)
    return Energy(
        ann_uj=ann_uj,
        technology=technology.name,
        convention=CHANGES if counts.changes else CONVENTION,
        macs=counts.first_layer_macs + counts.analog_macs,
        acs=counts.acs,
        acs_by_layer=dict(counts.acs_by_layer),
        neuron_updates=counts.neuron_updates,
        first_layer_uj=first_layer,
        accumulate_uj=accumulate,
        analog_uj=analog or None,
        neuron_uj=neuron,
        membrane_uj=membrane,
        snn_uj=total,
        ratio=ann_uj / total,
        snn_synaptic_uj=synaptic,
        ratio_synaptic=ann_uj / synaptic,
        snn_first_layer_times_T_uj=first_layer_times_T,
        ratio_first_layer_times_T=ann_uj / first_layer_times_T,
    )


def stored_counts(report: Mapping[str, Any], T: int, carry: bool) -> Counts:
    """The counts behind a stored energy, so that it can be priced anew.

    They are read where they are stored. The multiply-accumulates of the ANN beside a spiking network, and the analog ones, are
    not: they follow from their energy, in FP32's prices.

    Args:
        report: what :func:`energy` returned, as JSON, or the mean of several.
        T: timesteps per decision; 0 for an ANN.
        carry: whether membranes were carried in that play.

    Raises:
        ValueError: if the energy is not in the prices in which scores are stored.
    """
    if report["technology"] != FP32.name:
        raise ValueError(f"stored energies are in the prices of {FP32.name}, this one in those of {report['technology']}")
    if not T:
        return Counts(0, report["macs"], report["effective_macs"])
    analog = _macs(report.get("analog_uj", 0.0))
    return Counts(
        T,
        _macs(report["ann_uj"]),
        first_layer_macs=report["macs"] - analog,
        analog_macs=analog,
        acs_by_layer=report["acs_by_layer"],
        neuron_updates=report["neuron_updates"],
        membrane_accesses=membrane_accesses(report["neuron_updates"] / T, T, carry),
    )


def _macs(uj: float) -> int:
    return round(uj / (FP32.mac_pj * UJ))
