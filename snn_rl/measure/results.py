"""What the files of agents say, pooled over training seeds: returns, spike rates, energy. Torch is not needed."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snn_rl.core.errors import UserError
from snn_rl.measure import stats
from snn_rl.store.files import CARD, EPISODES, data_folder

ZEROED = ", membrane zeroed"
RATIOS = {  # heading, and what the ANN's energy is divided by
    "ratio": ("ANN / this, everything", "snn_uj"),
    "ratio_synaptic": ("synapses only", "snn_synaptic_uj"),
    "ratio_first_layer_times_T": ("first layer times T", "snn_first_layer_times_T_uj"),
}

Returns = dict[str, dict[tuple[str, str], float]]  # training seed -> (start, episode seed) -> return


@dataclass
class Entry:
    """Agents of one name, pooled over the runs that trained them.

    ``kind``: what has to be the same for that, besides the fields before it; ``folders``: where they lie.
    """

    env: str
    name: str
    T: int
    frames: int
    carry: bool
    kind: str
    label: str  # its name, with its folder where there are others of that name
    folders: set[Path] = field(default_factory=set)
    curves: dict[str, Any] = field(default_factory=dict)  # training seed -> how learning from reward went
    scores: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    returns: dict[str, Returns] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))

    @property
    def series(self) -> str:
        """What it has in common with its likes of another T: '' for T5 to T1, 'converted' for converted-T5."""
        return re.sub(r"-?T\d+", "", self.label).strip("-")


def find(where: str) -> list[Path]:
    """The agent folders that an argument names: one agent's, a run's, an environment's, or that of a shipped agent.

    Raises:
        UserError: if there are none.
    """
    folder = Path(where) if Path(where).exists() else data_folder("agents") / where
    cards = [card for pattern in ("", "*/", "*/*/") for card in sorted(folder.glob(pattern + CARD))]
    cards = [card for card in cards if not any(part.startswith(".") for part in card.relative_to(folder).parts)]
    if not cards:
        raise UserError(f"'{where}' holds no agents: give an agent's folder (with a {CARD}), a run's, or a shipped name")
    return [card.parent for card in cards]


def read(folders: Iterable[Path]) -> list[Entry]:
    """Reads agents and pools those that are the same training with other seeds: of one environment, name and T, the same
    network, objective, recipe and penalty on spikes. Others of that name get their folder behind it.

    Raises:
        UserError: if a folder is damaged or was never evaluated.
    """
    entries: list[Entry] = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        try:
            card = json.loads((folder / CARD).read_text())
            with (folder / EPISODES).open(newline="") as file:
                rows = list(csv.DictReader(file))
            if type(card["T"]) is not int or type(card["frames"]) is not int:
                raise ValueError(f"T and frames are {card['T']!r} and {card['frames']!r}")
            if not card["scores"] or not rows:
                raise UserError(
                    f"the agent in '{folder}' has no scores; run python -m snn_rl.evaluate '{folder}' --save first"
                )
            made = card["made"]
            how = [card.get("network"), made.get("objective"), made.get("spike_penalty", 0.0), made.get("recipe")]
            key = (card["env"], card["name"], card["T"], card["frames"], bool(card["T"] and card["carry"]), json.dumps(how))
            known = [one for one in entries if (one.env, one.name) == key[:2]]
            mates = [one for one in known if (one.T, one.frames, one.carry, one.kind) == key[2:] and _agree(one, rows)]
            if not mates:
                taken = {one.label for one in known}
                mates = [Entry(*key, label=_told_apart(key[1], folder, taken) if known else key[1])]
                entries += mates
            entry = mates[0]
            entry.folders.add(folder)
            if "return" in (curve := made.get("curve", {})):
                entry.curves[str(made["seed"])] = {"training": curve["return"], "selection": made["selection"]}
            for protocol, score in card["scores"].items():
                if not any(row["protocol"] == protocol for row in rows):
                    raise UserError(f"'{folder}' has a score for '{protocol}' without its episodes; run evaluate --save again")
                spent = [key for _, key in RATIOS.values()] if card["T"] else []
                if missing := [key for key in ("ann_uj", *spent) if key not in score.get("energy", {key: 0})]:
                    raise ValueError(f"the energy of '{protocol}' has no {missing[0]}")
                entry.scores[protocol].append(score)
            for row in rows:
                value = float(row["return"])
                if not math.isfinite(value):
                    raise ValueError(f"a return is {value}")
                entry.returns[row["protocol"]][row["training_seed"]][row["start"], row["seed"]] = value
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"the agent in '{folder}' is damaged ({error}); restore it or run evaluate --save again"
            ) from error
    return entries


def _agree(entry: Entry, rows: Sequence[dict[str, str]]) -> bool:
    """Whether episodes are of other training seeds than an entry's, or the very same; of each protocol those that the entry
    has. Without a seed nobody knows whether it is another training: then only the very same will do."""
    played: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in rows:
        played[row["protocol"]].add((row["start"], row["seed"]))
    for protocol, episodes in played.items():
        if any(set(known) != episodes for known in entry.returns.get(protocol, {}).values()):
            return False
    for row in rows:
        own = entry.returns.get(row["protocol"], {}).get(row["training_seed"], {})
        value = float(row["return"])
        if own.get((row["start"], row["seed"]), value if row["training_seed"] else None) != value:
            return False
    return True


def _told_apart(name: str, folder: Path, taken: set[str]) -> str:
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


def energy(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Energy per decision in uJ as the mean over agents; ratios are those of the means."""
    reports = [score["energy"] for score in scores if "energy" in score]
    out = dict(reports[0]) if reports else {}
    for key in [key for key, value in out.items() if isinstance(value, int | float)]:
        out[key] = float(np.mean([report[key] for report in reports]))
    if "acs_by_layer" in out:
        by_layer = [report["acs_by_layer"] for report in reports]
        out["acs_by_layer"] = {layer: float(np.mean([one[layer] for one in by_layer])) for layer in by_layer[0]}
    for ratio in RATIOS:
        if ratio in out:
            out[ratio] = out["ann_uj"] / out[RATIOS[ratio][1]]
    return out


