"""Playing whole episodes in several processes, side by side, where that is faster than in one.

A worker is a Python process of its own that imports this module, not the caller's: scripts and notebooks need no
``if __name__ == "__main__"``. It reads what to play from its standard input and writes what became of it to its standard
output, both pickled. It belongs to no terminal, so Ctrl-C reaches the process that started it alone, which ends it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from queue import Empty, Queue
from typing import IO, NoReturn

import gymnasium as gym
import numpy as np
import torch as th
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.core.synops import Sums
from snn_rl.tasks.catalogue import imported, module_of
from snn_rl.tasks.environments import begin, make_env
from snn_rl.tasks.players import Played, Player, Tally, playing
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.rollout import Start, check_fits

MOST_WORKERS = 16  # each takes about 300 MB and, until it plays, 3 seconds of a core
LEAST_GAMES = 6  # of Atari: fewer are over before workers have begun
LOOK_SECONDS = 2.0  # of other play, before it is judged how long it takes
LEAST_SECONDS = 15.0  # that workers have to save
USUAL_LENGTH = 1000  # decisions of an episode of which nothing is known
REPORT_SECONDS = 0.5
ENDED = "a process that played ended by itself, perhaps for lack of memory; --threads 1 plays in one process"

BEGIN = "import sys; job = sys.stdin.buffer.read(); from snn_rl.tasks.workers import work; work(job)"


@dataclass
class Report:
    """How far a worker is: arrays over its own episodes, see :class:`~snn_rl.tasks.players.Played`; ``finished`` is its last
    report, with what was counted."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    over: NDArray[np.bool_]
    last: float | None
    finished: bool = False
    sums: list[Sums] | None = None


@dataclass
class Failure:
    """An exception of a worker, the place where it was raised, and its traceback."""

    error: Exception
    filename: str
    line: int
    text: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What can be sent of an exception."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = "".join(traceback.format_exception(error))
        try:
            error = pickle.loads(pickle.dumps(error))
        except Exception:  # not every exception can be pickled: one that is called the same says the same
            error = type(type(error).__name__, (Exception,), {})(str(error))
        return cls(error, place.filename, place.lineno or 1, text)

    def raise_again(self) -> NoReturn:
        """Raises the exception as if from the line that raised it in the worker: what is said of it is then the same."""
        self.error.add_note(f"In a process that played:\n{self.text}")
        exec(compile("\n" * (self.line - 1) + "raise error", self.filename, "exec"), {"error": self.error})
        raise self.error


@dataclass
class Job:
    """What a worker plays; ``env`` names the environment with the user's module that registers it."""

    player: Player
    begins: Sequence[Start]
    env: str


Messages = Queue[tuple[int, Report | Failure | None]]
"""What workers say, with their numbers; None from one that has ended."""


def play_all(
    player: Player,
    begins: Sequence[Start],
    *,
    processes: int = 1,
    progress: Progress | None = None,
    usual: float | None = None,
) -> Played:
    """Plays every start once, in several processes where that pays: for some games of Atari, and where the first two seconds
    in one process show that it would save much. Returns, lengths and counts are the same.

    Args:
        player: who plays.
        begins: the episodes.
        processes: at most so many.
        progress: counts decisions; entered by the caller.
        usual: length of an episode, where it is known.

    Raises:
        UserError: see :func:`~snn_rl.tasks.rollout.play`; or a worker ended by itself.
        Exception: what an environment raises, in a worker too.
    """
    processes = min(processes, len(begins), MOST_WORKERS) if next(player.network.parameters()).device.type == "cpu" else 1
    many = player.recipe.atari and len(begins) >= LEAST_GAMES
    if processes == 1 or not many:
        played = Played(player, len(begins))
        begun, looked = time.monotonic(), processes == 1
        with closing(playing(player, begins, played)) as steps:
            for _ in steps:
                _show(progress, played, usual)
                if not looked and (spent := time.monotonic() - begun) > LOOK_SECONDS:
                    looked = True
                    if saved(played, spent, processes, usual) > LEAST_SECONDS:
                        break
            else:
                return played
        if progress is not None:
            progress.restart()
    return _side_by_side(player, begins, processes, lambda played: _show(progress, played, usual))


