"""Looks after one training while a learner works: its progress, evaluations, checkpoints, and Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
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
    """A context manager around a training; the learner calls :meth:`update` after every piece of work, when its state is
    sound: a checkpoint may then be written.

    Ctrl-C (or SIGTERM) is answered at the next update, and in an evaluation at once: a checkpoint is written, then
    KeyboardInterrupt raised. Before another exception leaves, a checkpoint of the last sound state is written.

    Args:
        network: what is trained.
        progress: shows how far it is.
        selection: evaluates it.
        checkpoint: from which an interrupted training goes on; ``curve`` is one of its parts, as the others are.
        curve: keeps what the learner says of itself.
        rollback: takes the learner back to where it was at the last update; returns whether it could.
    """

    def __init__(
        self,
        network: QNetwork,
        progress: Progress,
        selection: Selection,
        checkpoint: Checkpoint,
        curve: Curve,
        rollback: Callable[[], bool] = lambda: False,
    ) -> None:
        self.network, self.progress, self.selection = network, progress, selection
        self.checkpoint, self.curve, self.rollback = checkpoint, curve, rollback
        self._threads = th.get_num_threads()  # of play, where small networks lose by more
        self._interrupts = Interrupts(self._last, progress.say)
        self._paused = False  # the last checkpoint could not be written

    def __enter__(self) -> Self:
        self._interrupts.__enter__()
        self.progress.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if isinstance(error, Exception) and self.rollback() and self.write():
                self._say(f"a checkpoint was written, after {self._far()}; {self._last()}")
        finally:
            self.progress.__exit__(kind, error, trace)
            self._interrupts.__exit__(kind, error, trace)
        if kind is None and self._interrupts.requested:  # after the last update
            self._stop()

    def resume(self) -> bool:
        """Goes on from the checkpoint if there is one, and says where; returns whether there is one. See
        :meth:`Checkpoint.read`."""
        found, said = self.checkpoint.read()
        if said:
            self._say(said)
        if found:
            self._say(f"goes on after {self._far()}")
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
        """Whether there is work left, an evaluation too, and none reached what was wanted."""
        return (self.done < self.total or self.selection.due(self.done)) and not self.selection.satisfied

    def update(self, done: int, **shown: float) -> bool:
        """Notes that ``done`` units of work are done; returns False when it is time to stop.

        Args:
            done: so far; as many as before where a training goes on.
            shown: how the learner finds itself doing, for the bar and for the training's curve.

        Raises:
            KeyboardInterrupt: after a checkpoint was written, if Ctrl-C was pressed.
        """
        self.curve.note(done, self.done, self.total, shown)
        measure = self.selection.measure
        returns = {f"last {measure}": self.selection.evaluations[-1][1]} if self.selection.evaluations else {}
        self.progress.advance(done, {**shown, **returns})
        self.pause()
        if self.selection.due(done):
            self._evaluate(done)
        self.pause()
        return self.going

    def pause(self) -> None:
        """A sound moment without anything new: a checkpoint is written if it is time for one, or if Ctrl-C was pressed.

        Raises:
            KeyboardInterrupt: see :meth:`update`.
        """
        if self._interrupts.requested:
            self._stop()
        if self.going and self.checkpoint.due:
            self.write()

    def _evaluate(self, done: int) -> None:
        before = self.selection.state_dict()
        before["evaluations"] = [*before["evaluations"]]
        self.progress.note = "evaluating"
        try:
            self._interrupts.sound = True
            with threads.using(self._threads):
                value, best = self.selection.judge(self.network, done), self.selection.best_return
            self._interrupts.sound = False
        except BaseException as error:
            self._interrupts.sound = False
            self.selection.load_state_dict(before)  # half an evaluation is none
            if isinstance(error, KeyboardInterrupt) and self._interrupts.requested:
                self._stop()
            raise
        finally:
            self.progress.note = ""
        self._say(f"{self.selection.measure} {value:.2f} after {done:,} (best {best:.2f})")
        if self.selection.match is not None and (end := self.selection.match.reached):
            saved = self.progress.seconds * (self.total / done - 1)
            self._say(
                f"as good as its ANN ({end.student:.2f} and {end.ann:.2f} from the same starts); ends after {done:,} of "
                f"{self.total:,}, which saves about {saved:.0f} s"
            )

    def write(self) -> bool:
        """Writes a checkpoint; whether it could. Where it could not, training goes on, and the next may find room."""
        try:
            self.checkpoint.write()
        except OSError as error:
            if not self._paused:
                self.progress.say(
                    f"warning: no checkpoint could be written ({error.strerror}); training goes on, and writing is tried "
                    f"again. {self._last().capitalize()} if it ends before"
                )
            self._paused = True
            return False
        if self._paused:
            self._say("checkpoints are written again")
        self._paused = False
        return True

    def _stop(self) -> NoReturn:
        try:
            self.checkpoint.write()
            written = ""
        except OSError as error:
            written = f"no checkpoint could be written ({error.strerror}): "
        self._interrupts.requested = False
        raise KeyboardInterrupt(f"interrupted after {self._far()}; {written}{self._last()}")

    def _last(self) -> str:
        """How a run goes on that ends now."""
        if self.checkpoint.there:
            return f"--resume goes on from {self.checkpoint.path}"
        return "there is no checkpoint yet, so --resume begins this stage anew"

    def _far(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.progress.unit}"

    def _say(self, text: str) -> None:
        self.progress.say(f"{self.progress.description}: {text}")
