"""A network that was read from Stable-Baselines3 as an agent, if it fits its environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self, cast

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_FRAMES
from snn_rl.core.network import QNetwork
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made
from snn_rl.tasks.environments import make_env
from snn_rl.tasks.parts import image_in
from snn_rl.tasks.recipes import Recipe

RIGHT_ENV = "is this the right --env?"


class Reading(NamedTuple):
    """What was read from a model or its zip: the network, the shape of its observations, and how it was made."""

    network: QNetwork
    shape: tuple[int, ...]
    made: Made


@dataclass(frozen=True)
class Place:
    """An environment that a network has to fit.

    Attributes:
        name: for messages.
        spaces: its observations, with that many stacked frames, and its actions.
    """

    name: str
    spaces: Callable[[int], tuple[spaces.Box, spaces.Discrete]]

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> Self:
        """The environment of a recipe."""
        return cls(f"'{recipe.id}'", partial(spaces_of, recipe))

    @classmethod
    def of_venv(cls, venv: VecEnv) -> Self:
        """An environment that was made already; its frames are what they are."""
        own = cast(spaces.Box, venv.observation_space), cast(spaces.Discrete, venv.action_space)
        return cls("the environment", lambda frames: own)


def outputs(network: QNetwork) -> int:
    """Q-values per decision."""
    return [len(weight) for weight in network.synapses[-1].parameters() if weight.dim() > 1][-1]


def spaces_of(recipe: Recipe, frames: int = 1) -> tuple[spaces.Box, spaces.Discrete]:
    """Observations, with that many stacked frames, and actions of an environment."""
    env = make_env(recipe, frames=frames)
    return cast(spaces.Box, env.observation_space), cast(spaces.Discrete, env.action_space)


def no_image(who: str, shown: Sequence[int]) -> UserError:
    """What is said of a network that sees no image where the environment shows one among other parts."""
    return UserError(
        f"{who} takes no image of bytes where the environment shows one of {tuple(shown)} among other parts: train it with "
        "MultiInputPolicy on the image as it is (and give VecNormalize norm_obs_keys without it)"
    )


def check_image(network: QNetwork, space: spaces.Box, who: str) -> None:
    """Refuses a network that sees an image among the parts of an observation where the environment shows none, or none where
    it shows one.

    Raises:
        UserError: saying so.
    """
    shown = image_in(space)
    if network.image is None and shown is not None:
        raise no_image(who, shown)
    if network.image is not None and (shown is None or network.image[1:] != shown[1:]):
        raise UserError(
            f"{who} takes an image of {network.image} among other parts, the environment shows {shown or 'none'}; {RIGHT_ENV}"
        )


def as_agent(recipe: Recipe, reading: Reading, who: str, path: Path | None = None) -> Agent:
    """The agent that a network is in an environment.

    Args:
        recipe: of the environment.
        reading: the network, the shape of its observations with all their stacked frames, and how it was made.
        who: the model or its file, for messages.
        path: the file.

    Raises:
        UserError: if the environment has other observations, or other actions than the network has outputs.
    """
    network, shape, made = reading
    space, actions = spaces_of(recipe)
    frames, rest = divmod(shape[0], space.shape[0])
    if rest or not frames or shape[1:] != space.shape[1:]:
        sees, gives = ("x".join(map(str, sizes)) for sizes in (shape, space.shape))
        raise UserError(f"{who} takes observations of {sees} but '{recipe.id}' gives {gives}; {RIGHT_ENV}")
    if frames > MAX_FRAMES:
        raise UserError(f"{who} takes {frames:,} frames of '{recipe.id}'; more than {MAX_FRAMES} are refused")
    if outputs(network) != actions.n:
        raise UserError(f"{who} has {outputs(network)} actions but '{recipe.id}' has {actions.n}; {RIGHT_ENV}")
    check_image(network, space, who)
    name = f"T{network.T}" if network.spiking else "ann"
    return Agent(recipe.id, name, network, shape, frames, made, path=path, module=recipe.module)
