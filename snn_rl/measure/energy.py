"""Energy per decision: counts of operations times a price list, with every convention stated. Torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

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


@dataclass(frozen=True)
class Operations:
    """What a network does per decision, ANN or spiking, in numbers that have a price each.

    ``macs``: multiply-accumulates. ``acs``: accumulates. ``updates``: of neurons. ``accesses``: to 32 bits of membranes, and
    of what is kept to compute changes only.
    """

    macs: float
    acs: float = 0
    updates: float = 0
    accesses: float = 0

    @classmethod
    def changed(cls, counts: Counts) -> Operations | None:
        """Those of a network that computes only what changed, and leaves neurons at rest alone where these were counted; None
        where changes were not counted."""
        if counts.change_macs is None or counts.change_accesses is None:
            return None
        macs = counts.change_macs + counts.analog_macs
        if counts.change_updates is not None:
            return cls(macs, counts.acs, counts.change_updates, 2 * counts.change_updates + counts.change_accesses)
        kept = 0 if counts.changes else counts.change_accesses  # it does so already: they are among its accesses
        return cls(macs, counts.acs, counts.neuron_updates, counts.membrane_accesses + kept)

    @classmethod
    def of(cls, counts: Counts) -> Operations:
        """Those of a network as it was counted; an ANN dense."""
        macs = counts.first_layer_macs + counts.analog_macs if counts.spiking else counts.ann_macs
        return cls(macs, counts.acs, counts.neuron_updates, counts.membrane_accesses)

    def uj(self, prices: Technology, state: bool = True, weights: bool = False, sums: bool = False) -> float:
        """Energy in microjoules.

        Args:
            prices: of the operations.
            state: neurons and what is kept count too; otherwise synapses alone, as the paper counts.
            weights: each multiply-accumulate and each accumulate fetches its weight.
            sums: each reads and writes the sum that it adds to.
        """
        pj = self.macs * prices.mac_pj + self.acs * prices.ac_pj
        if state:
            pj += self.updates * prices.update_pj + self.accesses * prices.memory_pj
        pj += (self.macs + self.acs) * (weights * prices.weight_pj + sums * 2 * prices.sum_pj)
        return pj * UJ


def energy(counts: Counts, technology: Technology) -> Energy:
    """Energy per decision in microjoules, for a spiking network beside the ANN of the same shape.

    ``snn_uj`` includes everything: first layer once, accumulates, neuron updates and membrane traffic;
    ``ratio = ann_uj / snn_uj`` against the dense ANN. The other conventions are named fields beside them.

    In prices of integers it is the energy of a network that plays the same with such numbers, which is not shown by this.
    """
    ann_uj = counts.ann_macs * technology.mac_pj * UJ
    changes = Operations.changed(counts)
    change_uj = None if changes is None else changes.uj(technology)
    if not counts.spiking:
        return Energy(
            ann_uj=ann_uj,
            technology=technology.name,
            convention=CONVENTION,
            macs=counts.ann_macs,
            effective_macs=counts.effective_macs,
            ann_effective_uj=counts.effective_macs * technology.mac_pj * UJ,
            change_macs=counts.change_macs,
            change_accesses=counts.change_accesses,
            change_uj=change_uj,
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
        change_macs=counts.change_macs,
        change_accesses=counts.change_accesses,
        change_updates=counts.change_updates,
        change_uj=change_uj,
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
    changed, kept = (cast(float | None, report.get(key)) for key in ("change_macs", "change_accesses"))
    if not T:
        return Counts(0, report["macs"], report["effective_macs"], change_macs=changed, change_accesses=kept)
    analog = _macs(report.get("analog_uj", 0.0))
    return Counts(
        T,
        _macs(report["ann_uj"]),
        first_layer_macs=report["macs"] - analog,
        analog_macs=analog,
        acs_by_layer=report["acs_by_layer"],
        neuron_updates=report["neuron_updates"],
        membrane_accesses=membrane_accesses(report["neuron_updates"] / T, T, carry),
        change_macs=changed,
        change_accesses=kept,
        change_updates=report.get("change_updates"),
    )


def _macs(uj: float) -> int:
    return round(uj / (FP32.mac_pj * UJ))
