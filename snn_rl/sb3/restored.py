"""A saved ``SpikingDQN`` from JSON and tensors: what its zip says, and whether it can be."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

import torch as th

from snn_rl.core.errors import UserError
from snn_rl.sb3 import settings
from snn_rl.sb3.contents import SPIKING, Zip, plain
from snn_rl.sb3.described import Description, spec_of
from snn_rl.sb3.zips import check_tensors, description_of
from snn_rl.store.agents import check_finite
from snn_rl.store.schema import Table

MAX_STORED = 10_000  # frames in a stack, and labels, of a replay buffer


class Restored:
    """What a zip says of a model, read without its pickles.

    Attributes:
        policy: the class.
        policy_kwargs: as the model had them; where only a pickle holds them, those by which the same network is built.
        build: those by which it is built now.
        attributes: of the model.
        exact: whether the bounds of the observations are known.

    Args:
        source: the zip.
        given: attributes that the user gives in place of what it holds.

    Raises:
        UserError: if it is damaged, or only a pickle holds what is needed.
    """

    def __init__(self, source: Zip, given: Table) -> None:
        where, data = str(source.path), source.data
        told = plain(data.get("plain_settings"))
        settings.check_format(told.get("format", 1), where)
        numbers = settings.Numbers.known(data, where)
        own = given.get("policy_class")
        self.policy = own or settings.policy_of(told.get("policy_class"), data.get("policy_class"), where)
        kwargs = source.policy_kwargs
        space = plain(told.get("observation_space")) or plain(data.get("observation_space"))
        self.exact = "shape" in space
        description = description_of(source) or _older(source, space)
        empty = {"spec": description.network, "input_scale": description.input_scale}
        network = {**empty, "T": description.T, "carry": description.carry}
        others = {key: kwargs[key] for key in ("normalize_images",) if type(kwargs.get(key)) is bool}
        others |= {key: str(kwargs[key]) for key in ("surrogate",) if key in kwargs}
        others |= settings.optimizer_of(kwargs, where)
        self.build: Table = {**network, **others, "balance": False}
        self.policy_kwargs: Table = {**network, **others} if settings.pickled(kwargs) else kwargs
        rate = told.get("learning_rate", data.get("learning_rate"))
        rate = given["learning_rate"] if "learning_rate" in given else settings.learning_rate_of(rate, where)
        window = numbers.get("_stats_window_size", 100)
        actions = plain(told.get("action_space")) or plain(data.get("action_space"))
        self.attributes: Table = {
            **numbers,
            "observation_space": settings.box_of(space, description.observation_shape, where),
            "action_space": settings.discrete_of(actions, description.network[-1].get("out_features", 0), where),
            "learning_rate": rate,
            "train_freq": settings.train_freq_of(told.get("train_freq", data.get("train_freq")), where),
            "tensorboard_log": settings.log_folder_of(data.get("tensorboard_log"), where),
            "replay_buffer_kwargs": _buffer_kwargs(data.get("replay_buffer_kwargs"), where),
            "ep_info_buffer": deque(_episodes(told.get("finished")), maxlen=window),
            "ep_success_buffer": deque(_floats(told.get("successes")), maxlen=window),
            "T": description.T,
            "carry": description.carry,
        }
        buffer = plain(data.get("replay_buffer_class")).get("__module__", "snn_rl")
        if not str(buffer).startswith("snn_rl"):
            raise UserError(
                f"the replay buffer in '{where}' is of a class of its own, which only its pickle holds: {settings.TRUST}"
            )


def _older(source: Zip, space: Table) -> Description:
    """The network in a zip that does not describe it: of a version before it did."""
    data, kwargs, where = source.data, source.policy_kwargs, str(source.path)
    shape = space.get("shape", space.get("_shape"))
    image = str(space.get("dtype")) == "uint8" and isinstance(shape, list) and len(shape) == 3
    written = {
        "network": spec_of(source.under(SPIKING), where),
        "T": data.get("T"),
        "carry": data.get("carry"),
        "input_scale": 1 / 255 if image and kwargs.get("normalize_images", True) is True else 1.0,
        "observation_shape": shape,
    }
    return Description.read(written, where)


def check_weights(tensors: Table, where: str) -> None:
    check_tensors(tensors, where)
    check_finite(tensors, where)


def check_optimizer(state: object, optimizer: th.optim.Optimizer, where: str) -> None:
    """Refuses a state that is not of these weights: PyTorch takes tensors of any size and learning rates of any kind."""
    own = [weight for group in optimizer.param_groups for weight in group["params"]]
    groups = plain(state).get("param_groups")
    moments: dict[Any, Any] = plain(plain(state).get("state"))
    try:
        kept = _what_is_kept(groups, optimizer)
        for index, values in moments.items():
            if type(index) is not int or not 0 <= index < len(own) or plain(values).keys() != kept:
                raise ValueError(f"weight {index}")
            for key, value in values.items():
                _check_moment(key, th.as_tensor(value), own[index])
    except (TypeError, ValueError, RuntimeError, AssertionError, LookupError) as error:
        said = f"the optimizer's state in '{where}' is not that of its weights ({str(error)[:80]})"
        raise UserError(f"{said}; copy or save it anew") from error


def _what_is_kept(groups: object, optimizer: th.optim.Optimizer) -> set[str]:
    """What an optimizer with a file's settings keeps of each weight, as one step of it shows."""
    if not isinstance(groups, list) or len(groups) != len(optimizer.param_groups):
        raise ValueError("its param_groups")
    kept: set[str] = set()
    for group, known in zip(groups, optimizer.param_groups, strict=True):
        own = {key: value for key, value in plain(group).items() if key != "params"}
        settings.check_plain_numbers(own)  # a function as learning rate may go below 0
        if not own.keys() <= known.keys() or group.get("params") != [*range(len(known["params"]))]:
            raise ValueError("its params")
        if own.get("maximize", False) != known.get("maximize", False):
            raise ValueError("its maximize")
        weight = th.nn.Parameter(th.zeros(1))
        trial = type(optimizer)([weight], **{key: value for key, value in own.items() if key not in ("lr", "initial_lr")})
        weight.grad = th.zeros(1)
        trial.step()
        kept |= trial.state[weight].keys()
    return kept


