"""Loads an agent from wherever it is: a folder, a Stable-Baselines3 ``.zip`` (without unpickling anything), a live model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from snn_rl.core.errors import UserError
from snn_rl.engine import agents as integer
from snn_rl.sb3.archives import load_tensors, members
from snn_rl.sb3.contents import SPIKING, Zip, check_algorithm, plain
from snn_rl.sb3.described import Description
from snn_rl.sb3.fits import Place, Reading, as_agent
from snn_rl.sb3.guessed import guess
from snn_rl.sb3.hints import NO_HINTS, Hints
from snn_rl.sb3.live import read_model
from snn_rl.sb3.normalized import folded, statistics
from snn_rl.store import agents
from snn_rl.store.agents import Agent, check_finite
from snn_rl.store.bounded import parse_json
from snn_rl.store.card import Made
from snn_rl.store.files import folder_name
from snn_rl.store.shipped import is_folder
from snn_rl.tasks.catalogue import base_id, imported
from snn_rl.tasks.environments import load_recipe


def load_agent(
    where: str | Path | BaseAlgorithm,
    env: str | None = None,
    extractor: str | None = None,
    activation: str | None = None,
    engine: str | None = None,
    *,
    vecnormalize: VecNormalize | str | Path | None = None,
    trust_pickle: bool = False,
) -> Agent:
    """Loads an agent.

    Args:
        where: an agent's folder, the name of a shipped agent such as ``PongNoFrameskip-v4/T1`` (by another id of its game,
            ``ALE/Pong-v5/T1``, it plays there), the ``.zip`` of a ``SpikingDQN`` or of a DQN, QR-DQN, PPO, A2C or
            RecurrentPPO of Stable-Baselines3 (which is read without unpickling anything), or a live model of theirs, whose
            network is copied.
        env: Gymnasium id of the environment, or ``MODULE:ID``; needed for a zip and for a live model, for a folder its own if
            None. In another environment than its own an agent has no scores, and no folder to store them in.
        extractor: ``module:Class`` of a stock zip's custom feature extractor, imported from the user's own code.
        activation: ``ReLU`` or ``Tanh``, between the dense layers of a stock zip that does not say it.
        vecnormalize: under which the agent of a zip learnt, or the file that ``VecNormalize.save`` wrote: its mean and scale
            go into the first layer. A live model brings its own.
        trust_pickle: that file is a pickle, which runs whatever its author put there; only with this it is read.
        engine: what computes an agent of integers, one of :data:`snn_rl.engine.agents.ENGINES`; None for the reference.

    Raises:
        UserError: if it is not there, damaged, of an algorithm that cannot be read, does not fit the environment, or holds
            weights that are not finite.
    """
    env = None if env is None else imported(env)
    if engine is not None and (not isinstance(where, str | Path) or Path(where).suffix == ".zip"):
        raise UserError("an engine computes agents of integers: make one with python -m snn_rl.quantize")
    if not isinstance(where, str | Path):
        return _load_live(where, env)
    path = Path(where)
    if path.suffix == ".zip":
        if not path.is_file():
            raise UserError(f"no file '{path}'")
        if env is None:
            raise UserError(f"an SB3 zip does not say its environment: give --env ID; in Python load_agent('{path}', ID)")
        if trust_pickle and vecnormalize is None:
            raise UserError("--trust-pickle goes with --vecnormalize FILE: give both, or leave it out")
        normalize = None if vecnormalize is None else statistics(vecnormalize, trust_pickle)
        return load_zip(path, env, extractor, activation, normalize)
    if vecnormalize is not None:
        raise UserError(f"--vecnormalize is for an SB3 zip; '{where}' is none")
    for option in (option for option, given in (("extractor", extractor), ("activation", activation)) if given is not None):
        raise UserError(f"--{option} is for an SB3 zip; '{where}' is none")
    game_id = path.parent.as_posix()
    if not is_folder(path) and base_id(game_id) != game_id:  # another id of a game whose agents are shipped
        path, env = Path(folder_name(base_id(game_id)), path.name), env or game_id
    agent = integer.load(path, engine or "torch") if engine or integer.is_integer(path) else agents.load(path)
    if env is not None and env != agent.env:
        agent = agent.elsewhere(env)
    return agent


def load_hinted(where: str | Path | BaseAlgorithm, env: str | None, hints: Hints) -> Agent:
    """:func:`load_agent` with what the user says of a zip."""
    extractor, activation, vecnormalize, trust = hints
    return load_agent(where, env, extractor, activation, vecnormalize=vecnormalize, trust_pickle=trust)


def _load_live(model: object, env: str | None) -> Agent:
    if not isinstance(model, BaseAlgorithm):
        raise UserError(f"load_agent() takes a path, a name, or a model of Stable-Baselines3, got a {type(model).__name__}")
    if env is None:
        raise UserError("a live model does not say its environment: load_agent(model, ID)")
    reading, normalize = read_model(model), model.get_vec_normalize_env()
    if normalize is not None:
        reading = folded(reading, normalize, "the model")
    return as_agent(load_recipe(env), reading, "the model")


def load_zip(
    path: Path,
    env_id: str,
    extractor: str | None = None,
    activation: str | None = None,
    normalize: VecNormalize | None = None,
) -> Agent:
    """The agent in a Stable-Baselines3 ``.zip``, see :func:`read_zip`.

    Args:
        path: the zip.
        env_id: Gymnasium id of the environment it plays.
        extractor: ``module:Class`` of a custom feature extractor, imported from the user's own code.
        activation: ``ReLU`` or ``Tanh``, where the zip does not say it.
        normalize: under which it learnt.

    Raises:
        UserError: as :func:`read_zip`.
    """
    recipe = load_recipe(env_id)
    reading = read_zip(path, Place.of_recipe(recipe), Hints(extractor, activation), normalize)
    return as_agent(recipe, reading, f"'{path}'", path)


def read_zip(path: Path, place: Place, hints: Hints = NO_HINTS, normalize: VecNormalize | None = None) -> Reading:
    """What is in a Stable-Baselines3 ``.zip``: the ANN of a DQN, QR-DQN, PPO, A2C or RecurrentPPO, or the spiking network of a
    :class:`~snn_rl.sb3.dqn.SpikingDQN` or of a DQN with a :class:`~snn_rl.sb3.policy.SpikingPolicy`.

    Only the JSON text and the tensors are read (``weights_only=True``); no pickle in the file is executed. What a
    SpikingDQN saved describes its network. In another zip strides are not told, so a feature extractor other than SB3's own
    has to be named.

    Args:
        path: the zip.
        place: the environment it plays.
        hints: what the user says of it.
        normalize: under which it learnt.

    Raises:
        UserError: for a file that is missing, truncated, hostile or of another algorithm, that does not fit the
            environment, or of a SpikingDQN that learnt under VecNormalize, if that is not given. (Of other algorithms nothing
            in the zip tells.)
    """
    source = _read(path)
    check_finite(source.tensors, str(path))
    check_algorithm(source)
    if normalize is None:
        _check_normalisation(source)
    description = description_of(source)
    if description is None:
        network, shape = guess(source, place, hints)
    else:
        network, shape = description.build(source.under(SPIKING), str(path)), tuple(description.observation_shape)
    layout = None if source.spiking else source.layout
    known = {key: source.data[key] for key in ("num_timesteps", "seed") if type(source.data.get(key)) is int}
    how = f"read from the Stable-Baselines3 file {path.name}{layout.note if layout else ''}"
    reading = Reading(network, shape, Made(how=how, logits=True if layout and layout.logits else None, **known))
    return reading if normalize is None else folded(reading, normalize, f"'{path}'")


def _read(path: Path) -> Zip:
    data, parts = read_parts(path, ("policy.pth",))
    tensors = parts["policy.pth"]
    check_tensors(tensors, path)
    if odd := [key for key, value in tensors.items() if not value.is_floating_point()]:
        kind = tensors[odd[0]].dtype
        raise UserError(f"'{path}' is damaged: '{odd[0][:80]}' in policy.pth holds {kind}, no weights; copy or save it anew")
    return Zip(path, data, tensors)


def read_parts(path: Path, wanted: tuple[str, ...], optional: tuple[str, ...] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON of a Stable-Baselines3 zip, and what those parts hold that are tensors.

    Raises:
        UserError: for a file that is missing, truncated, hostile, or no zip of Stable-Baselines3.
    """
    try:
        parts = members(path, ("data", *wanted), optional)
        data = parse_json(parts.pop("data"))
        found = {name: load_tensors(content) for name, content in parts.items()}
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"no file '{path}'") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"'{path}' holds tensors as PyTorch stored them before 1.6, or a pickle that is more than tensors; refused, "
            "nothing was executed; save it anew with PyTorch 1.6 or later"
        ) from error
    except Exception as error:  # a damaged file can fail anywhere in zipfile, zlib, json and torch
        reason = str(error).partition("\n")[0][:100] or type(error).__name__
        raise UserError(f"'{path}' is damaged or truncated ({reason}); copy or save it anew") from error
    if not isinstance(data, dict):
        raise UserError(f"'{path}' is not a Stable-Baselines3 agent: its data is no table; give what model.save() wrote")
    return data, found


