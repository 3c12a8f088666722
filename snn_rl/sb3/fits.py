"""Whether a network that was read from Stable-Baselines3 fits an environment."""

from __future__ import annotations

from typing import cast

from gymnasium import spaces

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.tasks.environments import make_env
from snn_rl.tasks.recipes import Recipe


def outputs(network: QNetwork) -> int:
    """Q-values per decision."""
    return [len(weight) for weight in network.synapses[-1].parameters() if weight.dim() > 1][-1]


def spaces_of(recipe: Recipe, frames: int = 1) -> tuple[spaces.Box, spaces.Discrete]:
    """Observations, with that many stacked frames, and actions of an environment."""
    env = make_env(recipe, frames=frames)
    return cast(spaces.Box, env.observation_space), cast(spaces.Discrete, env.action_space)


def frames_of(recipe: Recipe, shape: tuple[int, ...], who: str) -> int:
    """The number of stacked frames in observations of this shape.

    Raises:
        UserError: if the environment's observations are not of that kind; it names ``who`` sees them.
    """
    one = spaces_of(recipe)[0].shape
    frames, rest = divmod(shape[0], one[0])
    if rest or not frames or shape[1:] != one[1:]:
        theirs, gives = ("x".join(map(str, sizes)) for sizes in (shape, one))
        raise UserError(f"{who} takes observations of {theirs} but '{recipe.id}' gives {gives}; is this the right --env?")
    return frames


def check_actions(recipe: Recipe, network: QNetwork, who: str) -> None:
    """Raises UserError, which names ``who``, if a network has not one output for each action of the environment."""
    actions = spaces_of(recipe)[1].n
    if outputs(network) != actions:
        raise UserError(f"{who} has {outputs(network)} actions but '{recipe.id}' has {actions}")
