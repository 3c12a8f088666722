"""An agent as a folder that the Hugging Face hub takes as it is: its files, and a model card with its scores as metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.exports.markup import cell, code, plain, yaml
from snn_rl.store import weights
from snn_rl.store.card import Card, Score, read
from snn_rl.store.episodes import Episode
from snn_rl.store.files import CARD, EPISODES, whole_folder
from snn_rl.store.shipped import find

TAGS = ("reinforcement-learning", "deep-reinforcement-learning", "spiking-neural-network", "stable-baselines3", "snn_rl")
SEES = {True: "carried from decision to decision", False: "zeroed before each decision"}


def write(where: str, out: Path, licence: str | None = None) -> str:
    """Writes the folder: ``README.md``, and the agent's own files beside it, so that ``load_agent`` takes the download.

    Args:
        where: an agent's folder, or the name of a shipped one.
        out: the new folder.
        licence: its identifier on the hub, such as ``mit``; None to say nothing.

    Raises:
        UserError: if the agent is not there or damaged, or was never scored.
    """
    folder = find(where)
    card, episodes = read(folder)
    if not card.scores:
        raise UserError(f"'{where}' has no score to put into a model card: python -m snn_rl.evaluate {where} --save")
    files = {name: (folder / name).read_bytes() for name in (CARD, EPISODES)}
    files |= {weights.WEIGHTS: weights.read(folder, card.files), "README.md": text(card, episodes, licence).encode()}
    with whole_folder(out) as new:
        for name, content in files.items():
            (new / name).write_bytes(content)
    return f"{out}: {', '.join(sorted(files))}; upload it with hf upload YOU/{_repository(card)} {out}"


def text(card: Card, episodes: Sequence[Episode], licence: str | None = None) -> str:
    """``README.md``: metadata, and a page for people."""
    label = f"{card.env}/{card.name}"
    kind = f"A spiking network, {card.T} timestep{'s' * (card.T > 1)} per decision" if card.T else "An ANN"
    membranes = f" Its membranes are {SEES[card.carry]}." if card.T else ""
    numbers = " It computes with integers." if card.integer else ""
    origin = plain(card.made.how) if card.made.how else "nobody knows how"
    source = f" The greatest of its values, {'logits' if card.made.logits else 'Q-values'}, is the action."
    parts = [
        f"---\n{_metadata(card, licence)}---",
        f"# {plain(label)}",
        f"{kind}, that plays {plain(card.env)} from {card.frames} frame{'s' * (card.frames > 1)} of observation."
        f"{membranes}{numbers}{source} Made with snn_rl: {origin}.",
        "## Use\n\n```python\nfrom huggingface_hub import snapshot_download\n\nfrom snn_rl import load_agent\n\n"
        'agent = load_agent(snapshot_download("YOU/NAME"))  # the folder that this page lies in\n'
        "action, state = agent.predict(observation)  # an episode begins\n"
        "action, state = agent.predict(observation, state)  # it goes on\n```",
        f"## Scores\n\n{_scores(card, episodes)}",
        "Returns are whole and unclipped. Energy is counted from operations, not measured on a device"
        f"{_convention(card)}. Every episode is in `{EPISODES}`.",
        f"## Made\n\n{_made(card)}",
    ]
    return "\n\n".join(parts) + "\n"


def _repository(card: Card) -> str:
    """A name that the hub takes."""
    return re.sub(r"[^\w.-]+|-{2,}|\.{2,}", "-", f"{card.env}-{card.name}", flags=re.ASCII).strip("-.")


def _metadata(card: Card, licence: str | None) -> str:
    """YAML."""
    lines = ["library_name: snn_rl", *([f"license: {yaml(licence)}"] if licence else [])]
    lines += ["pipeline_tag: reinforcement-learning", "tags:", *(f"- {tag}" for tag in TAGS), f"- {yaml(card.env)}"]
    lines += ["model-index:", f"- name: {yaml(f'{card.env}-{card.name}')}", "  results:"]
    for protocol, score in card.scores.items():
        lines += ["  - task:", "      type: reinforcement-learning", "      name: reinforcement-learning"]
        lines += [
            "    dataset:",
            f"      name: {yaml(f'{score.env}, {protocol}')}",
            f"      type: {yaml(score.env)}",
        ]
        metrics: list[tuple[str, str, Any]] = [
            ("mean_reward", "mean_reward", f"{score.returns.mean:.2f} +/- {score.returns.std:.2f}")
        ]
        if score.uj is not None:
            metrics.append(("energy_uj", "energy per decision in microjoules, counted", round(score.uj, 6)))
        lines.append("    metrics:")
        for kind, name, value in metrics:
            lines += [f"    - type: {kind}", f"      name: {yaml(name)}", f"      value: {json.dumps(value)}"]
            lines.append("      verified: false")
    return "\n".join(lines) + "\n"


def _scores(card: Card, episodes: Sequence[Episode]) -> str:
    headings = ("protocol", "episodes", "mean return", "std", "IQM", "95 %", "min .. max", "µJ per decision")
    lines = ["| " + " | ".join(headings) + " |", "| --- |" + " ---: |" * (len(headings) - 1)]
    own = None if card.made.training_seeds is None else card.made.training_seeds.shipped
    for protocol, score in card.scores.items():
        played = sum(one.protocol == protocol and own in (None, one.training_seed) for one in episodes)
        lines.append("| " + " | ".join(_row(protocol, played, score)) + " |")
    return "\n".join(lines)


def _row(protocol: str, played: int, score: Score) -> list[str]:
    returns, low, high = score.returns, *score.returns.ci95
    extremes = f"{returns.min:g} .. {returns.max:g}"
    numbers = [f"{returns.mean:.2f}", f"{returns.std:.2f}", f"{returns.iqm:.2f}", f"[{low:.2f}, {high:.2f}]", extremes]
    return [cell(protocol), str(played) if played else "-", *numbers, "-" if score.uj is None else f"{score.uj:.3g}"]


def _convention(card: Card) -> str:
    found = next((score.energy for score in card.scores.values() if score.energy is not None), None)
    return f" ({plain(found.technology)})" if found is not None and found.technology else ""


def _made(card: Card) -> str:
    made = card.made
    seeds = made.training_seeds
    said = {
        "command": made.command and code(made.command),
        "from": made.origin and plain(made.origin.name),
        "teacher": made.teacher and plain(made.teacher.name),
        "objective": made.objective and plain(made.objective),
        "training seed": None if made.seed is None else str(made.seed),
        "chosen": seeds
        and seeds.chosen_by
        and plain(f"{seeds.chosen_by} of the trainings with seeds {', '.join(seeds.every)}"),
        "versions": made.versions and plain(", ".join(f"{name} {version}" for name, version in made.versions.items())),
    }
    return "\n".join(f"* {key}: {value}" for key, value in said.items() if value) or f"`{CARD}` says all that is known."
