"""Keeps long training safe: a progress bar with ETA, atomic checkpoints, the best network by evaluation, a clean Ctrl-C."""

from __future__ import annotations

import io
import math
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

import torch as th
from torch import Tensor
from tqdm import tqdm

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store.files import whole

CHECKPOINT_SECONDS = 60.0
CURVE_POINTS = 100  # of a training's curve
LINES = 20  # that tell of progress where there is no terminal for the bar
CHECKPOINT_SHARE = 0.05  # of the time may go into writing checkpoints; a large replay buffer is written less often

Weights = dict[str, Tensor]


class Keeper:
    """Watches over one training. Use as a context manager and call :meth:`update` after every piece of work.

    Ctrl-C (or SIGTERM) is noted and answered at the next update: a checkpoint is written, then KeyboardInterrupt raised.
    A second one ends at once and leaves the last checkpoint.

    Args:
        path: of the checkpoint file; it is removed by :meth:`finish`.
        network: what is trained.
        total: amount of work.
        unit: what it is counted in.
        description: for the bar.
        points: amounts of work at which the network is evaluated, ascending.
        evaluate: mean return of the network; higher is better.
        state: everything else that is needed to go on, as tensors and plain values.
        restore: puts such a state back.
        stop_at: end early once an evaluation reaches this return.
        identity: settings that must be the same to resume.
        show: show the bar.
    """

    def __init__(
        self,
        path: Path,
        network: QNetwork,
        total: int,
        *,
        unit: str,
        description: str,
        points: list[int],
        evaluate: Callable[[QNetwork], float],
        state: Callable[[], dict[str, Any]],
        restore: Callable[[dict[str, Any]], None],
        stop_at: float | None = None,
        identity: dict[str, Any] | None = None,
        show: bool = True,
    ) -> None:
        self.path, self.network, self.total, self.points = path, network, total, points
        self.description = description
        self.evaluate, self.state, self.restore, self.stop_at = evaluate, state, restore, stop_at
        self.identity = identity or {}
        self.done = 0
        self.evaluations: list[list[float]] = []  # [work done, mean return]
        self.curve: dict[str, list[list[float]]] = {}  # what the learner says of itself -> [work done, value]
        self.best: Weights | None = None
        self.best_return = float("-inf")
        self._bar = tqdm(
            total=total, unit=unit, desc=description, disable=None if show else True, smoothing=0.05, dynamic_ncols=True
        )
        self._log, self._first = show and self._bar.disable, 0
        self._interrupted = False
        self._written, self._cost = time.monotonic(), 0.0
        self._begun, self._before = time.monotonic(), 0.0
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._handlers[number] = signal.signal(number, self._interrupt)
            except ValueError:  # not the main thread: signals are somebody else's
                break
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if kind is None and self._interrupted:  # too late for an update to notice
            self._stop()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt(f"interrupted twice; the last checkpoint is {self.path}")
        self._interrupted = True
        self._bar.write("stopping: a checkpoint is written at the next update (Ctrl-C again ends at once, without)")

    def _stop(self) -> NoReturn:
        self.save()
        self._interrupted = False
        raise KeyboardInterrupt(f"interrupted after {self.done:,} of {self.total:,}; --resume goes on from {self.path}")

    def resume(self) -> bool:
        """Goes on from the checkpoint if there is one; returns whether it did.

        Raises:
            UserError: if the checkpoint is damaged or of a run with other settings.
        """
        if not self.path.exists():
            return False
        try:
            saved = th.load(self.path, map_location="cpu", weights_only=True)
            for key, value in self.identity.items():
                if saved["identity"].get(key) != value:
                    raise UserError(
                        f"'{self.path}' was made with {key} = {saved['identity'].get(key)!r}, this run has {value!r}; "
                        "resume with the same options and recipe, or remove it to start anew"
                    )
            self.network.load_state_dict(saved["network"])
            self.done, self.evaluations, self.curve = saved["done"], saved["evaluations"], saved.get("curve", {})
            self.best, self.best_return = saved["best"], saved["best_return"]
            self._before = saved["seconds"]
            self.restore(saved["state"])
        except UserError:
            raise
        except (RuntimeError, KeyError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
            raise UserError(f"the checkpoint '{self.path}' is damaged; remove it to start that stage anew") from error
        self._first = self._bar.initial = self._bar.n = self.done  # the ETA counts only the work of this process
        return True

    @property
    def going(self) -> bool:
        """Whether there is work left: not where it is all done, nor where an evaluation reached what was wanted."""
        return self.done < self.total and (self.stop_at is None or self.best_return < self.stop_at)

    @property
    def seconds(self) -> float:
        """Time spent on this training, in all processes that worked on it."""
        return self._before + time.monotonic() - self._begun

    def update(self, done: int, **shown: float) -> bool:
        """Notes that ``done`` units of work are done; returns False when it is time to stop.

        Args:
            done: so far.
            shown: how the learner finds itself doing, for the bar and for the training's curve.
        """
        if done * CURVE_POINTS // self.total > self.done * CURVE_POINTS // self.total:
            for name, value in shown.items():
                if not math.isfinite(value):  # a card holds none; what became of the network, its loading will say
                    continue
                self.curve.setdefault(name, []).append([done, float(f"{value:.4g}")])
        if self._log and done * LINES // self.total > self.done * LINES // self.total:
            left = max(self.total - done, 0) * (time.monotonic() - self._begun) / max(done - self._first, 1)
            words = "".join(f", {name} {value:.3g}" for name, value in shown.items())
            self._bar.write(f"{self.description}: {done:,} of {self.total:,}{words}, about {left / 60:.0f} min left")
        self._bar.update(done - self.done)
        self.done = done
        if shown:
            self._bar.set_postfix({name: f"{value:.3g}" for name, value in shown.items()}, refresh=False)
        stop = done >= self.total
        if len(self.evaluations) < len(self.points) and done >= self.points[len(self.evaluations)]:
            stop = self._evaluate() or stop
        interval = max(CHECKPOINT_SECONDS, self._cost / CHECKPOINT_SHARE)
        if self._interrupted:
            self._stop()
        if not stop and time.monotonic() - self._written > interval:
            try:
                self.save()
            except OSError as error:  # training goes on: the next checkpoint may find room
                self._written = time.monotonic()
                self._bar.write(f"warning: no checkpoint could be written ({error.strerror}); the last one is kept")
        return not stop

    def _evaluate(self) -> bool:
        value = self.evaluate(self.network)
        self.evaluations.append([self.done, value])
        if value >= self.best_return:  # of equals the one that was trained longer
            self.best_return = value
            self.best = {key: tensor.detach().clone() for key, tensor in self.network.state_dict().items()}
        self._bar.write(f"{self.description}: return {value:.2f} after {self.done:,} (best {self.best_return:.2f})")
        return self.stop_at is not None and value >= self.stop_at

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all."""
        begin = time.monotonic()
        content = {
            "identity": self.identity,
            "network": self.network.state_dict(),
            "done": self.done,
            "seconds": self.seconds,
            "evaluations": self.evaluations,
            "curve": self.curve,
            "best": self.best,
            "best_return": self.best_return,
            "state": self.state(),
        }
        with whole(self.path) as new:
            buffer = io.BytesIO()  # torch.save turns a full disk into a RuntimeError without a cause
            th.save(content, buffer)
            new.write_bytes(buffer.getbuffer())
        self._written = time.monotonic()
        self._cost = self._written - begin

    def finish(self) -> None:
        """Puts the best evaluated network into ``network``. The checkpoint stays until :meth:`remove`."""
        if self.best is not None:
            self.network.load_state_dict(self.best)

    def remove(self) -> None:
        """Removes the checkpoint: what it led to has been stored."""
        self.path.unlink(missing_ok=True)
