"""The tables of docs/vision.md and docs/sweeps.md, from docs/results/vision*.json and docs/results/sweep*.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import doc_tables

RESULTS = Path(__file__).parents[1] / "docs" / "results"
ACCURACY = ("network", "accuracy", "min .. max", "minus ANN", "converted, untrained", "spikes", "µJ")
HEADINGS = (*ACCURACY, "ANN / this", "sparse ANN / this", "synapses only", "layer 1 x T")

Results = dict[str, Any]


def digits(record: Results) -> str:
    """Accuracy and energy at each T, means over trainings."""
    runs, lines = record["runs"], []
    for name in runs[0]["accuracy"]:
        shares = [100 * run["accuracy"][name] for run in runs]
        line = [
            "ANN" if name == "ann" else f"T={name[1:]}",
            f"{mean(shares):.2f}",
            f"{min(shares):.2f} .. {max(shares):.2f}",
        ]
        cost = [run["energy"][name] for run in runs]
        if name == "ann":
            lines.append([*line, "-", "-", "-", f"{mean(each['ann_uj'] for each in cost):.3g}", "1", "-", "1", "1"])
            continue
        difference = mean(100 * (run["accuracy"][name] - run["accuracy"]["ann"]) for run in runs)
        line += [f"{difference:+.2f}", f"{mean(100 * run['converted'][name] for run in runs):.2f}"]
        line.append(f"{mean(mean(run['spike_rate'][name].values()) for run in runs):.3f}")
        line += [f"{mean(each['snn_uj'] for each in cost):.3g}", f"{mean(each['ratio'] for each in cost):.2f}"]
        sparse = [run["energy"]["ann"]["ann_effective_uj"] / run["energy"][name]["snn_uj"] for run in runs]
        line += [f"{mean(sparse):.2f}", f"{mean(each['ratio_synaptic'] for each in cost):.2f}"]
        lines.append([*line, f"{mean(each['ratio_first_layer_times_T'] for each in cost):.2f}"])
    first = runs[0]
    images = first["images"]
    said = f"{len(runs)} trainings (seeds {', '.join(str(run['seed']) for run in runs)}); accuracy in per cent of "
    said += f"{images['test']:,} held-out images, {images['train']:,} to learn from, {images['validation']:,} to select by"
    return f"**{first['data']}, {first['net']}** ({said})\n\n{doc_tables.markdown(HEADINGS, lines, 1)}"


def step(record: Results) -> str:
    """How long a gradient step takes beside the ANN's."""
    headings = ["network", "T=1 / its ANN with batch norm", "T=1 / its ANN with it folded", "batch", "steps timed"]
    steps = len(record["cpu_seconds"]["T1"])
    line = [record["net"], f"{record['ratio']['ann']:.2f}", f"{record['ratio']['ann_folded']:.2f}"]
    return doc_tables.markdown(headings, [[*line, str(record["batch_size"]), str(steps)]], 1)


def straight(record: Results) -> str:
    """T=1 by stages from T=5 down, and straight from the conversion to T=1 with as many epochs."""
    headings = ["trained", "accuracy of each training", "mean", "spikes", "µJ"]
    lines = []
    for how, each in (("from T=5 down", record["runs"]), ("straight at T=1", record["straight"])):
        shares = [100 * run["accuracy"]["T1"] for run in each]
        rate = mean(mean(run["spike_rate"]["T1"].values()) for run in each)
        cost = mean(run["energy"]["T1"]["snn_uj"] for run in each)
        lines.append([how, ", ".join(f"{share:.2f}" for share in shares), f"{mean(shares):.2f}", f"{rate:.3f}", f"{cost:.3g}"])
    return doc_tables.markdown(headings, lines, 1)


def sweep(record: Results) -> str:
    """What a sweep adds to its cells."""
    headings = ["", "cells", "of the sweep", "of the cell and what runs it", "more than alone", "bytes that it leaves"]
    times, kinds = record["real"]["alone_cpu_seconds"], {"leaving": "files only", "real": "trainings"}
    lines = [["trainings, alone", str(len(times)), "-", f"{mean(times):.2f}", "-", "-"]]
    for key, kind in kinds.items():
        for where, found in (("processes", record[key]["local"]), ("Ray", record[key]["ray"])):
            driver, cell = found["driver_cpu_seconds"], found["cell_cpu_seconds"]
            more = f"{driver + cell - mean(times):+.2f}" if key == "real" else "-"
            line = [f"{kind}, {where}", str(found["cells"]), f"{driver:.4f}", f"{cell:.3f}", more]
            lines.append([*line, f"{found['bytes']:,}"])
    return doc_tables.markdown(headings, lines, 1)


def choice(record: Results) -> str:
    """Accuracies by epochs and dropout, on images that are not held out."""
    names = list(record["rows"][0]["accuracy"][0])
    headings = ["epochs, dropout", *("ANN" if name == "ann" else f"T={name[1:]}" for name in names), "mean"]
    lines = []
    for row in record["rows"]:
        chosen = all(row[name] == value for name, value in record["chosen"].items())
        shares = [mean(each[name] for each in row["accuracy"]) for name in names]
        cells = [f"{row['epochs']}, {row['dropout']:g}", *(f"{100 * share:.2f}" for share in (*shares, row["mean"]))]
        lines.append([f"**{cell}**" if chosen else cell for cell in cells])
    return doc_tables.markdown(headings, lines, 1)


def tables() -> Iterator[tuple[str, str]]:
    """All tables by their names."""
    makers = {"vision-step": step, "vision-choice": choice, "vision-straight": straight}
    for path in sorted(RESULTS.glob("vision-*.json")):
        found = json.loads(path.read_bytes())
        yield path.stem, makers.get(path.stem, digits)(found)
    yield "sweep-cost", sweep(json.loads((RESULTS / "sweep-cost.json").read_bytes()))
