"""Cells on this machine: so many processes at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path

from snn_rl.core.errors import UserError
from snn_rl.core.threads import cores
from snn_rl.sweeps.cells import Cell
from snn_rl.sweeps.training import TRAIN, Outcome, Started, start

LOOK_SECONDS = 0.1  # between two looks at the processes


class Local:
    """Trains cells on this machine.

    Args:
        out: folder of the sweep's cells.
        cpus: threads of a cell.
        gpus: of a cell; a fraction where several share one.
        module: whose command trains.

    Raises:
        UserError: if this machine has not even what one cell needs.
    """

    def __init__(self, out: Path, cpus: int, gpus: float, module: str = TRAIN) -> None:
        self.out, self.cpus, self.gpus, self.module = out, cpus, gpus, module
        self.at_once = max(cores() // cpus, 1)
        if gpus:
            import torch as th

            if th.cuda.device_count() < gpus:
                raise UserError(f"a cell is to have {gpus:g} GPU(s), this machine has {th.cuda.device_count()}; lower --gpus")
            self.at_once = max(min(self.at_once, int(th.cuda.device_count() / gpus)), 1)

    def run(self, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
        """Yields what became of each cell, as soon as it is known. Closed early, it lets every training write a checkpoint."""
        waiting, running = deque(cells), dict[int, Started]()
        try:
            while waiting or running:
                for slot in [slot for slot in range(self.at_once) if slot not in running and waiting]:
                    if waiting:
                        running[slot] = self._start(waiting.popleft(), slot)
                for slot in [slot for slot, one in running.items() if one.process.poll() is not None]:
                    yield running.pop(slot).outcome()
                time.sleep(LOOK_SECONDS)
        finally:
            for one in running.values():
                one.ask_to_stop()
            for one in running.values():
                one.stop()

    def _start(self, cell: Cell, slot: int) -> Started:
        if not self.gpus:
            return start(cell, self.out / cell.name, self.cpus, "cpu", module=self.module)
        first = int(slot * self.gpus)
        seen = ",".join(str(first + n) for n in range(max(round(self.gpus), 1)))
        return start(cell, self.out / cell.name, self.cpus, "cuda", seen, self.module)

    def close(self) -> None:
        """Nothing is left to end."""
