"""The processes that ``kills.py`` kills: commands of the package on tiny recipes, each in a fork that notes what its trainings
ended with."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from snn_rl import train
from snn_rl.tasks import environments
from snn_rl.tasks.recipes import Recipe
from snn_rl.training import run
from snn_rl.training.checkpoints import Checkpoint

CALLS = {
    "replace": (os, "replace"),
    "rename": (os, "rename"),
    "fsync": (os, "fsync"),
    "unlink": (os, "unlink"),
    "mkdir": (os, "mkdir"),
    "rmdir": (os, "rmdir"),
}
UNREPEATABLE = {"seconds", "t", "num_timesteps_at_start"}  # how long things took, and from where speed is measured


def tiny(recipe: Recipe) -> Recipe:
    """A recipe for seconds of everything, whose replay buffers get full."""
    pixels = recipe.atari
    scarce: dict[str, Any] = {"n_envs": 2, "learning_starts": 60, "buffer_size": 300}
    return dataclasses.replace(
        recipe,
        train=dataclasses.replace(
            recipe.train, **scarce, total_timesteps=300 if pixels else 600, eval_freq=150 if pixels else 200, eval_episodes=2,
            net_arch=(16,), batch_size=4, train_freq=4, target_update_interval=40, stop_at=None,
        ),
        convert=dataclasses.replace(recipe.convert, observations=80),
        prune=dataclasses.replace(
            recipe.prune, **scarce, gradient_steps=(30 if pixels else 100,), batch_size=2, evaluations=2, eval_episodes=2,
            sequence_length=4, burn_in=2, stop_at_share=0.0,
        ),
        td=dataclasses.replace(
            recipe.td, timesteps=300 if pixels else 600, batch_size=2, evaluations=2, sequence_length=4, burn_in=2
        ),
        evaluate=dataclasses.replace(recipe.evaluate, episodes=2),
    )  # fmt: skip


def digest(value: Any) -> str:
    """SHA-256 sum of tensors and plain values, however nested."""
    found = hashlib.sha256()
    _feed(value, found.update)
    return found.hexdigest()


def _feed(value: Any, feed: Callable[[bytes], Any]) -> None:
    if isinstance(value, th.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        feed(f"{value.dtype}{value.shape}".encode())
        feed(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            if key not in UNREPEATABLE:
                feed(str(key).encode())
                _feed(value[key], feed)
    elif isinstance(value, list | tuple):
        feed(f"[{len(value)}".encode())
        for one in value:
            _feed(one, feed)
    else:
        feed(repr(value).encode())


def contents(checkpoint: Checkpoint) -> dict[str, str]:
    """The sum of each part of a training, and of its replay buffer."""
    sums = {name: digest(part.state_dict()) for name, part in checkpoint.parts.items() if name != "random"}
    ring = checkpoint.ring
    if ring is not None:
        ends = ring.ends()
        sums["replay"] = digest(ring.slots([max(end - ring.capacity(), 0) for end in ends], ends))
    return sums


def _noted(notes: Path) -> None:
    """Notes what a training ended with, before its checkpoint is removed."""
    remove = Checkpoint.remove

    def noting(self: Checkpoint) -> None:
        with notes.open("a", encoding="utf-8") as file:
            file.write(f"{self.path.name} {digest(contents(self))}\n")
        remove(self)

    Checkpoint.remove = noting  # type: ignore[method-assign]


def _kill_at(said: str) -> None:
    """Kills this process at the n-th call of a function of the system."""
    name, _, number = said.partition(":")
    left, after = int(number), name.startswith("after-")
    module, function = CALLS[name.removeprefix("after-")]
    call = getattr(module, function)

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*args, **kwargs)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, function, counting)


def begin(command: list[str], notes: Path, log: Path, at: str = "") -> int:
    """Runs ``snn_rl.train`` in a fork of this process; its number.

    Args:
        command: of ``train``.
        notes: a file that gets a line for each training that ended: the SHA-256 sum of all that its checkpoint would hold.
        log: a file that gets what is printed.
        at: ``replace:3`` kills the process at the third call of ``os.replace``, before it does anything; ``after-replace:3``
            right after it.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with log.open("a", encoding="utf-8") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        if at:
            _kill_at(at)
        load = environments.load_recipe
        for module in (environments, run):
            module.load_recipe = lambda *args, **kwargs: tiny(load(*args, **kwargs))  # type: ignore[attr-defined]
        _noted(notes)
        code = train.main(command)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
