"""The network in a zip that does not describe it (a stock DQN's, or one of an older version), from its tensors and from what
the environment shows."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any, NamedTuple, cast

from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.described import MAX_T
from snn_rl.sb3.fits import spaces_of
from snn_rl.sb3.live import import_policy
from snn_rl.sb3.policy import SpikingPolicy
from snn_rl.tasks.recipes import Recipe

SPIKING = "q_net.network."  # what the tensors of our own policies begin with
_NATURE = ("cnn.0", "cnn.2", "cnn.4", "linear.0")  # the layers of NatureCNN


class Zip(NamedTuple):
    """What is read from a zip; nothing in it was unpickled."""

    path: Path
    data: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def spiking(self) -> bool:
        """Whether it is of one of our own policies."""
        return any(key.startswith(SPIKING) for key in self.tensors)

    @property
    def policy_kwargs(self) -> dict[str, Any]:
        """Those that were written as JSON, or as the text of what was not."""
        return plain(self.data.get("policy_kwargs"))


def plain(value: object) -> dict[str, Any]:
    """A dictionary, empty where a file holds something else in its place."""
    return value if isinstance(value, dict) else {}


def guess(source: Zip, recipe: Recipe, extractor: str | None) -> tuple[QNetwork, tuple[int, ...]]:
    """The network, and the shape of its observations.

    Args:
        source: of a DQN, or of a DQN with a spiking policy.
        recipe: of the environment.
        extractor: ``module:Class`` of a custom feature extractor, imported from the user's own code.

    Raises:
        UserError: if the zip does not fit the environment, or has a feature extractor that has to be named.
        UnconvertibleError: for a layer that has no spiking counterpart.
    """
    path, kwargs = source.path, source.policy_kwargs
    _check_activation(source)
    weights = _weights(source)
    frames, space, actions = _spaces(recipe, weights[0])
    if len(weights[-1]) != actions.n:  # said here, because no policy for the environment could hold the tensors
        raise UserError(f"'{path}' has {len(weights[-1])} actions but '{recipe.id}' has {actions.n}")
    named: dict[str, Any] = {
        "features_extractor_class": _extractor(source, extractor),
        "features_extractor_kwargs": plain(kwargs.get("features_extractor_kwargs")),
        "normalize_images": kwargs.get("normalize_images", True) not in (False, "False"),
    }
    try:
        extractor_layers = named["features_extractor_class"](space, **named["features_extractor_kwargs"]).parameters()
        extracting = sum(parameter.dim() > 1 for parameter in extractor_layers)
        named["net_arch"] = [len(weight) for weight in weights[extracting:-1]]
        policy = (SpikingPolicy if source.spiking else DQNPolicy)(space, actions, lambda _: 0.0, **named, **_neurons(source))
        policy.load_state_dict(source.tensors)
    except (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"the network in '{path}' does not fit '{recipe.id}' with {frames} frame(s): {first}") from error
    return import_policy(policy), space.shape


def _check_activation(source: Zip) -> None:
    activation = str(source.policy_kwargs.get("activation_fn", "ReLU")).rstrip("'>").rsplit(".", 1)[-1]
    if activation != "ReLU":  # was written "<class 'torch.nn.modules.activation.ReLU'>"
        raise UnconvertibleError(f"cannot convert '{source.path}': its activation {activation} has no spiking counterpart")


def _neurons(source: Zip) -> dict[str, Any]:
    """What a spiking policy was told of its neurons; nothing for an ANN."""
    if not source.spiking:
        return {}
    kwargs = source.policy_kwargs
    T = kwargs.get("T", 1)
    if type(T) is int and T > MAX_T:
        raise UserError(f"'{source.path}' has {T:,} timesteps per decision; more than {MAX_T:,} are refused")
    return {key: kwargs[key] for key in ("T", "carry", "decay", "recurrent") if key in kwargs}


def _weights(source: Zip) -> list[Tensor]:
    """Those of the synapses, first to last."""
    tensors = source.tensors
    body, head = ((), f"{SPIKING}synapses.") if source.spiking else ("q_net.features_extractor.", "q_net.q_net.")
    of_head = [value for key, value in tensors.items() if key.startswith(head) and key.endswith(".weight")]
    if not of_head or of_head[-1].dim() != 2 or any(weight.dim() < 2 for weight in of_head):
        raise UserError(f"'{source.path}' is damaged: its tensors are no Q-network; copy or save it anew")
    return [value for key, value in tensors.items() if key.startswith(body) and value.dim() > 1] + of_head


def _spaces(recipe: Recipe, first: Tensor) -> tuple[int, spaces.Box, spaces.Discrete]:
    """Frames per observation, from the width of the first layer, with the spaces that the environment then has."""
    shape = spaces_of(recipe)[0].shape
    flattened = first.dim() == 2  # an MlpPolicy sees an image as one long vector
    frames, rest = divmod(first.shape[1], math.prod(shape) if flattened else shape[0])
    if rest or not frames:
        wanted = "x".join(map(str, shape))
        raise UserError(f"the agent takes {first.shape[1]} inputs but '{recipe.id}' gives {wanted}; is this the right --env?")
    return frames, *spaces_of(recipe, frames)


def _extractor(source: Zip, named: str | None) -> type[BaseFeaturesExtractor]:
    """The class of the feature extractor: the one that is named, or the one of SB3's own that the tensors show."""
    if named is not None:
        module, _, name = named.partition(":")
        try:
            return cast(type[BaseFeaturesExtractor], getattr(importlib.import_module(module), name))
        except Exception as error:  # whatever is wrong in the user's module
            raise UserError(f"--extractor {named}: {type(error).__name__}: {error}; write it as module:Class") from error
    tensors, kwargs = source.tensors, source.policy_kwargs
    if source.spiking:  # the extractor was taken apart
        standard = "features_extractor_class" not in kwargs
    else:
        keys = [key.removeprefix("q_net.features_extractor.") for key in tensors if key.startswith("q_net.features_ex")]
        standard = keys in ([], [f"{layer}.{kind}" for layer in _NATURE for kind in ("weight", "bias")])
    kernels = [value.shape[-1] for key, value in tensors.items() if key.startswith("q_net.") and value.dim() == 4]
    if standard and kernels in ([], [8, 4, 3]):
        return NatureCNN if kernels else FlattenExtractor
    written = kwargs.get("features_extractor_class", "a class of its own")
    raise UserError(
        f"'{source.path}' has a custom feature extractor ({written}), whose strides a zip does not tell without running its "
        "pickle; name the class with --extractor module:Class"
    )
