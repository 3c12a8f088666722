"""What a run found, as a table. Torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADINGS = (
    "network",
    "accuracy",
    "minus ANN",
    "converted, untrained",
    "spikes per neuron and timestep",
    "uJ per image",
    "ANN / this",
    "sparse ANN / this",
    "ANN / this, synapses only",
    "ANN / this, layer 1 x T",
)
NONE = "-"


def rows(results: Mapping[str, Any]) -> list[list[str]]:
    """A line for the ANN and for each T, in the order of :data:`HEADINGS`."""
    ann, lines = results["accuracy"]["ann"], []
    sparse = results["energy"]["ann"]["ann_effective_uj"]
    for name, share in results["accuracy"].items():
        cost, rates = results["energy"][name], list(results["spike_rate"].get(name, {}).values())
        line = ["ANN" if name == "ann" else f"T={name.removeprefix('T')}", f"{share:.2%}"]
        if name == "ann":
            lines.append([*line, NONE, NONE, NONE, f"{cost['ann_uj']:.4g} (sparse: {sparse:.4g})", *[NONE] * 4])
            continue
        converted = results["converted"].get(name)
        line += [f"{100 * (share - ann):+.2f}", NONE if converted is None else f"{converted:.2%}"]
        line += [f"{sum(rates) / len(rates):.3f}", f"{cost['snn_uj']:.4g}", f"{cost['ratio']:.2f}"]
        line += [f"{sparse / cost['snn_uj']:.2f}"]
        lines.append([*line, f"{cost['ratio_synaptic']:.2f}", f"{cost['ratio_first_layer_times_T']:.2f}"])
    return lines


def report(results: Mapping[str, Any]) -> str:
    """``report.md`` of a run."""
    images, cost = results["images"], results["energy"]["ann"]
    table = [HEADINGS, ["---"] + ["---:"] * (len(HEADINGS) - 1), *rows(results)]
    lines = "\n".join("| " + " | ".join(line) + " |" for line in table)
    return f"""# {results["data"]}, {results["net"]}, seed {results["seed"]}

{lines}

Accuracy is that on {images["test"]:,} held-out images; networks learnt from {images["train"]:,} and were selected by
{images["validation"]:,} others. *converted, untrained*: what the conversion straight to that T gives.
*ANN / this* divides the energy of the dense ANN by that of the spiking network, everything counted; *sparse ANN*: of an ANN
that skips what is 0.
Energy: {cost["technology"]}; {cost["convention"]}.
"""
