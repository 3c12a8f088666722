"""What the files of agents say, those of several trainings together: returns, spike rates, energy. Torch is not needed."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snn_rl.core.errors import UserError
from snn_rl.measure import stats
from snn_rl.store import card as cards
from snn_rl.store.card import Card, Energy, Points, Score
from snn_rl.store.episodes import Episode
from snn_rl.store.files import CARD, data_folder

ZEROED = ", membrane zeroed"
RATIOS = {  # heading, and what the ANN's energy is divided by
    "ratio": ("ANN / this, everything", "snn_uj"),
    "ratio_synaptic": ("synapses only", "snn_synaptic_uj"),
    "ratio_first_layer_times_T": ("first layer times T", "snn_first_layer_times_T_uj"),
}

Returns = dict[int | None, dict[tuple[int | None, int], float]]
"""Of each training (its seed) the return of each episode, by its start and its own seed."""


@dataclass(frozen=True)
class Kind:
    """What has to be the same for two agents to be trainings of one result: besides what is seen in tables, as text, the
    network, the objective, the penalty on spikes and the recipe."""

    env: str
    name: str
    T: int
    frames: int
    carry: bool
    how: str

    @classmethod
    def of(cls, card: Card) -> Kind:
        """An agent's."""
        made = card.made
        how = json.dumps([card.layers, made.objective, made.spike_penalty or 0.0, made.recipe])
        return cls(card.env, card.name, card.T, card.frames, card.carry and card.T > 0, how)


@dataclass
class Result:
    """Agents of one kind: the trainings of one name by one recipe, each with another seed."""

    kind: Kind
    label: str  # its name, with its folder where there are others of that name
    folders: set[Path] = field(default_factory=set)
    curves: dict[int | None, dict[str, Points]] = field(default_factory=dict)  # training seed -> how it learnt from reward
    scores: dict[str, list[Score]] = field(default_factory=lambda: defaultdict(list))  # of each protocol
    returns: dict[str, Returns] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))

    @property
    def series(self) -> str:
        """What it has in common with its likes of another T: '' for T5 to T1, 'converted' for converted-T5."""
        return re.sub(r"-?T\d+", "", self.label).strip("-")

    def takes(self, kind: Kind, episodes: Sequence[Episode]) -> bool:
        """Whether an agent is one of these: of the kind, and its episodes are of another training seed, or the very same. Of
        each protocol it has to have played those that are here. Without a seed nobody knows whether it is another training:
        then only the very same will do."""
        played: dict[str, set[tuple[int | None, int]]] = defaultdict(set)
        for one in episodes:
            played[one.protocol].add((one.start, one.seed))
        for protocol, there in played.items():
            if any(set(known) != there for known in self.returns.get(protocol, {}).values()):
                return False
        for one in episodes:
            own = self.returns.get(one.protocol, {}).get(one.training_seed, {})
            unknown = None if one.training_seed is None else one.returned
            if own.get((one.start, one.seed), unknown) != one.returned:
                return False
        return kind == self.kind

    def add(self, folder: Path, card: Card, episodes: Sequence[Episode]) -> None:
        """Takes an agent in."""
        made = card.made
        self.folders.add(folder)
        if made.curve is not None and "return" in made.curve and made.selection is not None:
            self.curves[made.seed] = {"training": made.curve["return"], "selection": made.selection}
        for protocol, score in card.scores.items():
            self.scores[protocol].append(score)
        for one in episodes:
            self.returns[one.protocol][one.training_seed][one.start, one.seed] = one.returned


def find(where: str) -> list[Path]:
    """The agent folders that an argument names: one agent's, a run's, an environment's, or that of a shipped agent.

    Raises:
        UserError: if there are none.
    """
    folder = Path(where) if Path(where).exists() else data_folder("agents") / where
    found = [card for pattern in ("", "*/", "*/*/") for card in sorted(folder.glob(pattern + CARD))]
    found = [card for card in found if not any(part.startswith(".") for part in card.relative_to(folder).parts)]
    if not found:
        raise UserError(f"'{where}' holds no agents: give an agent's folder (with a {CARD}), a run's, or a shipped name")
    return [card.parent for card in found]


def read(folders: Iterable[Path]) -> list[Result]:
    """Reads agents and puts together those that are the same training with other seeds: of one environment, name and T, the
    same network, objective, recipe and penalty on spikes. Others of that name get their folder behind it.

    Raises:
        UserError: if a folder is damaged or was never evaluated.
    """
    results: list[Result] = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        card, episodes = cards.read(folder)
        _check_scored(folder, card, episodes)
        kind = Kind.of(card)
        result = next((one for one in results if one.takes(kind, episodes)), None)
        if result is None:
            named = [one.label for one in results if (one.kind.env, one.kind.name) == (kind.env, kind.name)]
            result = Result(kind, _told_apart(kind.name, folder, named) if named else kind.name)
            results.append(result)
        result.add(folder, card, episodes)
    return results