def _check_moment(name: str, value: th.Tensor, weight: th.Tensor) -> None:
    """Refuses what no step leaves: a tensor of another size, or one that is not finite, or squares and steps below 0."""
    if value.shape not in ((), weight.shape) or not bool((value.abs() <= settings.MAX_RATE).all()):
        raise ValueError(f"its {name}")
    if (name in ("step", "sum", "acc_delta", "exp_inf") or "sq" in name) and bool((value < 0).any()):
        raise ValueError(f"its {name}")


def _buffer_kwargs(written: object, where: str) -> Table:
    kwargs = plain(written)
    for key, value in kwargs.items():
        if key in ("frame_stack", "n_labels") and type(value) is int and not (key == "frame_stack") <= value <= MAX_STORED:
            raise UserError(f"the replay buffer in '{where}' has {key} = {value}; copy or save it anew")
        if key not in ("seed", "verbose", "frame_stack", "n_labels") or not (value is None or type(value) is int):
            raise UserError(
                f"the replay buffer in '{where}' was built with {key[:40]}, which only its pickle holds: {settings.TRUST}"
            )
    return dict(kwargs)


def _episodes(written: object) -> list[dict[str, float]]:
    rows = written if isinstance(written, list) else []
    return [dict(zip(("r", "l", "t"), _floats(row), strict=True)) for row in rows if len(_floats(row)) == 3]


def _floats(written: object) -> list[float]:
    values = written if isinstance(written, list) else []
    return [float(value) for value in values if type(value) in (int, float) and abs(value) <= sys.float_info.max]
