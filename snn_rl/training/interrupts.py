"""Ctrl-C and SIGTERM during a training: noted at once, answered when it suits, and a second time at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 2.0  # seconds that Python gets to end by itself after the second signal


class Interrupts:
    """Notes Ctrl-C and SIGTERM while it is entered, so that the training can write a checkpoint first.

    A second signal ends at once: by KeyboardInterrupt, and where an environment does not let that through (it catches
    everything, or hangs in code that is not Python's), by ending the process two seconds later.

    Args:
        last: says of the last checkpoint how the run goes on.
        say: prints a line.

    Attributes:
        requested: a signal has come.
        sound: a checkpoint could be written now: the first signal then raises KeyboardInterrupt too.
    """

    def __init__(self, last: Callable[[], str], say: Callable[[str], None]) -> None:
        self.last, self.say = last, say
        self.requested = self.sound = False
        self._handlers: dict[int, Any] = {}
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._before = -1
        self._left = threading.Event()

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
            return self
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, self._note)
        self._left.clear()
        ours, theirs = self._sockets = socket.socketpair()
        theirs.setblocking(False)
        self._before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._see_to_it, args=(ours,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        if self._sockets is not None:
            signal.set_wakeup_fd(self._before)
            for end in self._sockets[::-1]:
                end.close()
            self._sockets = None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt(f"interrupted twice; {self.last()}")
        self.requested = True
        if self.sound:
            raise KeyboardInterrupt
        self.say("stopping: a checkpoint is written at the next update (Ctrl-C again ends at once, without)")

    def _see_to_it(self, signals: socket.socket) -> None:
        """Ends the process if it is still there some time after the second signal. Python writes the numbers of signals to the
        socket when they come, even while it waits for an environment."""
        come = 0
        while come < 2:
            try:
                found = signals.recv(64)
            except OSError:  # closed
                return
            if not found:
                return
            come += sum(number in SIGNALS for number in found)
        if not self._left.wait(PATIENCE):
            print(
                f"snn_rl: interrupted twice, and the environment does not answer; {self.last()}", file=sys.stderr, flush=True
            )
            os._exit(130)