def _check_scored(folder: Path, card: Card, episodes: Sequence[Episode]) -> None:
    if not card.scores or not episodes:
        raise UserError(f"the agent in '{folder}' has no scores; run python -m snn_rl.evaluate '{folder}' --save first")
    if alone := card.scores.keys() - {one.protocol for one in episodes}:
        raise UserError(f"'{folder}' has a score for '{min(alone)}' without its episodes; run evaluate --save again")


def _told_apart(name: str, folder: Path, taken: Sequence[str]) -> str:
    """A name for an agent beside others of its name: with as much of its folder as is needed."""
    above = folder.parent.parts
    names = (f"{name} ({'/'.join(above[-n:])})" for n in range(1, len(above) + 1))
    return next(one for one in names if one not in taken)


def compare(own: Returns, ann: Returns) -> dict[str, Any] | None:
    """Returns minus the ANN's, same start and episode seed; None where they have no episode in common.

    An agent of a training seed is compared with the ANN of that seed, if there is one, else with the mean of all ANNs.
    """
    ours, theirs = [], []
    for training_seed, episodes in own.items():
        partners = [ann[training_seed]] if training_seed in ann else list(ann.values())
        common = [key for key in episodes if partners and all(key in partner for partner in partners)]
        if common:
            ours.append(np.array([episodes[key] for key in common]))
            theirs.append(np.array([[partner[key] for key in common] for partner in partners]).mean(0))
    if not ours:
        return None
    return {**stats.paired(ours, theirs), "episodes": sum(map(len, ours))}


def mean_energy(measured: Iterable[Energy | None]) -> dict[str, Any]:
    """Energy per decision in µJ as the mean over agents; ratios are those of the means. ``{}`` where none was measured."""
    reports = [energy.to_json() for energy in measured if energy is not None]
    out = dict(reports[0]) if reports else {}
    for key in [key for key, value in out.items() if isinstance(value, int | float)]:
        out[key] = float(np.mean([report[key] for report in reports]))
    if "acs_by_layer" in out:
        out["acs_by_layer"] = _mean_by_layer([report["acs_by_layer"] for report in reports])
    for ratio in RATIOS:
        if ratio in out:
            part = RATIOS[ratio][1]
            if not out[part]:
                raise UserError(f"an agent's energy.{part} is 0, which no energy can be compared with; evaluate it again")
            out[ratio] = out["ann_uj"] / out[part]
    return out


def _mean_by_layer(by_layer: Sequence[dict[str, float]]) -> dict[str, float]:
    return {layer: float(np.mean([one[layer] for one in by_layer])) for layer in by_layer[0]}


def summarise(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One row per agent and protocol of one environment: what ``summary.json`` holds. Unmeasured values are None."""
    ordered = sorted(
        results,
        key=lambda one: (
            one.kind.T > 0,
            one.series == "",
            one.series,
            -one.kind.T,
            -one.kind.frames,
            not one.kind.carry,
        ),
    )
    return [_row(one, protocol, _opponent(one, results)) for one in ordered for protocol in one.returns]


def _opponent(result: Result, results: Sequence[Result]) -> Result | None:
    """The ANN that a result is compared with: of those beside it, else of all, the one that is replaced. That one sees all
    there is, and had no teacher."""
    anns = [one for one in results if not one.kind.T]
    own = {folder.parent for folder in result.folders}
    beside = [ann for ann in anns if own & {folder.parent for folder in ann.folders}]
    return max(beside or anns, key=lambda ann: (ann.kind.frames, ann.kind.name == "ann"), default=None)


def _row(result: Result, protocol: str, ann: Result | None) -> dict[str, Any]:
    kind, returns, scores = result.kind, result.returns[protocol], result.scores.get(protocol, [])
    trainings = [np.array(list(episodes.values())) for episodes in returns.values()]
    # An ANN has no membrane: with the SNN's zeroed, it is still the same opponent.
    partner = ann.returns.get(protocol.removesuffix(ZEROED)) if ann is not None and ann is not result else None
    rates = [score.spike_rate for score in scores if score.spike_rate is not None]
    rate = _mean_by_layer(rates) if rates else None
    return {
        "env": kind.env,
        "agent": result.label,
        "series": result.series,
        "T": kind.T,
        "frames": kind.frames,
        "carry": scores[0].carry if scores else kind.carry,
        "protocol": protocol,
        "return": stats.over_trainings(trainings),
        "episodes": sum(map(len, trainings)),
        "training_seeds": len(trainings),
        "ann": ann.label if partner and ann is not None else None,
        "minus_ann": compare(returns, partner) if partner else None,
        "spike_rate": rate,
        "mean_spike_rate": float(np.mean(list(rate.values()))) if rate else None,
        "energy": _cost(kind, scores, ann),
        "agents_measured": len(scores),
    }


def _cost(kind: Kind, scores: Sequence[Score], ann: Result | None) -> dict[str, Any]:
    """Energy per decision; of an agent that sees other frames than the ANN that it replaces, against that one too."""
    cost = mean_energy(score.energy for score in scores)
    if kind.T and cost and ann is not None and ann.kind.frames != kind.frames:
        replaced = mean_energy(score.energy for score in ann.scores.get("greedy", []))
        if replaced and cost["snn_uj"]:
            cost["ratio_replaced"] = replaced["ann_uj"] / cost["snn_uj"]
    return cost
