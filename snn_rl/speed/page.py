"""What a benchmark found: as JSON, as Markdown tables and as a plot."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch as th
from matplotlib.figure import Figure

from snn_rl.speed import cartpole, decisions, layers, updates
from snn_rl.speed.timing import Contest
from snn_rl.store.provenance import versions

DECIDING = {
    "event_int8": "spiking, T=1, one frame: integers, event engine (numba)",
    "event_float": "the same in float numbers, event engine",
    "c_int8": "the same as integers, exported C",
    "torch_snn": "the same in float numbers, torch",
    "torch_ann_4": "ANN, four frames, torch",
    "torch_ann_1": "ANN, one frame, torch",
    "ort_fp32_4": "ANN, four frames, ONNX Runtime, float32",
    "ort_fp32_1": "ANN, one frame, ONNX Runtime, float32",
    "ort_int8_4": "ANN, four frames, ONNX Runtime, 8 bits",
    "ort_int8_1": "ANN, one frame, ONNX Runtime, 8 bits",
}
BALANCING = {
    "c_int8": "spiking, T=1: integers, exported C, called from C",
    "event_int8": "the same, event engine (numba), through `predict`",
    "torch_snn": "the same in float numbers, torch, through `predict`",
    "torch_ann": "ANN, torch, through `predict`",
}
UPDATING = {
    "stock_dqn": "Stable-Baselines3's DQN",
    "ann": "SpikingDQN, T=0 (the ANN)",
    "T1": "SpikingDQN, T=1",
    "T5": "SpikingDQN, T=5",
}


def machine() -> dict[str, Any]:
    """Where the numbers are from."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "bfloat16": bool(th.cpu.get_capabilities().get("avx512_bf16", False)),
        "threads": th.get_num_threads(),
        "versions": versions(),
    }


def record(deciding: Contest, updating: Contest, neurons: Contest, balancing: Contest, observations: int) -> dict[str, Any]:
    """What ``--json`` writes.

    Args:
        deciding: seconds of as many decisions as there were observations.
        updating: seconds of an update.
        neurons: seconds of forward and backward of a layer.
        balancing: seconds of as many decisions of CartPole as there were observations.
        observations: how many.
    """
    spent = {name: deciding.median(name) for name in decisions.NAMES}
    rates = {name: updating.median(name) for name in updates.NAMES}
    names = {**neurons.seconds, **neurons.missing}
    balanced = {name: balancing.median(name) for name in cartpole.NAMES}
    return {
        "decision_us": {name: None if one is None else one / observations * 1e6 for name, one in spent.items()},
        "cartpole_us": {name: None if one is None else one / observations * 1e6 for name, one in balanced.items()},
        "updates_per_s": {name: None if one is None else 1 / one for name, one in rates.items()},
        "decision_ratio": {name: deciding.ratio(name, "event_int8") for name in decisions.NAMES},
        "cartpole_ratio": {name: balancing.ratio(name, "c_int8") for name in cartpole.NAMES},
        "update_ratio": {name: updating.ratio("stock_dqn", name) for name in updates.NAMES},
        "layer_ratio": {name: neurons.ratio(name, layers.OURS) for name in names},
        "missing": {**deciding.missing, **updating.missing, **neurons.missing, **balancing.missing},
        "machine": machine(),
    }


def tables(found: dict[str, Any]) -> str:
    """Three tables of ratios, and where they are from."""
    where = found["machine"]
    said = f"{where['processor']}, {where['cores']} cores, {where['threads']} thread, "
    said += (
        f"{'with' if where['bfloat16'] else 'without'} bfloat16, torch {where['versions']['torch']}; processor time, one run."
    )
    parts = [
        said,
        _table("decision", "times as long as the event engine", found["decision_ratio"], DECIDING),
        _cartpole(found) if "cartpole_us" in found else "",
        _table("update from 32 transitions", "times the updates per second of stock DQN", found["update_ratio"], UPDATING),
        _table(f"forward and backward, T={layers.T}", "times as long as ours", found["layer_ratio"], {}),
    ]
    if isinstance(found.get("activity"), dict):
        parts.append(_noise(found["activity"]["noise"]))
    if found["missing"]:
        parts.append("\n".join(f"* {DECIDING.get(name, name)}: {why}" for name, why in found["missing"].items()))
    return "\n\n".join(part for part in parts if part)


def _table(first: str, second: str, ratios: dict[str, float | None], words: dict[str, str]) -> str:
    lines = [f"| {first} | {second} |", "| --- | ---: |"]
    lines += [f"| {words.get(name, name)} | {'-' if one is None else f'{one:.2f}'} |" for name, one in ratios.items()]
    return "\n".join(lines)


def _cartpole(found: dict[str, Any]) -> str:
    table = _table("decision of CartPole", "times as long as the exported C", found["cartpole_ratio"], BALANCING)
    spent = found["cartpole_us"]["c_int8"]
    return table if spent is None else f"{table}\n\nIn this run a decision of CartPole took {spent:.2f} µs in C."


def _noise(found: dict[str, float | None]) -> str:
    rival = "the 8-bit ANN of {} in ONNX Runtime"
    words = {"dense": "our own dense way", "ort_int8_4": rival.format("four frames"), "ort_int8_1": rival.format("one frame")}
    said = [f"{found[name]:.2f} times as long as {word}" for name, word in words.items() if found[name] is not None]
    return f"With images of noise, the worst input, the event engine takes {', '.join(said)}." if said else ""


def plot(found: dict[str, Any]) -> Figure:
    """Bars: how many times as long as the event engine a decision takes."""
    known = {DECIDING[name]: one for name, one in found["decision_ratio"].items() if one is not None}
    figure = Figure(figsize=(8, 0.45 * len(known) + 1), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(known)[::-1], list(known.values())[::-1], color="tab:blue")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("time of a decision, as a multiple of the event engine's (log scale)")
    return figure
