"""Carrying out one cell: a process of its own, whose last sentence says what went wrong."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from snn_rl.store.files import CARD, EPISODES, whole
from snn_rl.sweeps.cells import Cell

DONE, LOG = "cell.json", "log.txt"  # in a cell's folder: written last; and what the training said
BRING = (CARD, EPISODES, "weights.safetensors")  # of each agent, from a node to the sweep's folder
TRAIN = "snn_rl.train"
STOP_SECONDS = 120.0  # for a checkpoint


@dataclass
class Outcome:
    """What became of a cell.

    Attributes:
        cell: which.
        error: "" if it is done, else a sentence.
        seconds: that this attempt took.
        node: where it ran.
        files: of its folder, where that is on another machine.
    """

    cell: Cell
    error: str = ""
    seconds: float = 0.0
    node: str = ""
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Started:
    """A cell that is being trained.

    Attributes:
        cell: which.
        folder: of its run.
        process: that trains it.
        begun: when, by a clock that only goes forward.
    """

    cell: Cell
    folder: Path
    process: subprocess.Popen[bytes]
    begun: float

    def outcome(self) -> Outcome:
        """What became of it, once the process has ended."""
        code, log = self.process.wait(), _log(self.folder)
        error = "" if code == 0 else _last_sentence(log, code)
        outcome = Outcome(self.cell, error, time.monotonic() - self.begun, platform.node())
        if not error:
            log.replace(self.folder / LOG)
            finished(self.folder, outcome)
        return outcome

    def ask_to_stop(self) -> None:
        """Asks the training to write a checkpoint and end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """The same, and waits for it; what does not end is killed."""
        self.ask_to_stop()
        try:
            self.process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.kill()
            self.process.wait()


def start(cell: Cell, folder: Path, cpus: int, device: str, gpu: str | None = None, module: str = TRAIN) -> Started:
    """Begins to train a cell, or goes on where it stopped.

    Args:
        cell: which.
        folder: of its run.
        cpus: threads.
        device: ``cpu`` or ``cuda``.
        gpu: the only one that it sees; None for those of this process.
        module: whose command trains.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(cpus)} | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
    arguments = cell.arguments(str(folder), cpus, device)
    command = [sys.executable, "-m", "snn_rl.sweeps.child", str(os.getpid()), module, *arguments]
    with _log(folder).open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    return Started(cell, folder, process, time.monotonic())


def _log(folder: Path) -> Path:
    """Where a training's words go until it is done: its folder is for the run itself to make."""
    return folder.with_name(f".{folder.name}.{LOG}")


def finished(folder: Path, outcome: Outcome) -> None:
    """Writes the file that says that a cell is done."""
    cell = outcome.cell
    record = {
        "env": cell.env,
        "T": cell.T,
        "settings": list(cell.settings),
        "seed": cell.seed,
        "seconds": round(outcome.seconds, 1),
        "node": outcome.node,
    }
    with whole(folder / DONE) as new:
        new.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a finished cell that reports need, by their place in its folder; checkpoints and logs stay."""
    found = [path for path in sorted(folder.glob("*/*")) if path.name in BRING]
    return {str(path.relative_to(folder)): path.read_bytes() for path in [*found, folder / "settings.json", folder / LOG]}


def put(files: dict[str, bytes], folder: Path) -> None:
    """Writes what :func:`files_of` read on another machine."""
    for name, content in files.items():
        with whole(folder / name) as new:
            new.write_bytes(content)


def _last_sentence(log: Path, code: int) -> str:
    """What a training said last."""
    with log.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 4000, 0))
        lines = file.read().decode(errors="replace").strip().splitlines()
    if code < 0 or not lines:
        return f"ended by signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
    return lines[-1].removeprefix("snn_rl: ")
