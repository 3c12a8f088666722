"""The network in a zip that does not describe it (of a stock algorithm, or of an older version), from its tensors and from
what the environment shows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, cast

from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_FRAMES, MAX_T
from snn_rl.core.network import QNetwork
from snn_rl.sb3.contents import SPIKING, Zip, activation_of, extractor_of, image_key, plain
from snn_rl.sb3.fits import RIGHT_ENV, Place, no_image
from snn_rl.sb3.hints import Hints
from snn_rl.sb3.layers import Decider, Layers, leaves, mean_over_quantiles
from snn_rl.sb3.layouts import Layout
from snn_rl.sb3.live import import_policy
from snn_rl.sb3.lstms import from_tensors, taken_apart
from snn_rl.sb3.policy import SpikingPolicy
from snn_rl.tasks.parts import Joined, image_in

N_QUANTILES = 200  # where a zip of QR-DQN says no other number
_UNFIT = (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError)  # what tensors can raise


def guess(source: Zip, place: Place, hints: Hints) -> tuple[QNetwork, tuple[int, ...]]:
    """The network, and the shape of its observations.

    Args:
        source: of an algorithm that can be read, or with a spiking policy.
        place: the environment.
        hints: what the user says of the zip.

    Raises:
        UserError: if the zip does not fit the environment, or has a feature extractor or an activation that has to be named.
        UnconvertibleError: for a layer that has no spiking counterpart.
    """
    return _guess_spiking(source, place, hints) if source.spiking else _guess_ann(source, place, hints)


def _guess_ann(source: Zip, place: Place, hints: Hints) -> tuple[QNetwork, tuple[int, ...]]:
    layout, kwargs = source.layout, source.policy_kwargs
    prefix = next((body for body in layout.bodies if source.under(body)), layout.bodies[0])
    body, dense, activation = source.under(prefix), _dense(source, layout), activation_of(source, layout, hints)
    lstm = _lstm(source, layout, dense[0].in_features)
    named, recurrent = ([], {}) if lstm is None else taken_apart("lstm_actor", lstm)
    entry = dense[0].weight if lstm is None else source.tensors[f"{layout.lstm}weight_ih_l0"]  # sees the features
    kind, normalize = extractor_of(source, body, hints.extractor), kwargs.get("normalize_images", True) not in (False, "False")
    frames, space, actions = _spaces(source, place, [*_matrices(body.values()), entry][0])
    if kind is not CombinedExtractor and (shown := image_in(space)) is not None:
        raise no_image(f"'{source.path}'", shown)
    if layout.quantiles:
        dense[-1] = _folded(source, dense[-1])
    _check_actions(source, place, dense[-1].out_features, actions)
    try:
        seen, own = (space, body) if kind is not CombinedExtractor else _in_parts(space, body)
        extractor = kind(seen, **_extractor_kwargs(source))
        extractor.load_state_dict(own)
        if extractor.features_dim != entry.shape[1]:
            raise ValueError(f"its features are {extractor.features_dim}, its dense layers take {entry.shape[1]}")
        used = (prefix, *layout.heads, *layout.others, layout.lstm or prefix)
        if unknown := [key for key in source.tensors if not key.startswith(used)]:
            raise LookupError(f"nothing has the tensor {unknown[0]}")
    except _UNFIT as error:
        raise _unfit(source, place, frames, error) from error
    head = nn.Sequential(*[module for layer in dense for module in (layer, activation())][:-1])
    layers = dataclasses.replace(Layers.of(extractor, [*named, *leaves("head", head)]), own=recurrent)

    def values(x: PyTorchObs) -> Tensor:
        features = extractor(preprocess_obs(x, seen, normalize))
        return cast(Tensor, head(features if lstm is None else lstm(features[None])[0][0]))

    return Decider(layers, values, seen, normalize, kind.__name__).read(), space.shape


def _guess_spiking(source: Zip, place: Place, hints: Hints) -> tuple[QNetwork, tuple[int, ...]]:
    """Of a SpikingPolicy, whose feature extractor was taken apart: all its weights are in one row."""
    kwargs = source.policy_kwargs
    weights = _matrices(source.under(f"{SPIKING}synapses.").values())
    if not weights or weights[-1].dim() != 2:
        raise source.damaged()
    frames, space, actions = _spaces(source, place, weights[0])
    _check_actions(source, place, len(weights[-1]), actions)
    body = {key: value for key, value in source.tensors.items() if key.startswith("q_net.")}
    kind, given = extractor_of(source, body, hints.extractor), _extractor_kwargs(source)
    named = {"features_extractor_class": kind, "features_extractor_kwargs": given, **_neurons(source)}
    try:
        extracting = len(_matrices(kind(space, **given).parameters()))
        named["net_arch"] = [len(weight) for weight in weights[extracting:-1]]
        normalize = kwargs.get("normalize_images", True) not in (False, "False")
        policy = SpikingPolicy(space, actions, lambda _: 0.0, normalize_images=normalize, balance=False, **named)
        policy.load_state_dict(source.tensors)
    except _UNFIT as error:
        raise _unfit(source, place, frames, error) from error
    return import_policy(policy), space.shape


def _in_parts(space: spaces.Box, body: dict[str, Tensor]) -> tuple[spaces.Dict, dict[str, Tensor]]:
    """The space of a Dict with an image, and the tensors of its extractor, under the names that they have for it.

    Raises:
        LookupError: if the environment shows no such image.
    """
    parts, key = space.parts.parts if isinstance(space, Joined) else (), image_key(body)
    found = next((n for n, part in enumerate(parts) if part.image and part.path == [key]), None)
    if found is None or not isinstance(space, Joined):
        raise LookupError(f"the environment shows no Dict with an image '{key}'")
    return space.parts.as_dict(), {name.replace(f".{key}.", f".part{found}.", 1): value for name, value in body.items()}


def _extractor_kwargs(source: Zip) -> dict[str, Any]:
    """What the extractor was told: nothing is built that is wider than the tensors."""
    given = plain(source.policy_kwargs.get("features_extractor_kwargs"))
    widest = max((size for tensor in source.tensors.values() for size in tensor.shape), default=0)
    for key, value in given.items():
        if any(type(number) in (int, float) and number > widest for number in (value if isinstance(value, list) else [value])):
            said = f"'{source.path}' says {key[:40]} = {str(value)[:40]}, and its widest tensor has {widest:,}"
            raise UserError(f"{said}; copy or save it anew")
    return given


def _unfit(source: Zip, place: Place, frames: int, error: Exception) -> UserError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"the network in '{source.path}' does not fit {place.name} with {frames} frame(s): {first}; {RIGHT_ENV}")


def _matrices(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Those that are weights of synapses."""
    return [tensor for tensor in tensors if tensor.dim() > 1]