def check_tensors(found: object, path: object) -> None:
    """Raises UserError where ``policy.pth`` holds anything but tensors by name."""
    if not (
        isinstance(found, dict) and all(isinstance(key, str) and isinstance(value, th.Tensor) for key, value in found.items())
    ):
        raise UserError(
            f"'{path}' is not a Stable-Baselines3 agent: policy.pth holds more than tensors; give what model.save() wrote"
        )


def _check_normalisation(source: Zip) -> None:
    if source.data.get("normalizes_observations") is True:
        raise UserError(
            f"'{source.path}' was trained under VecNormalize, whose statistics are not in the zip: without them the agent "
            "does not see what it learnt from; give the file that VecNormalize.save wrote (--vecnormalize FILE "
            "--trust-pickle; in Python load_agent(..., vecnormalize=FILE, trust_pickle=True)), or train it with norm_obs=False"
        )


def description_of(source: Zip) -> Description | None:
    """What the zip says of its network: a SpikingDQN's own words, or those of a stock DQN whose policy was built from a spec;
    None where it says nothing."""
    data, kwargs = source.data, source.policy_kwargs
    written: Any = data.get("network_description")
    if written is None and source.spiking and "spec" in kwargs:
        space = plain(data.get("observation_space"))  # written beside its pickle
        image = space.get("dtype") == "uint8" and kwargs.get("normalize_images", True) is True
        usual = 1 / 255 if image and len(space.get("_shape", ())) == 3 else 1.0
        given: Any = kwargs.get("input_scale")
        written = {
            "network": kwargs["spec"],
            "T": kwargs.get("T", 1),
            "carry": kwargs.get("carry", False),
            "input_scale": usual if given is None else given,
            "observation_shape": space.get("_shape"),
        }
    return None if written is None else Description.read(written, str(source.path))
