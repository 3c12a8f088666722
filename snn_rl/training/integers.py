"""An agent of integers from one of float numbers, without training."""

from __future__ import annotations

from typing import cast

import gymnasium as gym
import numpy as np

from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import input_bits, quantise
from snn_rl.store.agents import Agent, source
from snn_rl.store.card import Made
from snn_rl.store.provenance import command, versions
from snn_rl.tasks.environments import make_env
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import play, starts

EPISODES = 5  # that tell how large observations become


def to_integers(agent: Agent, recipe: Recipe, bits: int = 8, readout_bits: int = 16) -> Agent:
    """The agent of integers, under the name of the float agent with ``-int<bits>`` behind it.

    Observations of unsigned bytes stay as they are. Others become 16-bit integers with as many fraction bits as leave room for
    twice what the agent meets in :data:`EPISODES` episodes.

    Raises:
        UserError: if the agent is an ANN, or has layers that integers are not defined for.
    """
    env = make_env(recipe, frames=agent.frames)
    observed = None
    if cast(gym.spaces.Box, env.observation_space).dtype != np.uint8:
        seen = (decision.observation for decision in play(agent.network, [env], starts(recipe, EPISODES, seed=0)))
        observed = input_bits(max(float(np.abs(observation).max()) for observation in seen))
    env.close()
    integers = quantise(agent.network, bits, readout_bits, observed)
    made = Made(
        how=f"rounded to weights of {bits} bits, of the readout {readout_bits}",
        origin=source(agent),
        seed=agent.made.seed,
        command=command(),
        versions=versions(),
    )
    return Agent(
        agent.env,
        f"{agent.name}-int{bits}",
        IntegerNetwork(integers),
        agent.observation_shape,
        agent.frames,
        made,
        module=agent.module,
        integer=integers.form,
    )
