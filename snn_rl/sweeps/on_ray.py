"""Cells on a Ray cluster: one task each. Where they run, what is tried again after a node was lost, and how results travel, is
Ray's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.sweeps.cells import Cell
from snn_rl.sweeps.training import TRAIN, Outcome, files_of, finished, put, start

RETRIES = 10  # of a cell whose node was lost
WAIT_SECONDS, LOOK_SECONDS = 1.0, 0.2


def train(cell: Cell, folder: str, cpus: int, device: str, module: str) -> Outcome:
    """The task: trains a cell on the node where this runs, and brings the files that reports need."""
    where = Path(folder)
    started = start(cell, where / cell.name, cpus, device, module=module)
    try:
        while started.process.poll() is None:  # a wait without end would not hear of a cancellation
            time.sleep(LOOK_SECONDS)
        outcome = started.outcome()
    except BaseException:  # cancelled
        started.stop()
        raise
    if not outcome.error:
        outcome.files = files_of(where / cell.name)
    return outcome


class OnRay:
    """Trains cells on a cluster.

    Args:
        out: folder of the sweep's cells, where this process is.
        cpus: of a cell.
        gpus: of a cell; a fraction where several share one.
        address: of the cluster; None for the one that ``RAY_ADDRESS`` names, else for one on this machine.
        storage: a folder that every node sees, for runs and checkpoints; None for each node's own disk.
        name: of the sweep: the name of its folder on nodes.
        module: whose command trains.

    Raises:
        UserError: without Ray, or without a cluster at the address.
    """

    def __init__(
        self, out: Path, cpus: int, gpus: float, address: str | None, storage: Path | None, name: str, module: str = TRAIN
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise UserError("--on ray needs Ray, which is missing: pip install 'snn-rl[ray]'") from error
        self.ray, self.out, self.cpus, self.gpus, self.module = ray, out, cpus, gpus, module
        self.folder = str(storage.resolve() / name) if storage else str(Path(tempfile.gettempdir()) / "snn_rl-sweeps" / name)
        self.own = not ray.is_initialized()
        if self.own:
            try:
                ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
            except Exception as error:  # what Ray raises is of many kinds
                where = f"at '{address}'" if address else "here"
                raise UserError(
                    f"no Ray cluster {where} ({str(error).partition(chr(10))[0][:100]}): start one with 'ray start --head' "
                    "and give its --address, or leave --address out"
                ) from error

    def run(self, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        """Yields what became of each cell, as soon as it is known. Closed early, it lets every training write a checkpoint."""
        ray, device = self.ray, "cuda" if self.gpus else "cpu"
        task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES, scheduling_strategy="SPREAD")(train)
        waiting = {task.remote(cell, self.folder, self.cpus, device, self.module): cell for cell in cells}
        try:
            while waiting:
                ready, _ = ray.wait(list(waiting), timeout=WAIT_SECONDS)
                for one in ready:
                    yield self._outcome(one, waiting.pop(one))
        finally:
            for one in waiting:
                ray.cancel(one, force=False)
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=60)

    def _outcome(self, one: Any, cell: Cell) -> Outcome:
        try:
            outcome: Outcome = self.ray.get(one)
        except self.ray.exceptions.RayError as error:
            return Outcome(cell, f"lost: {str(error).partition(chr(10))[0][:200]}")
        if not outcome.error:
            put(outcome.files, self.out / cell.name)
            outcome.files = {}
            finished(self.out / cell.name, outcome)
        return outcome

    def close(self) -> None:
        """Leaves the cluster, if this object joined it."""
        if self.own:
            self.ray.shutdown()
