"""Reads a trained Q-network out of Stable-Baselines3: from a live model, or from a ``.zip`` without unpickling anything."""

from __future__ import annotations

import importlib
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy

from snn_rl.agents import Agent, check_finite
from snn_rl.environments import load_recipe, make_env
from snn_rl.errors import UserError
from snn_rl.network import QNetwork, UnconvertibleError
from snn_rl.sb3_layers import check_in_order, leaves, read_layers

MAX_MEMBER = 2 << 30  # a zip member that unpacks to more than this is refused

# What the first tensors of other algorithms' policies are called.
_OTHERS = {
    "quantile_net.": "QR-DQN",
    "action_net.": "PPO or A2C",
    "actor.": "SAC, TD3 or DDPG",
    "lstm_actor.": "RecurrentPPO",
}


def import_policy(policy: DQNPolicy) -> QNetwork:
    """The ANN of a live Stable-Baselines3 DQN policy (``model.policy``) as a :class:`~snn_rl.network.QNetwork` with T = 0.

    Raises:
        UnconvertibleError: naming the module that cannot be read as one flat list of layers.
    """
    q_net = policy.q_net
    space = cast(spaces.Box, policy.observation_space)
    named = [*leaves("features_extractor", q_net.features_extractor), *leaves("q_net", q_net.q_net)]
    image = is_image_space(space) and q_net.normalize_images
    network = read_layers(named, T=0, input_scale=1 / 255 if image else 1.0)
    device = next(q_net.parameters()).device
    name = type(q_net.features_extractor).__name__
    check_in_order(network, space.shape, lambda probe: q_net(probe.to(device)).cpu(), name)
    return network


def load_zip(path: Path, env_id: str, extractor: str | None = None) -> Agent:
    """The ANN of a Stable-Baselines3 DQN ``.zip``.

    Only the JSON text and the tensors are read (``weights_only=True``); no pickle in the file is executed. Strides are not
    in a state dict, so a feature extractor other than SB3's own has to be named.

    Args:
        path: the zip.
        env_id: Gymnasium id of the environment it plays.
        extractor: ``module:Class`` of a custom feature extractor, imported from the user's own code.

    Raises:
        UserError: for a file that is missing, truncated, hostile or of another algorithm, or that does not fit the
            environment.
    """
    data, tensors = _read(path)
    check_finite(tensors, str(path))
    if not any(key.startswith("q_net.q_net.") for key in tensors):
        other = next((name for prefix, name in _OTHERS.items() if any(k.startswith(prefix) for k in tensors)), "no DQN")
        raise UserError(f"'{path}' is an agent of another algorithm ({other}); only DQN has Q-values to convert")
    kwargs = _plain(data.get("policy_kwargs"))
    activation = str(kwargs.get("activation_fn", "ReLU"))
    if activation.rstrip("'>").rsplit(".", 1)[-1] != "ReLU":  # "<class 'torch.nn.modules.activation.ReLU'>"
        raise UnconvertibleError(f"cannot convert '{path}': its activation {activation} has no spiking counterpart")
    linear = [key for key in tensors if key.startswith("q_net.q_net.") and key.endswith(".weight")]
    net_arch = [tensors[key].shape[0] for key in linear[:-1]]
    if not linear or any(tensors[key].dim() != 2 for key in linear):
        raise UserError(f"'{path}' is damaged: its tensors are no Q-network; copy or save it anew")
    recipe = load_recipe(env_id)
    frames, space, actions = _spaces(recipe, tensors)
    if tensors[linear[-1]].shape[0] != actions.n:
        raise UserError(f"'{path}' has {tensors[linear[-1]].shape[0]} actions but '{env_id}' has {actions.n}")
    try:
        policy = DQNPolicy(
            space,
            actions,
            lambda _: 0.0,
            net_arch=net_arch,
            features_extractor_class=_extractor(path, tensors, kwargs, extractor),
            features_extractor_kwargs=_plain(kwargs.get("features_extractor_kwargs")),
            normalize_images=kwargs.get("normalize_images", True) not in (False, "False"),
        )
        policy.load_state_dict(tensors)
    except (RuntimeError, AssertionError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"the network in '{path}' does not fit '{env_id}' with {frames} frame(s): {first}") from error
    network = import_policy(policy)
    made = {"how": f"read from the Stable-Baselines3 file {path.name}", "num_timesteps": data.get("num_timesteps")}
    return Agent(env_id, "ann", network, space.shape, frames, made, path=path)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, th.Tensor]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "policy.pth" not in names or "data" not in names:
                raise UserError(f"'{path}' is truncated or no Stable-Baselines3 agent: it lacks 'data' or 'policy.pth'")
            if max(archive.getinfo(name).file_size for name in ("data", "policy.pth")) > MAX_MEMBER:
                raise UserError(f"'{path}' unpacks to more than {MAX_MEMBER >> 30} GiB; refused")
            data = json.loads(archive.read("data"))
            tensors = th.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"no file '{path}'") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"'{path}' holds a pickle that is more than tensors; refused, nothing was executed") from error
    except Exception as error:  # a damaged file can fail anywhere in zipfile, zlib, json and torch
        raise UserError(f"'{path}' is damaged or truncated; copy or save it anew ({type(error).__name__})") from error
    if not isinstance(data, dict) or not isinstance(tensors, dict):
        raise UserError(f"'{path}' is not a Stable-Baselines3 agent: its contents have the wrong form")
    if not all(isinstance(key, str) and isinstance(value, th.Tensor) for key, value in tensors.items()):
        raise UserError(f"'{path}' is not a Stable-Baselines3 agent: policy.pth holds more than tensors")
    return data, tensors


def _spaces(recipe: Any, tensors: dict[str, th.Tensor]) -> tuple[int, spaces.Box, spaces.Discrete]:
    """Frames per observation, from the width of the first layer, with the spaces that the environment then has."""
    env = make_env(recipe, frames=1)
    shape = cast(tuple[int, ...], env.observation_space.shape)
    first = next(tensor for tensor in tensors.values() if tensor.dim() > 1)
    frames, rest = divmod(first.shape[1], shape[0])
    if rest or not frames:
        wanted = "x".join(map(str, shape))
        raise UserError(f"the agent takes {first.shape[1]} inputs but '{recipe.id}' gives {wanted}; is this the right --env?")
    env = make_env(recipe, frames=frames)
    return frames, cast(spaces.Box, env.observation_space), cast(spaces.Discrete, env.action_space)


def _extractor(path: Path, tensors: dict[str, th.Tensor], kwargs: dict[str, Any], named: str | None) -> type[Any]:
    if named is not None:
        module, _, name = named.partition(":")
        try:
            return cast(type[Any], getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"--extractor {named}: {error}; write it as module:Class") from error
    keys = [key.removeprefix("q_net.features_extractor.") for key in tensors if key.startswith("q_net.features_ex")]
    if not keys:
        return FlattenExtractor
    if keys == [f"{layer}.{kind}" for layer in ("cnn.0", "cnn.2", "cnn.4", "linear.0") for kind in ("weight", "bias")]:
        kernels = [tensors[f"q_net.features_extractor.cnn.{n}.weight"].shape[-1] for n in (0, 2, 4)]
        if kernels == [8, 4, 3]:
            return NatureCNN
    written = kwargs.get("features_extractor_class", "a class of its own")
    raise UserError(
        f"'{path}' has a custom feature extractor ({written}), whose strides a zip does not tell without running its "
        "pickle; name the class with --extractor module:Class"
    )


def _plain(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
