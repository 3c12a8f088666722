"""Tables and plots of runs and agents, from their files alone: reward, spike rates and energy against T.

Nothing is played and torch is not needed: the numbers come from ``card.json`` and ``episodes.csv``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_rl import stats
from snn_rl.errors import UserError
from snn_rl.files import whole
from snn_rl.plots import draw, learning

CARD, EPISODES = "card.json", "episodes.csv"
ZEROED = ", membrane zeroed"
UNMEASURED = "-"
RATIOS = {  # heading, and what the ANN's energy is divided by
    "ratio": ("ANN / this, everything", "snn_uj"),
    "ratio_synaptic": ("synapses only", "snn_synaptic_uj"),
    "ratio_first_layer_times_T": ("first layer times T", "snn_first_layer_times_T_uj"),
}

Returns = dict[str, dict[tuple[str, str], float]]  # training seed -> (start, episode seed) -> return


@dataclass
class Entry:
    """Agents of one name, pooled over the runs that trained them."""

    env: str
    name: str
    T: int
    frames: int
    carry: bool
    curves: dict[str, Any] = field(default_factory=dict)  # training seed -> how learning from reward went
    scores: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    returns: dict[str, Returns] = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))

    @property
    def series(self) -> str:
        """What it has in common with its likes of another T: '' for T5 to T1, 'converted' for converted-T5."""
        return re.sub(r"-?T\d+", "", self.name).strip("-")


def find(where: str) -> list[Path]:
    """The agent folders that an argument names: one agent's, a run's, an environment's, or that of a shipped agent.

    Raises:
        UserError: if there are none.
    """
    installed = Path(__file__).parent / "data" / "agents"
    shipped = installed if installed.is_dir() else Path(__file__).parent.parent / "agents"
    folder = Path(where) if Path(where).exists() else shipped / where
    cards = [card for pattern in ("", "*/", "*/*/") for card in sorted(folder.glob(pattern + CARD))]
    cards = [card for card in cards if not any(part.startswith(".") for part in card.relative_to(folder).parts)]
    if not cards:
        raise UserError(f"'{where}' holds no agents: give an agent's folder (with a {CARD}), a run's, or a shipped name")
    return [card.parent for card in cards]


def read(folders: Iterable[Path]) -> list[Entry]:
    """Reads agents and pools those of the same environment, name, T, frames and carry.

    Raises:
        UserError: if a folder is damaged, was never evaluated, or contradicts another one.
    """
    entries: dict[tuple[Any, ...], Entry] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        try:
            card = json.loads((folder / CARD).read_text())
            with (folder / EPISODES).open(newline="") as file:
                rows = list(csv.DictReader(file))
            if not card["scores"] or not rows:
                raise UserError(
                    f"the agent in '{folder}' has no scores; run python -m snn_rl.evaluate '{folder}' --save first"
                )
            key = (card["env"], card["name"], card["T"], card["frames"], bool(card["T"] and card["carry"]))
            entry = entries.setdefault(key, Entry(*key))
            if "return" in (curve := card["made"].get("curve", {})):
                entry.curves[str(card["made"]["seed"])] = {"training": curve["return"], "selection": card["made"]["selection"]}
            for protocol, score in card["scores"].items():
                if not any(row["protocol"] == protocol for row in rows):
                    raise UserError(f"'{folder}' has a score for '{protocol}' without its episodes; run evaluate --save again")
                entry.scores[protocol].append(score)
            for row in rows:
                episode, value = (row["start"], row["seed"]), float(row["return"])
                known = entry.returns[row["protocol"]][row["training_seed"]].setdefault(episode, value)
                if known != value:
                    raise UserError(
                        f"'{folder}' contradicts another agent '{entry.env}/{entry.name}' of training seed "
                        f"'{row['training_seed']}' (start {row['start'] or row['seed']}: {value:g}, {known:g}); give only one"
                    )
        except UserError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"the agent in '{folder}' is damaged ({error}); restore it or run evaluate --save again"
            ) from error
    return list(entries.values())


def _mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x.mean(-1))


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
    low, high = stats.bootstrap([a - b for a, b in zip(ours, theirs, strict=True)], _mean)
    pooled = np.concatenate(ours), np.concatenate(theirs)
    return {**stats.paired(*pooled), "low": low, "high": high, "episodes": len(pooled[0])}


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
    like = max(anns, key=lambda ann: ann.frames, default=None)  # the one that is replaced sees all there is
    rows = []
    for entry in sorted(entries, key=lambda e: (e.T > 0, e.series == "", e.series, -e.T, -e.frames, not e.carry)):
        for protocol, returns in entry.returns.items():
            groups = [np.array(list(episodes.values())) for episodes in returns.values()]
            scores = entry.scores.get(protocol, [])
            rates = [score["spike_rate"] for score in scores if "spike_rate" in score]
            # An ANN has no membrane: with the SNN's zeroed, it is still the same opponent.
            partner = like.returns.get(protocol.removesuffix(ZEROED)) if entry.T and like is not None else None
            cost = energy(scores)
            replaced = energy(like.scores.get("greedy", [])) if like is not None and like.frames != entry.frames else {}
            if entry.T and cost and replaced:
                cost["ratio_replaced"] = replaced["ann_uj"] / cost["snn_uj"]
            rate = {layer: float(np.mean([r[layer] for r in rates])) for layer in rates[0]} if rates else None
            summary = stats.summary(np.concatenate(groups))
            summary["ci95"] = stats.bootstrap(groups, stats.iqm)
            rows.append(
                {
                    "env": entry.env,
                    "agent": entry.name,
                    "series": entry.series,
                    "T": entry.T,
                    "frames": entry.frames,
                    "carry": scores[0].get("carry", entry.carry) if scores else entry.carry,
                    "protocol": protocol,
                    "return": {**summary, "mean_ci95": stats.bootstrap(groups, _mean)},
                    "episodes": sum(map(len, groups)),
                    "training_seeds": len(groups),
                    "ann": like.name if partner and like is not None else None,
                    "minus_ann": compare(returns, partner) if partner else None,
                    "spike_rate": rate,
                    "mean_spike_rate": float(np.mean(list(rate.values()))) if rate else None,
                    "energy": cost,
                    "agents_measured": len(scores),
                }
            )
    return rows


def _cell(value: float | None, form: str = ".2f") -> str:
    return UNMEASURED if value is None else format(value, form)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table; what was not measured is '-'."""
    head = ["agent", "T", "frames", "carry", "protocol", "mean return", "IQM [95 % interval]", "min .. max", "episodes"]
    head += ["training seeds", "minus ANN", "mean spike rate", "uJ per decision", *(name for name, _ in RATIOS.values())]
    narrower = any("ratio_replaced" in row["energy"] for row in rows)
    head += ["replaced ANN / this"] * narrower
    lines = [head, ["---"] * 5 + ["---:"] * (len(head) - 5)]
    for row in rows:
        got, cost = row["return"], row["energy"]
        carry = ("yes" if row["carry"] else "no") if row["T"] else UNMEASURED
        line = [row["agent"], str(row["T"] or "ANN"), str(row["frames"]), carry, row["protocol"], f"{got['mean']:.2f}"]
        line += [f"{got['iqm']:.2f} [{got['ci95'][0]:.2f}, {got['ci95'][1]:.2f}]", f"{got['min']:g} .. {got['max']:g}"]
        line += [str(row["episodes"]), str(row["training_seeds"])]
        line += [_cell(row["minus_ann"] and row["minus_ann"]["mean"], "+.2f"), _cell(row["mean_spike_rate"], ".3f")]
        line += [_cell(cost.get("snn_uj" if row["T"] else "ann_uj"), ".4g"), *(_cell(cost.get(ratio)) for ratio in RATIOS)]
        line += [_cell(cost.get("ratio_replaced"))] * narrower
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(env: str, rows: Sequence[dict[str, Any]], plots: Iterable[str]) -> str:
    """``report.md`` of one environment."""
    said = {row["energy"].get(key) for row in rows for key in ("technology", "convention")} - {None}
    notes = f"""Returns are unclipped, of whole games, over all episodes of all training seeds. The interval is a bootstrap
over training seeds and their episodes (over episodes alone where there is one training seed).

*minus ANN*: mean difference to the ANN's return over the same starts and episode seeds under the same protocol
(its own membrane zeroed or not: an ANN has none).

*mean spike rate*: spikes per neuron and timestep, mean of the layers.

*uJ per decision*: of an SNN everything counted, of the ANN dense. *ANN / this* divides the energy of the dense ANN
of the same shape by the SNN's: with everything counted; with synapses only (no neuron updates, no membrane traffic),
the first layer charged once per decision; and with everything counted, the first layer charged at each of the T
timesteps. *replaced ANN / this*: of an agent that sees fewer frames than the ANN that it was made from, against that ANN.
Energy: {"; ".join(sorted(said)) or UNMEASURED}.

'{UNMEASURED}': not measured or not applicable."""
    images = [f"![{name}]({name})" for name in plots]
    return "\n\n".join([f"# {env}", table(rows), *images, notes]) + "\n"