def _dense(source: Zip, layout: Layout) -> list[nn.Linear]:
    """The dense layers behind the feature extractor, first to last.

    Raises:
        UserError: if the tensors are not such layers in a row.
    """
    pairs: list[tuple[Tensor, Tensor]] = []
    for head in layout.heads:
        own = source.under(head)
        try:
            places = sorted({key.rpartition(".")[0] for key in own}, key=lambda place: int(place or 0))
            pairs += [(own[f"{at}.weight".lstrip(".")], own[f"{at}.bias".lstrip(".")]) for at in places]
        except (LookupError, ValueError) as error:
            raise source.damaged() from error
    widths = [tuple(weight.shape) for weight, _ in pairs]
    fits = all(len(shape) == 2 and bias.shape == shape[:1] for shape, (_, bias) in zip(widths, pairs, strict=True))
    if not pairs or not fits or any(after[1] != before[0] for before, after in pairwise(widths)):
        raise source.damaged()
    layers = []
    for weight, bias in pairs:
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers.append(layer)
    return layers


def _lstm(source: Zip, layout: Layout, width: int) -> nn.LSTM | None:
    """The LSTM before the dense layers, which take so many numbers; None where there is none.

    Raises:
        UnconvertibleError: for one that runs in both directions or projects what it sends.
        UserError: if its tensors are damaged.
    """
    if not layout.lstm:
        return None
    try:
        lstm = from_tensors(source.under(layout.lstm), source.path)
    except UserError:
        raise
    except (LookupError, ValueError) as error:
        raise source.damaged() from error
    if lstm.hidden_size != width:
        raise source.damaged()
    return lstm


def _folded(source: Zip, quantiles: nn.Linear) -> nn.Linear:
    """The last layer of a QR-DQN, with the means of its quantiles."""
    number = source.policy_kwargs.get("n_quantiles", N_QUANTILES)
    if type(number) is not int or number < 1 or quantiles.out_features % number:
        raise UserError(
            f"'{source.path}' says that it has {number} quantiles for each action and has {quantiles.out_features} in all; "
            "copy or save it anew"
        )
    return mean_over_quantiles(quantiles, number)


def _neurons(source: Zip) -> dict[str, Any]:
    """What a spiking policy was told of its neurons."""
    kwargs = source.policy_kwargs
    T = kwargs.get("T", 1)
    if type(T) is not int or not 0 < T <= MAX_T:
        raise UserError(f"'{source.path}' has T = {str(T)[:40]}; timesteps per decision are from 1 to {MAX_T:,}")
    for key in ("carry", "recurrent", "normalize_images"):
        if key in kwargs and kwargs[key] not in (True, False, "True", "False", None):
            said = f"'{source.path}' says {key} = {str(kwargs[key])[:40]}, which is neither true nor false"
            raise UserError(f"{said}; copy or save it anew")
    return {key: kwargs[key] for key in ("T", "carry", "decay", "recurrent") if key in kwargs}


def _check_actions(source: Zip, place: Place, number: int, actions: spaces.Discrete) -> None:
    """Said here, because no policy for the environment could hold the tensors."""
    if number != actions.n:
        raise UserError(f"'{source.path}' has {number} actions but {place.name} has {actions.n}; {RIGHT_ENV}")


def _spaces(source: Zip, place: Place, first: Tensor) -> tuple[int, spaces.Box, spaces.Discrete]:
    """Frames per observation, from the width of the first layer, with the spaces that the environment then has."""

    def inputs(space: spaces.Box) -> int:
        # an MlpPolicy sees an image as one long vector
        return math.prod(space.shape) if first.dim() == 2 else (image_in(space) or space.shape)[0]

    one = place.spaces(1)[0]
    frames = max(first.shape[1] // inputs(one), 1)
    if frames > MAX_FRAMES:
        raise UserError(f"'{source.path}' takes {frames:,} frames of {place.name}; more than {MAX_FRAMES} are refused")
    space, actions = place.spaces(frames)
    if inputs(space) != first.shape[1]:
        wanted = "x".join(map(str, one.shape))
        raise UserError(f"'{source.path}' takes {first.shape[1]} inputs but {place.name} gives {wanted}; {RIGHT_ENV}")
    return frames, space, actions