def summarise(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """One row per agent and protocol of one environment: what ``summary.json`` holds. Unmeasured values are None."""
    anns = [entry for entry in entries if not entry.T]
    rows = []
    for entry in sorted(entries, key=lambda e: (e.T > 0, e.series == "", e.series, -e.T, -e.frames, not e.carry)):
        own = {folder.parent for folder in entry.folders}
        beside = [ann for ann in anns if own & {folder.parent for folder in ann.folders}]
        # The one that is replaced sees all there is, and had no teacher.
        like = max(beside or anns, key=lambda ann: (ann.frames, ann.name == "ann"), default=None)
        for protocol, returns in entry.returns.items():
            groups = [np.array(list(episodes.values())) for episodes in returns.values()]
            scores = entry.scores.get(protocol, [])
            rates = [score["spike_rate"] for score in scores if "spike_rate" in score]
            # An ANN has no membrane: with the SNN's zeroed, it is still the same opponent.
            partner = like.returns.get(protocol.removesuffix(ZEROED)) if like is not None and like is not entry else None
            cost = energy(scores)
            replaced = energy(like.scores.get("greedy", [])) if like is not None and like.frames != entry.frames else {}
            if entry.T and cost and replaced:
                cost["ratio_replaced"] = replaced["ann_uj"] / cost["snn_uj"]
            rate = {layer: float(np.mean([r[layer] for r in rates])) for layer in rates[0]} if rates else None
            rows.append(
                {
                    "env": entry.env,
                    "agent": entry.label,
                    "series": entry.series,
                    "T": entry.T,
                    "frames": entry.frames,
                    "carry": scores[0].get("carry", entry.carry) if scores else entry.carry,
                    "protocol": protocol,
                    "return": stats.over_trainings(groups),
                    "episodes": sum(map(len, groups)),
                    "training_seeds": len(groups),
                    "ann": like.label if partner and like is not None else None,
                    "minus_ann": compare(returns, partner) if partner else None,
                    "spike_rate": rate,
                    "mean_spike_rate": float(np.mean(list(rate.values()))) if rate else None,
                    "energy": cost,
                    "agents_measured": len(scores),
                }
            )
    return rows