def write(entries: Sequence[Entry], out: Path) -> list[Path]:
    """Writes ``report.md``, ``summary.json`` and the plots, each environment's into its own folder where there are several.

    Raises:
        UserError: if the folder cannot be written.
    """
    written: list[Path] = []
    environments = list(dict.fromkeys(entry.env for entry in entries))
    for env in environments:
        folder = out / env.replace("/", "-") if len(environments) > 1 else out
        rows = summarise([entry for entry in entries if entry.env == env])
        plots, files = draw(rows), {}
        if curves := {entry.name: entry.curves for entry in entries if entry.env == env and entry.curves}:
            plots["learning.png"] = learning(curves, env)
        for name, figure in plots.items():
            figure.savefig(buffer := io.BytesIO())
            files[name] = buffer.getvalue()
        files["summary.json"] = (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode()
        files["report.md"] = text(env, rows, plots).encode()
        if (folder / "report.md").exists() and not (folder / "summary.json").exists():
            raise UserError(f"'{folder}' holds a report.md that is not from here; choose another --out")
        for name, content in files.items():
            try:
                with whole(folder / name) as new:
                    new.write_bytes(content)
            except OSError as error:
                raise UserError(f"cannot write the report to '{folder}': {error.strerror}; choose another --out") from error
            written.append(folder / name)
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.report``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.report",
        description="Tables and plots of evaluated agents: reward, spike rates and energy against T.",
        epilog="example: python -m snn_rl.report runs/pong0 runs/pong1 runs/pong2 --out report",
    )
    parser.add_argument("agents", nargs="+", help="folders of agents, of runs, or names of shipped ones")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.md, summary.json and the plots")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    for path in write(read(folder for where in args.agents for folder in find(where)), args.out):
        print(path)
    return 0


if __name__ == "__main__":
    from snn_rl.console import run

    run(main)
