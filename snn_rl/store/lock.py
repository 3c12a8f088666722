"""A lock on a folder: one run writes to it at a time. The system drops the lock of a process that dies, however it dies."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from snn_rl.core.errors import UserError

NAME = ".lock"
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        os.lseek(handle, 1 << 30, os.SEEK_SET)  # a locked byte cannot be read, so it lies behind the text
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    from fcntl import LOCK_EX, LOCK_NB, flock

    def _take(handle: int) -> None:
        flock(handle, LOCK_EX | LOCK_NB)


class Lock:
    """Holds a folder until :meth:`release`, the end of a ``with``, or the end of the process.

    The file ``.lock`` says who holds it. What counts is the system's lock on that file: one that a dead process left behind
    holds nobody up.

    Args:
        folder: that exists.

    Raises:
        UserError: if another process holds it, or this one already does; it says which, where and since when.
        OSError: if nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._handle: int | None = None
        while self._handle is None:
            self._handle = self._opened()

    def _opened(self) -> int | None:
        """The file, locked and signed; None where its last holder removed it meanwhile."""
        # a link there would have another file emptied, and a pipe could be waited for
        plainly = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | plainly, 0o666)
        try:
            _take(handle)
        except OSError as error:
            if error.errno in TAKEN:
                os.close(handle)
                raise UserError(self._held()) from error
            print(f"'{self.path}' cannot be locked ({error.strerror}): let no second run write to that folder")
        try:
            if not os.path.samestat(os.fstat(handle), os.stat(self.path)):
                raise FileNotFoundError
        except FileNotFoundError:
            os.close(handle)
            return None
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        written = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()
        os.lseek(handle, 0, os.SEEK_SET)
        os.truncate(handle if os.truncate in os.supports_fd else self.path, 0)
        os.write(handle, written)
        return handle

    def _held(self) -> str:
        try:
            who = json.loads(self.path.read_text(encoding="utf-8"))
            by = f"process {int(who['pid'])} on {who['host']} since {who['since']}"
        except (OSError, ValueError, KeyError, TypeError):  # it has not signed yet
            by = "another process"
        return f"'{self.path.parent}' is in use by {by}; wait until that run has ended, or choose another --out"

    def release(self) -> None:
        """Lets others in, and removes the file."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(handle)
            _remove(self.path)
        else:
            _remove(self.path)
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def _remove(path: Path) -> None:
    with suppress(OSError):  # it holds nobody up
        path.unlink(missing_ok=True)
