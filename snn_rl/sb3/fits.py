"""A network that was read from Stable-Baselines3 as an agent, if it fits its environment."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from gymnasium import spaces

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made
from snn_rl.tasks.environments import make_env
from snn_rl.tasks.recipes import Recipe


def outputs(network: QNetwork) -> int:
    """Q-values per decision."""
    return [len(weight) for weight in network.synapses[-1].parameters() if weight.dim() > 1][-1]


def spaces_of(recipe: Recipe, frames: int = 1) -> tuple[spaces.Box, spaces.Discrete]:
    """Observations, with that many stacked frames, and actions of an environment."""
    env = make_env(recipe, frames=frames)
    return cast(spaces.Box, env.observation_space), cast(spaces.Discrete, env.action_space)


def as_agent(
    recipe: Recipe, network: QNetwork, shape: tuple[int, ...], made: Made, who: str, path: Path | None = None
) -> Agent:
    """The agent that a network is in an environment.

    Args:
        recipe: of the environment.
        network: ANN or spiking.
        shape: of the observations that it sees, with all their stacked frames.
        made: how it was made.
        who: the model or its file, for messages.
        path: the file.

    Raises:
        UserError: if the environment has other observations, or other actions than the network has outputs.
    """
    space, actions = spaces_of(recipe)
    frames, rest = divmod(shape[0], space.shape[0])
    if rest or not frames or shape[1:] != space.shape[1:]:
        sees, gives = ("x".join(map(str, sizes)) for sizes in (shape, space.shape))
        raise UserError(f"{who} takes observations of {sees} but '{recipe.id}' gives {gives}; is this the right --env?")
    if outputs(network) != actions.n:
        raise UserError(f"{who} has {outputs(network)} actions but '{recipe.id}' has {actions.n}")
    name = f"T{network.T}" if network.spiking else "ann"
    return Agent(recipe.id, name, network, shape, frames, made, path=path, module=recipe.module)
