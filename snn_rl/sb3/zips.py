"""Reads a trained Q-network, ANN or spiking, out of Stable-Baselines3: from a live model, or from a ``.zip`` without
unpickling anything."""

from __future__ import annotations

import importlib
import io
import json
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.layers import check_in_order, leaves, read_layers
from snn_rl.sb3.policy import SpikingPolicy
from snn_rl.store import agents
from snn_rl.store.agents import Agent, check_finite
from snn_rl.tasks.catalogue import imported
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.recipes import Recipe

MAX_MEMBER = 2 << 30  # a zip member that unpacks to more than this is refused
SPIKING = "q_net.network."  # what the tensors of our own policies begin with
_NATURE = ("cnn.0", "cnn.2", "cnn.4", "linear.0")  # the layers of NatureCNN

# What the first tensors of other algorithms' policies are called.
_OTHERS = {
    "quantile_net.": "QR-DQN",
    "action_net.": "PPO or A2C",
    "actor.": "SAC, TD3 or DDPG",
    "lstm_actor.": "RecurrentPPO",
}


def import_policy(policy: DQNPolicy) -> QNetwork:
    """The ANN of a live Stable-Baselines3 DQN policy (``model.policy``) as a QNetwork with T = 0.

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


def load_agent(where: str | Path, env: str | None = None, extractor: str | None = None) -> Agent:
    """Loads an agent.

    Args:
        where: an agent's folder, the name of a shipped agent such as ``PongNoFrameskip-v4/T1``, or the ``.zip`` of a
            Stable-Baselines3 DQN or a ``SpikingDQN`` (which is read without unpickling anything).
        env: Gymnasium id of the environment, or ``MODULE:ID``; needed for a zip, for a folder its own if None. In another
            environment than its own an agent has no scores, and no folder to store them in.
        extractor: ``module:Class`` of a zip's custom feature extractor, imported from the user's own code.

    Raises:
        UserError: if it is not there, damaged, not a DQN, or holds weights that are not finite.
    """
    path, env = Path(where), None if env is None else imported(env)
    if path.suffix == ".zip":
        if not path.is_file():
            raise UserError(f"no file '{path}'")
        if env is None:
            raise UserError(f"an SB3 zip does not say its environment: give --env ID; in Python load_agent('{path}', ID)")
        return load_zip(path, env, extractor)
    if extractor is not None:
        raise UserError(f"--extractor is for an SB3 zip; '{where}' is none")
    agent = agents.load(path)
    if env is not None and env != agent.env:
        agent = Agent(**{**vars(agent), "env": env, "module": "", "scores": {}, "episodes": [], "path": None})
    return agent


def load_zip(path: Path, env_id: str, extractor: str | None = None) -> Agent:
    """The agent in a Stable-Baselines3 ``.zip``: the ANN of a DQN, or the spiking network of a
    :class:`~snn_rl.sb3.dqn.SpikingDQN` or of a DQN with a :class:`~snn_rl.sb3.policy.SpikingPolicy`.

    Only the JSON text and the tensors are read (``weights_only=True``); no pickle in the file is executed. Strides are not
    in a state dict, so a feature extractor other than SB3's own has to be named.

    Args:
        path: the zip.
        env_id: Gymnasium id of the environment it plays.
        extractor: ``module:Class`` of a custom feature extractor, imported from the user's own code.

    Raises:
        UserError: for a file that is missing, truncated, hostile or of another algorithm, that does not fit the
            environment, or of a SpikingDQN that learnt under VecNormalize. (Of a stock DQN nothing in the zip tells.)
    """
    data, tensors = _read(path)
    check_finite(tensors, str(path))
    spiking = any(key.startswith(SPIKING) for key in tensors)
    if not spiking and not any(key.startswith("q_net.q_net.") for key in tensors):
        other = next((name for prefix, name in _OTHERS.items() if any(k.startswith(prefix) for k in tensors)), "no DQN")
        raise UserError(f"'{path}' is an agent of another algorithm ({other}); only DQN has Q-values to convert")
    kwargs = _plain(data.get("policy_kwargs"))
    activation = str(kwargs.get("activation_fn", "ReLU")).rstrip("'>").rsplit(".", 1)[-1]
    if activation != "ReLU":  # was written "<class 'torch.nn.modules.activation.ReLU'>"
        raise UnconvertibleError(f"cannot convert '{path}': its activation {activation} has no spiking counterpart")
    if data.get("normalizes_observations") is True:
        raise UserError(
            f"'{path}' was trained under VecNormalize, whose statistics are not in the zip: without them the agent does not "
            "see what it learnt from; train it with norm_obs=False, or with the normalisation inside the environment"
        )
    weights = _weights(path, tensors, spiking)
    recipe = load_recipe(env_id)
    frames, space, actions = _spaces(recipe, weights[0])
    if len(weights[-1]) != actions.n:
        raise UserError(f"'{path}' has {len(weights[-1])} actions but '{env_id}' has {actions.n}")
    own = {key: kwargs[key] for key in ("T", "carry", "decay", "recurrent") if key in kwargs} if spiking else {}
    named: dict[str, Any] = {
        "features_extractor_class": _extractor(path, tensors, kwargs, extractor),
        "features_extractor_kwargs": _plain(kwargs.get("features_extractor_kwargs")),
        "normalize_images": kwargs.get("normalize_images", True) not in (False, "False"),
    }
    try:
        extractor_layers = named["features_extractor_class"](space, **named["features_extractor_kwargs"]).parameters()
        extracting = sum(parameter.dim() > 1 for parameter in extractor_layers)
        named["net_arch"] = [len(weight) for weight in weights[extracting:-1]]
        policy = (SpikingPolicy if spiking else DQNPolicy)(space, actions, lambda _: 0.0, **named, **own)
        policy.load_state_dict(tensors)
    except (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"the network in '{path}' does not fit '{env_id}' with {frames} frame(s): {first}") from error
    network = policy.q_net.network if isinstance(policy, SpikingPolicy) else import_policy(policy)
    made = {"how": f"read from the Stable-Baselines3 file {path.name}", "num_timesteps": data.get("num_timesteps")}
    if type(data.get("seed")) is int:
        made["seed"] = data["seed"]
    name = f"T{network.T}" if network.T else "ann"
    return Agent(env_id, name, network, space.shape, frames, made, path=path, module=recipe.module)


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


def _weights(path: Path, tensors: dict[str, th.Tensor], spiking: bool) -> list[th.Tensor]:
    """Those of the synapses, first to last."""
    body, head = ((), f"{SPIKING}synapses.") if spiking else ("q_net.features_extractor.", "q_net.q_net.")
    of_head = [value for key, value in tensors.items() if key.startswith(head) and key.endswith(".weight")]
    if not of_head or of_head[-1].dim() != 2 or any(weight.dim() < 2 for weight in of_head):
        raise UserError(f"'{path}' is damaged: its tensors are no Q-network; copy or save it anew")
    return [value for key, value in tensors.items() if key.startswith(body) and value.dim() > 1] + of_head


def _spaces(recipe: Recipe, first: th.Tensor) -> tuple[int, spaces.Box, spaces.Discrete]:
    """Frames per observation, from the width of the first layer, with the spaces that the environment then has."""
    env = make_env(recipe, frames=1)
    shape = cast(tuple[int, ...], env.observation_space.shape)
    flattened = first.dim() == 2  # an MlpPolicy sees an image as one long vector
    frames, rest = divmod(first.shape[1], math.prod(shape) if flattened else shape[0])
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
        except Exception as error:  # whatever is wrong in the user's module
            raise UserError(f"--extractor {named}: {type(error).__name__}: {error}; write it as module:Class") from error
    if any(key.startswith(SPIKING) for key in tensors):  # the extractor was taken apart
        standard = "features_extractor_class" not in kwargs
    else:
        keys = [key.removeprefix("q_net.features_extractor.") for key in tensors if key.startswith("q_net.features_ex")]
        standard = keys in ([], [f"{layer}.{kind}" for layer in _NATURE for kind in ("weight", "bias")])
    kernels = [value.shape[-1] for key, value in tensors.items() if key.startswith("q_net.") and value.dim() == 4]
    if standard and kernels in ([], [8, 4, 3]):
        return NatureCNN if kernels else FlattenExtractor
    written = kwargs.get("features_extractor_class", "a class of its own")
    raise UserError(
        f"'{path}' has a custom feature extractor ({written}), whose strides a zip does not tell without running its "
        "pickle; name the class with --extractor module:Class"
    )


def _plain(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
