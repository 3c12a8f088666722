"""A ``SpikingDQN`` in files. ``load`` executes nothing that they hold, unless it is asked to trust them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, Self, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.save_util import open_path
from stable_baselines3.common.utils import check_for_correct_spaces

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_OBSERVED
from snn_rl.sb3 import settings
from snn_rl.sb3.archives import check_sizes, check_zip
from snn_rl.sb3.contents import Zip, plain
from snn_rl.sb3.replay import RINGS, SequenceReplayBuffer
from snn_rl.sb3.restored import Restored, check_optimizer, check_weights
from snn_rl.sb3.resumable import ResumableDQN
from snn_rl.sb3.zips import read_parts
from snn_rl.store.bounded import opened
from snn_rl.store.schema import Table

STOCK = (
    "what Stable-Baselines3's own algorithms save is an agent: of an ANN SpikingDQN.from_sb3('model.zip', env, T=1) makes a "
    "learner, of a spiking one to_sb3(load_agent('model.zip', ID), env)"
)
MAX_BUFFER = 1 << 40  # bytes of a saved replay buffer, which is not read at once
_OPTIMIZER = "policy.optimizer.pth"


class SavedDQN(ResumableDQN):
    """The part of :class:`~snn_rl.sb3.dqn.SpikingDQN` that saves and loads."""

    network_description: Table

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """As Stable-Baselines3's, whose ``load`` reads it too. What it writes as pickles is written as JSON besides, so that
        :meth:`load` needs no pickle."""
        frequency = self.train_freq
        self.plain_settings: Table = {
            "format": settings.FORMAT,
            "policy_class": type(self.policy).__name__ if type(self.policy) in settings.POLICIES.values() else None,
            "observation_space": settings.space_to_json(self.observation_space),
            "action_space": settings.space_to_json(self.action_space),
            "learning_rate": settings.schedule_to_json(self.learning_rate),
            "train_freq": frequency if isinstance(frequency, int) else [frequency[0], getattr(frequency[1], "value", None)],
            "finished": [[float(info[key]) for key in ("r", "l", "t")] for info in self.ep_info_buffer or ()],
            "successes": [float(success) for success in self.ep_success_buffer or ()],
        }
        try:
            super().save(path, exclude, include)
        finally:
            del self.plain_settings

    @classmethod
    def load(
        cls,
        path: Any,
        env: Any = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        trust: bool = False,
        **kwargs: Any,
    ) -> Self:
        """A saved model, to play or to learn on. Weights, numbers and text are read; no pickle in the file is executed.

        Args:
            path: of the zip; ``.zip`` may be left out.
            env: to play in; None to predict only.
            device: as in Stable-Baselines3.
            custom_objects: ``policy_class``, ``learning_rate`` and others by name, in place of what the file holds.
            print_system_info: as in Stable-Baselines3; needs ``trust``.
            force_reset: as in Stable-Baselines3; false needs ``trust``.
            trust: load as Stable-Baselines3 does, which **executes code that the file holds**: only for files of your own or
                of people whose programs you would run. Functions and classes of your own are restored only so.
            kwargs: arguments that change the model, such as ``gamma=0.95``.

        Raises:
            UserError: for T or carry, which belong to the saved network, for the zip of a stock DQN, for a damaged or hostile
                file, and for what only a pickle holds: a function as learning rate, a policy class or optimizer of one's own.
        """
        if {"T", "carry"} & kwargs.keys():
            raise UserError(
                "T and carry belong to the saved network and cannot be changed by load(): for fewer timesteps use "
                "python -m snn_rl.prune, to zero the membranes in play python -m snn_rl.evaluate --no-carry"
            )
        if trust:
            model = super().load(path, env, device, custom_objects, print_system_info, force_reset, **kwargs)
            vars(model).pop("plain_settings", None)
            return model
        if print_system_info or not force_reset:
            raise UserError(f"print_system_info=True and force_reset=False read pickles: leave them out, or {settings.TRUST}")
        if not isinstance(path, str | os.PathLike):
            raise UserError("load() takes a path; an open file is read with trust=True only, which executes what it holds")
        return cls._load_plainly(_found(Path(path), ".zip"), env, device, custom_objects or {}, kwargs)

    @classmethod
    def _load_plainly(cls, path: Path, env: Any, device: th.device | str, custom: Table, changes: Table) -> Self:
        data, parts = read_parts(path, ("policy.pth", _OPTIMIZER))
        source = Zip(path, data, plain(parts["policy.pth"]))
        if not source.spiking or "sequence_length" not in data:
            raise UserError(f"'{path}' holds no SpikingDQN; {STOCK}")
        check_weights(source.tensors, str(path))
        found = Restored(source, custom | changes)
        if "policy_kwargs" in changes and changes.pop("policy_kwargs") != found.policy_kwargs:
            raise ValueError(f"the policy_kwargs belong to the saved network, which has {found.policy_kwargs}")
        if env is not None:
            env = cls._wrap_env(env, found.attributes.get("verbose", 0))
            space, actions = found.attributes["observation_space"], found.attributes["action_space"]
            if not found.exact and (env.observation_space.shape, env.observation_space.dtype) == (space.shape, space.dtype):
                space = found.attributes["observation_space"] = env.observation_space
            check_for_correct_spaces(env, space, actions)
            found.attributes["n_envs"] = env.num_envs
        model = cls(found.policy, env, device=device, _init_setup_model=False)
        vars(model).update(found.attributes, policy_kwargs=found.build)
        vars(model).update({key: value for key, value in custom.items() if key in vars(model) and key != "policy_class"})
        vars(model).update(changes)
        model._setup_model()
        model.policy_kwargs = found.policy_kwargs
        check_optimizer(parts[_OPTIMIZER], model.policy.optimizer, str(path))
        try:
            model.policy.load_state_dict(source.tensors)
            model.policy.optimizer.load_state_dict(parts[_OPTIMIZER])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            first = str(error).partition("\n")[0][:200]
            raise UserError(f"the tensors in '{path}' are not those of its network ({first}); copy or save it anew") from error
        return model

    def save_replay_buffer(self, path: Any) -> None:
        """Writes the replay buffer as tensors and numbers.

        Args:
            path: of the file; ``.pkl`` may be left out.
        """
        file = open_path(path, "w", verbose=self.verbose, suffix="pkl")
        th.save({"format": settings.FORMAT, **self.replay_buffer.state_dict()}, file)
        if isinstance(path, str | Path):
            file.close()

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True, trust: bool = False) -> None:
        """Reads a replay buffer. Learning then begins new episodes: what the buffer held does not lead to what is played now.

        Args:
            path: of the file; ``.pkl`` may be left out.
            truncate_last_traj: as in Stable-Baselines3; without effect.
            trust: read a pickle, as older versions and Stable-Baselines3 wrote it, which **executes code that it holds**.

        Raises:
            UserError: for a pickle without ``trust``, and for a file that is damaged or of another model.
        """
        if trust:
            super().load_replay_buffer(path, truncate_last_traj)
        else:
            self.replay_buffer = self._read_buffer(_found(Path(path), ".pkl"))
        self._last_obs = None

    def _read_buffer(self, path: Path) -> SequenceReplayBuffer:
        own = self.replay_buffer
        try:
            with opened(path, MAX_BUFFER) as file:
                size = os.fstat(file.fileno()).st_size
                check_zip(file, size)
                state = th.load(path, map_location="cpu", weights_only=True, mmap=True)
            check_sizes(state, 4 * size)
            settings.check_format(state.get("format", 1), str(path))
            _check_buffer(state, own)
            buffer = own
            if state["buffer_size"] != own.buffer_size:
                buffer = SequenceReplayBuffer(
                    state["buffer_size"] * own.n_envs,
                    self.observation_space,
                    self.action_space,
                    self.device,
                    own.n_envs,
                    frame_stack=own.frame_stack,
                    n_labels=own.n_labels,
                )
            buffer.load_state_dict(state)
        except UserError:
            raise
        except FileNotFoundError as error:
            raise UserError(f"no file '{path}'") from error
        except pickle.UnpicklingError as error:
            raise UserError(
                f"'{path}' is a pickle: it was not executed; if you trust it, give load_replay_buffer(..., trust=True), and "
                "save_replay_buffer then writes it without one"
            ) from error
        except Exception as error:  # a damaged file can fail anywhere in zipfile and torch
            raise UserError(f"'{path}' is damaged or of another model ({str(error)[:80]}); save it anew") from error
        return buffer


def _found(path: Path, suffix: str) -> Path:
    """The path as Stable-Baselines3 completes it."""
    return path if path.exists() or path.suffix == suffix else path.with_name(path.name + suffix)


def _check_buffer(state: Any, own: SequenceReplayBuffer) -> None:
    """Raises ValueError for a state that no buffer gave."""
    size, head, actions = state["buffer_size"], state["head"], cast(spaces.Discrete, own.action_space).n
    if type(size) is not int or not 0 < size < 1 << 40:
        raise ValueError(f"its buffer_size is {size}")
    for value in (head, state["next_age"]):
        if value.dtype != th.int64 or value.shape != (own.n_envs,) or bool(((value < 0) | (value > 1 << 40)).any()):
            raise ValueError("its head or next_age")
    if bool((state["next_age"] > 1 << 30).any()):
        raise ValueError("its next_age")
    if state["rings"].keys() != set(RINGS):
        raise ValueError(f"it holds {', '.join(state['rings'])}")
    for name, rings in state["rings"].items():
        ring = getattr(own, name)
        for filled, slots in zip(head.clamp(max=size).tolist(), rings, strict=True):
            if slots.numpy().dtype != ring.dtype or tuple(slots.shape) != (filled, *ring.shape[2:]):
                raise ValueError(f"{name} has the shape {tuple(slots.shape)}")
            if name == "frames" and own.packing is not None:
                slots = th.from_numpy(own.packing.numbers_in(slots.numpy()))
            low, high = slots.aminmax() if slots.numel() and slots.dtype != th.bool else (0, 0)  # NaN is both of a NaN
            if slots.is_floating_point() and not max(high, -low) <= MAX_OBSERVED:
                raise ValueError(f"{name} holds a number that is not finite, or beyond {MAX_OBSERVED:g}")
            if name in ("action", "age") and not (low >= 0 and high < (actions if name == "action" else 1 << 30)):
                raise ValueError(f"{name} is between {low} and {high}")
