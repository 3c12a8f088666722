"""Evaluation: whole games, unclipped reward, the same starts for every agent, energy from the spikes of that play."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from tqdm import tqdm

from snn_rl.core.network import QNetwork
from snn_rl.core.synops import OperationCounter
from snn_rl.measure.energy import energy
from snn_rl.measure.stats import summary
from snn_rl.measure.technology import FP32, Technology
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.provenance import versions
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import make_envs, play, starts

NOISY_EPISODES = 100  # with random or sticky actions no two games are the same


def protocol(epsilon: float, sticky: float, zeroed: bool = False) -> str:
    """Name of a protocol in cards and tables."""
    words = [f"epsilon {epsilon:g}"] * (epsilon > 0) + [f"sticky {sticky:g}"] * (sticky > 0)
    return ", ".join((words or ["greedy"]) + ["membrane zeroed"] * zeroed)


@contextmanager
def carrying(network: QNetwork, carry: bool) -> Iterator[None]:
    """Whether the network carries its membranes, for a while."""
    own, network.carry = network.carry, carry
    try:
        yield
    finally:
        network.carry = own


def evaluate(
    agent: Agent,
    recipe: Recipe,
    *,
    episodes: int | None = None,
    epsilon: float = 0.0,
    sticky: float = 0.0,
    seed: int = 0,
    zeroed: bool = False,
    technology: Technology = FP32,
    progress: bool = False,
) -> dict[str, Any]:
    """Plays an agent; returns the object that ``evaluate --json`` writes.

    Args:
        agent: who plays.
        recipe: of its environment.
        episodes: how many; if None the recipe's number, with random or sticky actions at least 100.
        epsilon: probability of a random action.
        sticky: probability that the environment repeats the previous action.
        seed: of the first episode; episode n has ``seed + n``.
        zeroed: every decision starts from rest, whatever the agent was trained for.
        technology: prices of the energy figures.
        progress: show a bar.

    Raises:
        UserError: for options out of range and for an agent that does not fit the environment.
    """
    if episodes is None:
        episodes = max(recipe.evaluate.episodes, NOISY_EPISODES if epsilon or sticky else 0)
    begins = starts(recipe, episodes, seed)
    envs = make_envs(recipe, len(begins), frames=agent.frames, sticky=sticky)
    returns, lengths = np.zeros(len(begins)), np.zeros(len(begins), dtype=int)
    bar = tqdm(total=len(begins), desc=f"evaluate {agent.label}", unit="episode", disable=None if progress else True)
    carry = agent.network.carry and not zeroed
    with bar, carrying(agent.network, carry):
        counter = OperationCounter(agent.network, agent.observation_shape)
        for decision in play(agent.network, envs, begins, epsilon):
            counter.update(decision.observation, decision.layers)
            returns[decision.episode] += decision.reward
            lengths[decision.episode] += 1
            bar.update(int(decision.done.sum()))
    for env in envs:
        env.close()
    T = agent.network.T
    return {
        "agent": agent.label,
        "weights": agents.fingerprint(agent.network),
        "env": agent.env,
        "T": T,
        "frames": agent.frames,
        "carry": bool(T and carry),
        "epsilon": epsilon,
        "sticky": sticky,
        "episodes": [
            {"start": begin.start, "seed": begin.seed, "return": float(total), "length": int(length)}
            for begin, total, length in zip(begins, returns, lengths, strict=True)
        ],
        "return": summary(returns),
        **({"spike_rate": counter.rates()} if T else {}),
        "energy": energy(counter.counts(), technology),
        "versions": versions(),
    }


def add_score(agent: Agent, result: dict[str, Any], training_seed: int | None, zeroed: bool = False) -> None:
    """Puts an evaluation into an agent's card (without its episodes) and its episodes into ``episodes.csv``."""
    name = protocol(result["epsilon"], result["sticky"], zeroed)
    agent.scores[name] = {key: value for key, value in result.items() if key != "episodes"}
    own = "" if training_seed is None else str(training_seed)
    agent.episodes = [row for row in agent.episodes if (row["protocol"], str(row["training_seed"] or "")) != (name, own)]
    agent.episodes += [
        {"training_seed": own, "protocol": name, "episode": n, **episode} for n, episode in enumerate(result["episodes"])
    ]


def describe(result: dict[str, Any]) -> str:
    """One line for a person."""
    reward, cost = result["return"], result["energy"]
    text = f"{result['agent']}: return {reward['mean']:.2f} (min {reward['min']:g}, max {reward['max']:g}, "
    text += f"{len(result['episodes'])} episodes)"
    if result["T"]:
        rates = ", ".join(f"{name} {rate:.3f}" for name, rate in result["spike_rate"].items())
        text += f"; spikes per neuron and timestep {rates}; "
        ratio, word = (cost["ratio"], "less") if cost["ratio"] >= 1 else (1 / cost["ratio"], "more")
        text += f"{cost['snn_uj']:.3g} uJ per decision, {ratio:.2f} times {word} than the dense ANN of its shape"
    else:
        text += f"; {cost['ann_uj']:.3g} uJ per decision"
    return f"{text} ({cost['technology'].partition(' (')[0]})"


def score(agent: Agent, recipe: Recipe, seed: int | None, ablate: bool = False) -> None:
    """Evaluates a saved agent by the recipe's protocol, where asked for with the membrane zeroed too; stores it."""
    assert agent.path is not None
    changed = False
    for zeroed in (False, True) if ablate and agent.network.carry else (False,):
        name = protocol(0, 0, zeroed)
        if name in agent.scores:
            continue
        result = evaluate(agent, recipe, zeroed=zeroed, progress=True)
        add_score(agent, result, seed, zeroed)
        print(("membrane zeroed: " if zeroed else "") + describe(result))
        changed = True
    if not changed:
        return
    agents.save_scores(agent)
    if ablate and agent.network.carry and "conversion" not in agent.made:  # what is trained shall use its memory
        carried, zeroed = (agent.scores[protocol(0, 0, zero)]["return"]["ci95"] for zero in (False, True))
        if zeroed[0] > carried[1]:
            words = "plays better with its membranes zeroed, as evaluate --no-carry does; train --no-carry trains it so"
            print(f"{agent.label} {words}")