def saved(played: Played, spent: float, processes: int, usual: float | None) -> float:
    """Seconds that so many processes would save of what is left to play, after ``spent`` seconds of it."""
    limit = gym.spec(played.player.recipe.id).max_episode_steps or USUAL_LENGTH
    left = played.decisions_left(usual or limit) or 0.0
    return left * spent / max(int(played.lengths.sum()), 1) * (1 - 1 / processes)


def _show(progress: Progress | None, played: Played, usual: float | None) -> None:
    if progress is None:
        return
    done, left = int(played.lengths.sum()), played.decisions_left(usual)
    shown = {"episodes": float(played.over.sum())}
    if played.last is not None:
        shown["last return"] = played.last
    progress.advance(done, shown, None if left is None else done + round(left))


def _side_by_side(player: Player, begins: Sequence[Start], processes: int, after: Callable[[Played], None]) -> Played:
    """Plays with so many workers; ``after`` is called when one has told how far it is."""
    played, shape = Played(player, len(begins)), _check(player, begins[0])
    if player.counted:
        played.tally = Tally(player, shape)
    env = ":".join(filter(None, (module_of(player.recipe.id), player.recipe.id)))
    messages = Messages()
    with ExitStack() as stack:
        for n in range(processes):
            stack.enter_context(_worker(n, Job(player, begins[n::processes], env), messages))
        running = set(range(processes))
        while running:
            try:
                n, said = messages.get(timeout=1.0)  # without a limit, Ctrl-C would have to wait on Windows
            except Empty:
                continue
            if isinstance(said, Failure):
                said.raise_again()
            if said is None:
                if n in running:
                    raise UserError(ENDED)
                continue
            for mine, theirs in ((played.returns, said.returns), (played.lengths, said.lengths), (played.over, said.over)):
                mine[n::processes] = theirs
            played.last = played.last if said.last is None else said.last
            if played.tally is not None and said.sums is not None:
                played.tally.add(said.sums)
            running -= {n} if said.finished else set()
            after(played)
    return played


def _check(player: Player, start: Start) -> tuple[int, ...]:
    """The shape of an observation; raises UserError at once for what workers would raise after seconds."""
    with closing(make_env(player.recipe, frames=player.frames, sticky=player.sticky)) as env:
        shape = begin(env, *start)[0].shape
        check_fits(player.network, shape, env.action_space)
    return shape


@contextmanager
def _worker(n: int, job: Job, messages: Messages) -> Iterator[None]:
    """A process that plays while this is entered, and is killed at the end if it has not ended."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment | {"PYTHONWARNINGS": "ignore"},  # this process has warned already
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    listener = threading.Thread(target=_listen, args=(process, pickle.dumps(job), n, messages), daemon=True)
    try:
        listener.start()
        yield
    finally:
        process.kill()
        process.wait()
        listener.join()


def _listen(process: subprocess.Popen[bytes], job: bytes, n: int, messages: Messages) -> None:
    """Tells a worker what to play and hears what it says."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout as stream:
        try:
            with process.stdin as start:
                start.write(job)
            while True:
                messages.put((n, pickle.load(stream)))
        except (OSError, EOFError, pickle.UnpicklingError):  # it has ended
            messages.put((n, None))


def work(job: bytes) -> None:
    """What a worker does."""
    if not job:  # who started this process has ended
        return
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what an environment prints shall not get between the messages
        try:
            for report in _reports(pickle.loads(job)):
                _send(report, out)
        except BrokenPipeError:
            os._exit(1)
        except Exception as error:
            _send(Failure.of(error), out)


def _send(said: Report | Failure, out: IO[bytes]) -> None:
    pickle.dump(said, out)
    out.flush()


def _reports(job: Job) -> Iterator[Report]:
    """Plays; tells how far it is now and then, and what became of it."""
    th.set_num_threads(1)
    imported(job.env)
    player = job.player
    if player.recipe.atari:
        import ale_py

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # its name was said by the first process
    played, told = Played(player, len(job.begins)), time.monotonic()
    for _ in playing(player, job.begins, played):
        if time.monotonic() - told > REPORT_SECONDS:
            told = time.monotonic()
            yield Report(played.returns, played.lengths, played.over, played.last)
    sums = None if played.tally is None else played.tally.sums
    yield Report(played.returns, played.lengths, played.over, played.last, finished=True, sums=sums)
