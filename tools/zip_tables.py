"""The tables of what tools/any_zip.py measured, for docs/any-zip.md and docs/memory.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from doc_tables import Row, markdown

KEPT = 0.05  # part of the ANN's return that may be lost
SECONDS = "seconds, median"
NAMES = {"dqn": "DQN", "qrdqn": "QR-DQN", "ppo": "PPO", "a2c": "A2C", "recurrent_ppo": "RecurrentPPO"}


def tables(path: Path) -> Iterator[tuple[str, str]]:
    """Each table with its name.

    Args:
        path: what tools/any_zip.py wrote.
    """
    records = json.loads(path.read_bytes())["zips"]
    yield "any-zip", straight(records)
    yield "any-zip-chain", chain(records)
    yield "any-zip-zeroed", zeroed(records)


def straight(records: list[Row]) -> str:
    """Straight at T=1: a line for each zip."""
    lines = []
    for record in records:
        if runs := _runs(record, chain=False):
            ann, at_1 = _ann(runs), [one["returns"]["T1"] for one in runs]
            shown = [_beside(one, "T1", "pruned-T1") for one in runs]
            lines.append([_name(record), f"{ann:.1f}", ", ".join(shown), _enough(at_1, ann), _median(runs)])
    return markdown(["zip", "ANN", "T=1, each seed", "at 95 % or more", SECONDS], lines, 1)


def chain(records: list[Row]) -> str:
    """In stages from T=5 down: a line for each zip."""
    lines = []
    for record in records:
        if runs := _runs(record, chain=True):
            ann, stages = _ann(runs), range(runs[0]["start"], 0, -1)
            cells = [", ".join(_beside(one, f"T{T}", f"direct-T{T}") for one in runs) for T in stages]
            all_returns = [one["returns"][f"T{T}"] for one in runs for T in stages]
            lines.append([_name(record), f"{ann:.1f}", *cells, _enough(all_returns, ann), _median(runs)])
    return markdown(["zip", "ANN", *(f"T={T}" for T in range(5, 0, -1)), "at 95 % or more", SECONDS], lines, 1)


def zeroed(records: list[Row]) -> str:
    """The agents at T=1, with their membranes carried and zeroed: a line for each zip."""
    lines = []
    for record in records:
        runs = [one for one in _runs(record, chain=False) if "T1" in one.get("zeroed", {})]
        if len(runs) > 1:
            carried, at_rest = (np.array([one[key]["T1"] for one in runs]) for key in ("returns", "zeroed"))
            gained = carried - at_rest
            error = gained.std(ddof=1) / len(runs) ** 0.5
            cells = [f"{carried.mean():.2f}", f"{at_rest.mean():.2f}", f"{gained.mean():+.2f} ({error:.2f})"]
            lines.append([_name(record), str(len(runs)), *cells])
    return markdown(["zip", "trainings", "carried", "zeroed", "difference (standard error)"], lines, 1)


def _runs(record: Row, *, chain: bool) -> list[Row]:
    runs = [one for one in record["runs"] if (one["start"] is not None) == chain]
    return sorted(runs, key=lambda one: int(one["seed"]))


def _name(record: Row) -> str:
    return f"{NAMES[record['algorithm']]}, {record['env']}"


def _ann(runs: list[Row]) -> float:
    return float(runs[0]["returns"]["ann"])


def _beside(run: Row, name: str, other: str) -> str:
    """The return of an agent, and of what was tried because it fell short."""
    returns: dict[str, Any] = run["returns"]
    return f"{returns[name]:.1f}" + (f" ({other} {returns[other]:.1f})" if other in returns else "")


def _enough(returns: list[float], ann: float) -> str:
    return f"{sum(value >= ann - KEPT * abs(ann) for value in returns)} of {len(returns)}"


def _median(runs: list[Row]) -> str:
    """Seconds of processor time and of wall time."""
    cpu, wall = (np.median([one[key] for one in runs]) for key in ("cpu_seconds", "wall_seconds"))
    return f"{cpu:.0f} ({wall:.0f})"
