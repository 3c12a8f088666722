"""The table of docs/energy.md in which agents meet the strongest ANN, from what tools/opponents.py counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from doc_tables import cell, markdown

from snn_rl.core.counts import Counts
from snn_rl.core.synops import dense_macs
from snn_rl.measure.energy import Operations
from snn_rl.measure.technology import Technology, price_list
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe

HEAD = (
    "agent",
    "convention",
    "agent, µJ",
    "ANN dense",
    "zeros skipped",
    "trained sparse",
    "changes only",
    "strongest ANN / agent",
    "dense ANN that is replaced / agent",
)


class Convention(NamedTuple):
    """A row: what it is called, whose prices it has, and what counts besides synapses."""

    name: str
    prices: str
    terms: Mapping[str, bool]


CONVENTIONS = (
    Convention("the paper's", "fp32", {"state": False}),
    Convention("ours", "fp32", {}),
    Convention("with weight fetches", "fp32", {"weights": True}),
    Convention("with partial sums", "fp32", {"weights": True, "sums": True}),
    Convention("INT8", "int8", {}),
    Convention("INT8, with weight fetches", "int8", {"weights": True}),
)


class Line(NamedTuple):
    """An agent by one convention, in µJ per decision; None where there is no such ANN."""

    agent: float
    dense: float
    nonzero: float | None
    sparse: float | None
    changes: float | None
    replaced: float

    @property
    def factor(self) -> float | None:
        """How many times the agent's energy the strongest ANN takes; None where only the dense one is known."""
        stronger = [one for one in (self.nonzero, self.sparse, self.changes) if one is not None]
        return min(stronger) / self.agent if stronger else None


def lines(record: Mapping[str, Any], replaced: float) -> dict[str, Line]:
    """Of one agent, by the name of the convention.

    Args:
        record: what was counted.
        replaced: multiply-accumulates of the dense ANN that the agent replaces.
    """
    counts = {kind: Counts(**one) for kind, one in record["counts"].items()}
    return {one.name: _line(counts, replaced, price_list(one.prices), one.terms) for one in CONVENTIONS}


def _line(counts: Mapping[str, Counts], replaced: float, prices: Technology, terms: Mapping[str, bool]) -> Line:
    def least(*ways: Operations | None) -> float | None:
        return min((way.uj(prices, **terms) for way in ways if way is not None), default=None)

    own, ann, sparse = counts["agent"], counts.get("ann"), counts.get("sparse")
    agent, dense = least(Operations.of(own), Operations.changed(own)), least(Operations(own.ann_macs))
    assert agent is not None
    assert dense is not None
    return Line(
        agent,
        dense,
        None if ann is None else least(Operations(ann.effective_macs)),
        None if sparse is None else least(Operations(sparse.effective_macs)),
        least(*(Operations.changed(one) for one in (ann, sparse) if one is not None)),
        Operations(replaced).uj(prices, **terms),
    )


def measured(results: Path) -> dict[str, dict[str, Line]]:
    """Of each agent that was counted its lines, by ``ENVIRONMENT/NAME``."""
    found = {}
    for path in sorted(results.glob("*/opponents.json")):
        for name, record in json.loads(path.read_text(encoding="utf-8")).items():
            agent = f"{path.parent.name}/{name}"
            recipe = load_recipe(agents.load(agent).env)
            ann = agents.load(f"{recipe.ann_env}/ann")
            found[agent] = lines(record, sum(dense_macs(ann.network.spec, ann.observation_shape)))
    return found


def table(found: Mapping[str, Mapping[str, Line]]) -> str:
    """A row for each agent and convention."""
    rows = []
    for agent, by_convention in found.items():
        for name, line in by_convention.items():
            spent = [cell(one, ".3g") for one in line[:5]]
            rows.append([agent, name, *spent, cell(line.factor, ".2f"), f"{line.replaced / line.agent:.1f}"])
    return markdown(HEAD, rows, 2)


def baselines(results: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Mean returns of who does not look, of the ANN and of the agent at T=1; *part*: what the agent gains over the best
    constant action, of what its ANN gains over it. ``rows``: those of the reports."""
    means = {(row["env"], row["agent"]): row["return"]["mean"] for row in rows if row["protocol"] == "greedy"}
    lines = []
    for path in sorted(results.glob("*/baselines.json")):
        env, played = path.parent.name, json.loads(path.read_text(encoding="utf-8"))
        constant = {action: float(np.mean(returns)) for action, returns in played.items() if action != "random"}
        best = max(constant, key=lambda action: constant[action])
        agent = "T1-frames1" if (env, "T1-frames1") in means else "T1"
        ann, own = means.get((env, "ann")), means[env, agent]
        part = None if ann is None else (own - constant[best]) / (ann - constant[best])
        shown = [f"{np.mean(played['random']):.2f}", f"{constant[best]:.2f} (action {best})", cell(ann, ".2f"), f"{own:.2f}"]
        lines.append([env, str(len(played["random"])), *shown, cell(part, ".2f")])
    return markdown(["environment", "episodes", "random", "best constant action", "ANN", "T=1", "part"], lines, 1)
