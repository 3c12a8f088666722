"""What an agent's neurons do at the beginning of a game: golden traces, against which other tools can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import play, starts

MOST_DECISIONS, MOST_SPIKES = 500, 2_000_000  # what a file holds of them


@dataclass(frozen=True)
class Traces:
    """The first decisions of one episode.

    Attributes:
        decisions: how many.
        observations: unscaled, at each of the T timesteps of each decision, ``(decisions * T, *observation)``.
        spikes: bool, by layer, ``(decisions * T, *neurons)``.
        q: the readout's current, whose mean over the T timesteps of a decision is its Q-values, ``(decisions * T, actions)``.
    """

    decisions: int
    observations: NDArray[Any]
    spikes: dict[str, NDArray[np.bool_]]
    q: NDArray[np.float32]


def traces(agent: Agent) -> Traces:
    """Plays the first episode of an evaluation, greedily, from rest.

    Args:
        agent: spiking; its environment is built as its recipe says.

    Raises:
        UserError: if its environment cannot be built.
    """
    network, recipe = agent.network, load_recipe(agent.env, agent.frames, agent.module)
    neurons = sum(int(np.prod(shape)) for shape in network.shapes(agent.observation_shape))
    most = min(MOST_DECISIONS, max(10, MOST_SPIKES // (neurons * network.T)))
    env, seen, layers, q = make_env(recipe, frames=agent.frames), [], [], []
    for decision in play(network, [env], starts(recipe, 1, seed=0)):
        seen.append(np.repeat(decision.observation, network.T, axis=0))
        layers.append([layer[:, 0].numpy() > 0 for layer in decision.layers])
        q.append(network.synapses[-1](decision.layers[-1][:, 0]).detach().numpy())
        if len(seen) == most:
            break
    env.close()
    spikes = {name: np.concatenate([own[n] for own in layers]) for n, name in enumerate(network.layer_names[:-1])}
    return Traces(len(seen), np.concatenate(seen), spikes, np.concatenate(q))
