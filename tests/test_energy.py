"""Energy by hand: counts times prices."""

from __future__ import annotations

import json

import pytest

from snn_rl.core.counts import Counts
from snn_rl.measure.energy import energy, stored_counts
from snn_rl.measure.technology import FP32, Technology, price_list
from snn_rl.store.files import CARD, data_folder

SPIKING = Counts(2, 22, 0, 12, 0, {"fc2": 4.0, "fc3": 3.0}, 10, 20)
ANALOG = Counts(2, 37, 0, 12, 20, {"fc2": 5.0, "fc1 recurrent": 1.5}, 10, 20)
ANN = Counts(0, 18, 7.5)


@pytest.mark.parametrize("counts", [SPIKING, ANALOG])
def test_a_whole_report_by_hand(counts: Counts) -> None:
    prices = Technology("mine", mac_pj=2.0, ac_pj=0.5, update_pj=3.0, memory_pj=7.0)
    report = energy(counts, prices).to_json()
    ann, first, analog = (macs * 2.0e-6 for macs in (counts.ann_macs, counts.first_layer_macs, counts.analog_macs))
    acs = sum(counts.acs_by_layer.values())
    synaptic = first + analog + acs * 0.5e-6
    total = synaptic + 10 * 3e-6 + 20 * 7e-6
    expected = {
        "ann_uj": ann,
        "macs": counts.first_layer_macs + counts.analog_macs,
        "acs": acs,
        "neuron_updates": 10,
        "first_layer_uj": first,
        "accumulate_uj": acs * 0.5e-6,
        **({"analog_uj": analog} if counts is ANALOG else {}),
        "neuron_uj": 10 * 3e-6,
        "membrane_uj": 20 * 7e-6,
        "snn_uj": total,
        "ratio": ann / total,
        "snn_synaptic_uj": synaptic,
        "ratio_synaptic": ann / synaptic,
        "snn_first_layer_times_T_uj": total + first,
        "ratio_first_layer_times_T": ann / (total + first),
    }
    assert {key: report[key] for key in expected} == pytest.approx(expected)
    assert report["acs_by_layer"] == counts.acs_by_layer
    assert report["technology"] == "mine"
    assert set(report) == {*expected, "acs_by_layer", "technology", "convention"}


def test_the_energy_of_an_ann_by_hand() -> None:
    report = energy(ANN, FP32).to_json()
    assert report["ann_uj"] == pytest.approx(18 * 4.6e-6)
    assert report["ann_effective_uj"] == pytest.approx(7.5 * 4.6e-6)
    assert (report["macs"], report["effective_macs"]) == (18, 7.5)
    assert set(report) == {"ann_uj", "technology", "convention", "macs", "effective_macs", "ann_effective_uj"}


@pytest.mark.parametrize(("name", "mac"), [("fp32", 4.6), ("int32", 3.2), ("int8", 0.23)])
def test_energy_is_that_of_the_technology_and_says_so(name: str, mac: float) -> None:
    report = energy(Counts(0, 1000, 1000), price_list(name)).to_json()
    assert report["ann_uj"] == pytest.approx(1000 * mac * 1e-6)
    assert report["ann_effective_uj"] == pytest.approx(1000 * mac * 1e-6)
    assert report["technology"] == price_list(name).name
    assert "Horowitz" in report["technology"]
    assert "per decision" in report["convention"]


def test_in_int8_membrane_traffic_outweighs_what_spikes_save() -> None:
    counts = Counts(1, 300, 0, 200, 0, {"fc2": 10.0}, 20, 40)  # 10 inputs, 20 neurons, 5 actions; 2 spikes
    in_fp32, in_int8 = (energy(counts, price_list(name)).to_json() for name in ("fp32", "int8"))
    assert in_int8["acs"] == in_fp32["acs"] == 10
    assert in_int8["snn_synaptic_uj"] == pytest.approx((200 * 0.23 + 10 * 0.03) * 1e-6)
    assert in_int8["snn_uj"] == pytest.approx((200 * 0.23 + 10 * 0.03 + 20 * 3.2 + 40 * 5) * 1e-6)
    assert in_int8["ratio"] == pytest.approx(300 * 0.23 * 1e-6 / in_int8["snn_uj"])
    assert in_int8["ratio"] < 1 < in_fp32["ratio"]


@pytest.mark.parametrize("counts", [SPIKING, ANALOG, ANN])
def test_the_counts_behind_a_stored_energy_are_those_that_were_priced(counts: Counts) -> None:
    stored = json.loads(json.dumps(energy(counts, FP32).to_json()))
    assert stored_counts(stored, counts.T, carry=True) == counts


OF_OTHERS = ("opponents", "opponents_missing", "ratio_strongest")  # joules of ANNs that watched, whose counts are not stored


def test_stored_counts_priced_anew_are_the_joules_of_every_shipped_card() -> None:
    scores = 0
    for card in data_folder("agents").glob(f"*/*/{CARD}"):
        for score in json.loads(card.read_text())["scores"].values():
            again = energy(stored_counts(score["energy"], score["T"], score["carry"]), FP32).to_json()
            stored = {key: value for key, value in score["energy"].items() if key not in OF_OTHERS}
            assert again.pop("acs_by_layer", {}) == pytest.approx(stored.pop("acs_by_layer", {}))
            assert again == pytest.approx(stored)
            scores += 1
    assert scores > 50


def test_an_energy_in_other_prices_than_stored_ones_has_no_counts() -> None:
    with pytest.raises(ValueError, match=r"stored energies are in the prices of .*FP32.*INT8"):
        stored_counts(energy(SPIKING, price_list("int8")).to_json(), 2, carry=True)
