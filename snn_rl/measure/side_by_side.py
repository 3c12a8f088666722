"""Agents that play the same episodes, compared in one table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from snn_rl.measure.scores import Protocol, evaluate
from snn_rl.store.agents import Agent
from snn_rl.store.card import Score
from snn_rl.tasks.recipes import Recipe

HEADINGS = ("agent", "frames", "mean return", "min .. max", "spikes per neuron", "µJ per decision", "times less")


def side_by_side(
    agents: Sequence[Agent], recipe: Recipe, episodes: int, progress: bool = True, processes: int = 1
) -> list[Score]:
    """Plays each agent greedily from the same starts, in at most so many processes; one score for each.

    Raises:
        UserError: if there are no episodes, or an agent does not fit the environment.
    """
    protocol = Protocol(episodes=episodes)
    return [evaluate(agent, recipe, protocol, progress=progress, processes=processes).score for agent in agents]


def table(scores: Sequence[Score], title: str, names: Sequence[str] = ()) -> Table:
    """The scores, one line each, called ``names`` or else what they are; the last column says how many times less energy than
    the first agent each one uses."""
    out = Table(title=title)
    for heading in HEADINGS:
        out.add_column(heading, justify="right")
    for n, score in enumerate(scores):
        rates = list((score.spike_rate or {}).values())
        used = [one.uj for one in (scores[0], score) if one.uj is not None]
        out.add_row(
            names[n] if names else f"SNN, T={score.T}" if score.T else "ANN",
            str(score.frames),
            f"{score.returns.mean:.2f}",
            f"{score.returns.min:g} .. {score.returns.max:g}",
            f"{sum(rates) / len(rates):.3f}" if rates else "-",
            f"{used[-1]:.2f}" if used else "-",
            f"{used[0] / used[1]:.2f}" if len(used) == 2 else "-",
        )
    return out
