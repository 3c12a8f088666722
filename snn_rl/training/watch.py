"""Looks after one training while a learner works: its progress, evaluations, checkpoints, and Ctrl-C."""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn, Self

import torch as th

from snn_rl.core import threads
from snn_rl.core.network import QNetwork
from snn_rl.tasks.progress import Progress
from snn_rl.training.checkpoints import Checkpoint
from snn_rl.training.curve import Curve
from snn_rl.training.interrupts import Interrupts
from snn_rl.training.selection import Selection


class Watch:
    """A context manager around a training; the learner calls :meth:`update` after every piece of work.

    Ctrl-C (or SIGTERM) is answered at the next update: a checkpoint is written, then KeyboardInterrupt raised.

    Args:
        network: what is trained.
        progress: shows how far it is.
        selection: evaluates it.
        checkpoint: the file; ``curve`` is one of its parts, as the others are.
        curve: keeps what the learner says of itself.
    """

    def __init__(
        self, network: QNetwork, progress: Progress, selection: Selection, checkpoint: Checkpoint, curve: Curve
    ) -> None:
        self.network, self.progress, self.selection = network, progress, selection
        self.checkpoint, self.curve = checkpoint, curve
        self._threads = th.get_num_threads()  # of play, where small networks lose by more
        self._interrupts = Interrupts(checkpoint.path, progress.say)

    def __enter__(self) -> Self:
        self._interrupts.__enter__()
        self.progress.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.__exit__(kind, error, trace)
        self._interrupts.__exit__(kind, error, trace)
        if kind is None and self._interrupts.requested:  # after the last update
            self._stop()

    def resume(self) -> bool:
        """Goes on from the checkpoint if there is one, and says where; returns whether there is one. See
        :meth:`Checkpoint.read`."""
        found = self.checkpoint.read()
        if found:
            title, unit = self.progress.description, self.progress.unit
            self.progress.say(f"{title}: goes on after {self.done:,} of {self.total:,} {unit}")
        return found

    @property
    def total(self) -> int:
        """Amount of work."""
        return self.progress.total or 0

    @property
    def done(self) -> int:
        """Work that is done."""
        return self.progress.done

    @property
    def going(self) -> bool:
        """Whether there is work left, and no evaluation reached what was wanted."""
        return self.done < self.total and not self.selection.satisfied

    def update(self, done: int, **shown: float) -> bool:
        """Notes that ``done`` units of work are done; returns False when it is time to stop.

        Args:
            done: so far.
            shown: how the learner finds itself doing, for the bar and for the training's curve.

        Raises:
            KeyboardInterrupt: after a checkpoint was written, if Ctrl-C was pressed.
        """
        self.curve.note(done, self.done, self.total, shown)
        measure = self.selection.measure
        returns = {f"last {measure}": self.selection.evaluations[-1][1]} if self.selection.evaluations else {}
        self.progress.advance(done, {**shown, **returns})
        if self.selection.due(done):
            self.progress.note = "evaluating"
            with threads.using(self._threads):
                value, best = self.selection.judge(self.network, done), self.selection.best_return
            self.progress.note = ""
            self.progress.say(f"{self.progress.description}: {measure} {value:.2f} after {done:,} (best {best:.2f})")
            if self.selection.match is not None and (end := self.selection.match.reached):
                saved = self.progress.seconds * (self.total / done - 1)
                self.progress.say(
                    f"{self.progress.description}: as good as its ANN ({end.student:.2f} and {end.ann:.2f} from the "
                    f"same starts); ends after {done:,} of {self.total:,}, which saves about {saved:.0f} s"
                )
        if self._interrupts.requested:
            self._stop()
        if self.going and self.checkpoint.due:
            try:
                self.checkpoint.write()
            except OSError as error:  # training goes on: the next checkpoint may find room
                self.progress.say(f"warning: no checkpoint could be written ({error.strerror}); the last one is kept")
        return self.going

    def _stop(self) -> NoReturn:
        self.checkpoint.write()
        self._interrupts.requested = False
        path = self.checkpoint.path
        raise KeyboardInterrupt(f"interrupted after {self.done:,} of {self.total:,}; --resume goes on from {path}")
