"""What a spiking policy is built with: whether layers fit its observations, and what untrained neurons begin with."""

from __future__ import annotations

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN

from snn_rl.core.errors import UserError
from snn_rl.core.initialise import balance_thresholds
from snn_rl.core.lif import MIN_DECAY, Decay
from snn_rl.core.network import QNetwork
from snn_rl.sb3.fits import outputs
from snn_rl.tasks.parts import Joined, image_in

INITIAL_PERCENTILE = 80.0  # a fifth of the neurons of an untrained network spike at its first timestep


def unfit(space: spaces.Box, kind: type[BaseFeaturesExtractor]) -> UserError:
    """What is said of a feature extractor that does not take the observations."""
    image, small = image_in(space), "36 by 36 pixels at least"
    if image is not None and kind is not CombinedExtractor:
        return UserError(f"{kind.__name__} does not see an image beside other parts: use MultiInputPolicy")
    who = f"{kind.__name__} does not take observations of shape {space.shape}, {space.dtype}"
    if image is not None:
        return UserError(f"{kind.__name__} does not take an image of {image}: it wants {small}")
    if kind is not NatureCNN:
        return UserError(f"{who}: give features_extractor_class another, or leave it out")
    if len(space.shape) != 3:
        return UserError(f"{who}: CnnPolicy is for images, use MlpPolicy")
    return UserError(
        f"{who}: it wants images of bytes from 0 to 255, with channels and {small} (others, normalised "
        "already, with policy_kwargs={'normalize_images': False} and their channels first); use MlpPolicy, or another "
        "features_extractor_class"
    )


def checked_decay(decay: Decay | list[float]) -> Decay:
    """The decay, as a pair where a saved pair comes back as a list.

    Raises:
        UserError: if it is out of range.
    """
    values = tuple(decay) if isinstance(decay, (list, tuple)) else (decay, decay)
    if len(values) != 2 or not all(MIN_DECAY <= value <= 1 for value in values):
        raise UserError(f"decay must be a number in [{MIN_DECAY}, 1] or a pair of them, got {decay}")
    return (values[0], values[1]) if isinstance(decay, (list, tuple)) else decay


def check_fit(network: QNetwork, space: spaces.Box, actions: spaces.Discrete) -> None:
    """Raises UserError if a network does not take such observations, or has not one output per action."""
    try:
        network.shapes(space.shape)
    except ValueError as error:
        raise UserError(
            f"the layers of spec do not fit observations of shape {space.shape}; is it of an agent for another environment?"
        ) from error
    if network.image is not None and network.image != image_in(space):
        raise UserError(
            f"the layers of spec see an image of {network.image}, the environment shows {image_in(space) or 'none'}"
        )
    if outputs(network) != actions.n:
        raise UserError(
            f"the layers of spec end with {outputs(network)} outputs, the environment has {actions.n} actions; give the last "
            "layer one output for each action"
        )


def balance_on_noise(network: QNetwork, space: spaces.Box, decay: Decay) -> None:
    """Balances the thresholds of an untrained network on random observations, in place, and sets its decays."""
    low, high = (th.as_tensor(bound.astype(np.float32)) for bound in (space.low, space.high))
    if not is_image_space(space):  # many bounds are infinite
        pixels = space.parts.pixels if isinstance(space, Joined) else 0
        low[pixels:].clamp_(min=-1)
        high[pixels:].clamp_(max=1)
    random = low + (high - low) * th.rand(64, *space.shape)
    try:
        balance_thresholds(network, random, INITIAL_PERCENTILE, decay)
    except UserError:  # by chance a tiny layer is never driven: its threshold stays at 1, learning may wake it
        for lif in network.lifs:
            lif.set(decay=decay)
