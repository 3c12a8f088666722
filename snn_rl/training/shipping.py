"""Finished runs of several training seeds into the catalogue ``agents/``: the agents of the *median* seed, never the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from snn_rl.core.errors import UserError
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import TrainingSeeds
from snn_rl.store.files import data_folder, folder_name
from snn_rl.tasks.environments import load_recipe

CHOSEN_BY = "median return of the lowest T"


def median_run(runs: Sequence[dict[str, Agent]], only: Sequence[str] | None = None) -> int:
    """Index of the run whose agent of lowest T (an ANN where there is no other) has the median mean return, of an even
    number the lower one; ``only`` names the agents that are looked at, None all."""
    shown = [agent for name, agent in runs[0].items() if only is None or name in only]
    last = min(shown, key=lambda agent: agent.network.T or float("inf")).name
    if unscored := [agent.path for found in runs for agent in found.values() if "greedy" not in agent.scores]:
        raise UserError(f"'{unscored[0]}' has no greedy score; finish its run first (--resume)")
    order = sorted(range(len(runs)), key=lambda n: (runs[n][last].scores["greedy"].returns.mean, n))
    return order[(len(order) - 1) // 2]


def load_run(folder: Path) -> dict[str, Agent]:
    """The agents of a run by name."""
    found = {card.parent.name: agents.load(card.parent) for card in sorted(folder.glob(f"*/{agents.CARD}"))}
    if not found:
        raise UserError(f"'{folder}' holds no agents; give the folder of a run")
    return found


def _same(one: Agent, other: Agent) -> bool:
    return agents.fingerprint(one.network) == agents.fingerprint(other.network)


def ship(folders: Sequence[Path], only: Sequence[str] | None = None) -> None:
    """Puts the agents of the median run into the catalogue, with the episodes of all runs.

    Args:
        folders: what ``snn_rl.train`` wrote, one per training seed.
        only: names of the agents to ship, in the place of others of that name too; None for all, in nobody's place.

    Raises:
        UserError: if the runs differ in their agents, or another agent is shipped under one of the names.
    """
    runs = [load_run(folder) for folder in folders]
    if any(set(found) != set(runs[0]) for found in runs):
        raise UserError("the runs hold different agents; finish them first")
    if absent := set(only or ()) - set(runs[0]):
        raise UserError(f"no such agent in the runs: {', '.join(sorted(absent))}; they hold {', '.join(runs[0])}")
    shipped = runs[median_run(runs, only)]
    wanted = {f"{folder_name(agent.env)}/{name}": agent for name, agent in shipped.items() if name in (only or shipped)}
    there = {place: agents.load(place) for place in agents.shipped() if place in wanted}
    others = [place for place, before in there.items() if not _same(before, wanted[place])]
    if others and only is None:
        raise UserError(f"other agents are shipped as {', '.join(others)}; name with --only what shall be shipped or replaced")
    for place, agent in wanted.items():
        name = place.partition("/")[2]
        played = [episode for found in runs for episode in found[name].episodes]
        agent.episodes = list(dict.fromkeys(played))  # one ANN in all runs is one ANN
        if place in there and place not in others:
            before = there[place]
            new = [episode for episode in agent.episodes if episode not in before.episodes]
            if not new:
                print(f"{place} is there already")
                continue
            agent.episodes = before.episodes + new  # what was measured there later stays
            agent.scores = {**before.scores, **agent.scores}
        seeds = dict.fromkeys("" if one.training_seed is None else str(one.training_seed) for one in agent.episodes)
        agent.made = replace(agent.made, training_seeds=TrainingSeeds(agent.made.seed, list(seeds), CHOSEN_BY))
        folder = data_folder("agents") / place
        agents.save(agent, folder, half=load_recipe(agent.env, agent.frames).half, replace=True)
        print(f"wrote {folder}")
