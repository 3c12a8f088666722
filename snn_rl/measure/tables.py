"""Tables and plots of runs and agents, from their files alone: reward, spike rates and energy against T.

Nothing is played and torch is not needed: the numbers come from ``card.json`` and ``episodes.csv``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.measure.pictures import picture
from snn_rl.measure.plots import draw, learning
from snn_rl.measure.results import RATIOS, Result, summarise
from snn_rl.store.files import folder_name, whole

UNMEASURED = "-"


def _cell(value: float | None, form: str = ".2f") -> str:
    return UNMEASURED if value is None else format(value, form)


def robust(reward: dict[str, Any]) -> str:
    """The interquartile mean, its interval and what they are over: ``486.74 [474.60, 497.60] over trainings``."""
    low, high = reward["ci95"]
    return f"{reward['iqm']:.2f} [{low:.2f}, {high:.2f}] over {reward['over']}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table; what was not measured is '-'."""
    head = ["agent", "T", "frames", "carry", "protocol", "mean return", "IQM [95 % interval]", "min .. max", "episodes"]
    head += ["training seeds", "minus ANN", "mean spike rate", "µJ per decision", *(name for name, _ in RATIOS.values())]
    narrower = any("ratio_replaced" in row["energy"] for row in rows)
    head += ["replaced ANN / this"] * narrower
    lines = [head, ["---"] * 5 + ["---:"] * (len(head) - 5)]
    for row in rows:
        got, cost = row["return"], row["energy"]
        carry = ("yes" if row["carry"] else "no") if row["T"] else UNMEASURED
        line = [row["agent"], str(row["T"] or "ANN"), str(row["frames"]), carry, row["protocol"], f"{got['mean']:.2f}"]
        line += [robust(got), f"{got['min']:g} .. {got['max']:g}"]
        line += [str(row["episodes"]), str(row["training_seeds"])]
        line += [_cell(row["minus_ann"] and row["minus_ann"]["mean"], "+.2f"), _cell(row["mean_spike_rate"], ".3f")]
        line += [_cell(cost.get("snn_uj" if row["T"] else "ann_uj"), ".4g"), *(_cell(cost.get(ratio)) for ratio in RATIOS)]
        line += [_cell(cost.get("ratio_replaced"))] * narrower
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(env: str, rows: Sequence[dict[str, Any]], plots: Iterable[str]) -> str:
    """``report.md`` of one environment."""
    said = {row["energy"].get(key) for row in rows for key in ("technology", "convention")} - {None}
    notes = f"""Returns are unclipped, of whole games. *IQM*, the interquartile mean, and its 95 % bootstrap interval are over
trainings: each training counts with its mean over episodes, and the trainings are drawn anew. With three trainings the
interval reaches from the worst to the best. Where there is one training, both are over its episodes: then they say how well
this agent plays, not how another training of it would. *min .. max*: of all episodes.

*minus ANN*: mean difference to the ANN's return over the same starts and episode seeds under the same protocol
(its own membrane zeroed or not: an ANN has none).

*mean spike rate*: spikes per neuron and timestep, mean of the layers.

*µJ per decision*: of an SNN everything counted, of the ANN dense. *ANN / this* divides the energy of the dense ANN
of the same shape by the SNN's: with everything counted; with synapses only (no neuron updates, no membrane traffic),
the first layer charged once per decision; and with everything counted, the first layer charged at each of the T
timesteps. *replaced ANN / this*: of an agent that sees fewer frames than the ANN that it was made from, against that ANN.
Energy: {"; ".join(sorted(said)) or UNMEASURED}.

'{UNMEASURED}': not measured or not applicable."""
    images = [f"![{name}]({name})" for name in plots]
    return "\n\n".join([f"# {env}", table(rows), *images, notes]) + "\n"


def write(results: Sequence[Result], out: Path, formats: Sequence[str] = ()) -> list[Path]:
    """Writes ``report.md``, ``summary.json`` and the plots, each environment's into its own folder where there are several.

    Args:
        results: what is reported.
        out: the folder.
        formats: of the plots besides PNG: ``svg``, ``pdf``.

    Raises:
        UserError: if the folder cannot be written.
    """
    written: list[Path] = []
    environments = list(dict.fromkeys(result.kind.env for result in results))
    for env in environments:
        folder = out / folder_name(env) if len(environments) > 1 else out
        here = [result for result in results if result.kind.env == env]
        rows = summarise(here)
        plots, files = draw(rows), dict[str, bytes]()
        if curves := {result.label: result.curves for result in here if result.curves}:
            plots["learning.png"] = learning(curves, env)
        for name, figure in plots.items():
            files |= {name.replace(".png", f".{kind}"): picture(figure, kind) for kind in ("png", *formats)}
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
