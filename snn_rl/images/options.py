"""What a user asks of ``python -m snn_rl.vision``. Torch is not needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_T
from snn_rl.store.files import folder_name

CHAIN_START = 5  # T of the paper's first stage
OBJECTIVES = ("cross-entropy", "distill")
SOURCES = "digits, cifar10, cifar100, cifar10:PATH, cifar100:PATH or folder:PATH"


@dataclass(frozen=True)
class Options:
    """The options that decide what is trained.

    Attributes:
        data: ``digits``, ``cifar10``, ``cifar100`` (both with ``:PATH``), or ``folder:PATH``.
        net: ``vgg5``, ``vgg9``, ``vgg16`` or ``mlp``.
        T: timesteps per decision to end with.
        start: of the conversion and the first stage; None for 5, or ``T`` if that is more.
        seed: of all trainings.
        objective: what spiking networks learn by.
        epochs: of each spiking stage, and for each of them of the ANN; None for the data's.
        batch_size: images of a gradient step.
        learning_rate: of the spiking networks; None for the data's.
        dropout: part of the neurons that are silent for an image; None for the data's.
        percentile: a threshold of the conversion is this percentile of its layer's currents.
        size: pixels a side to which the images of a folder are scaled.
        out: folder of the run; None for the default.
    """

    data: str
    net: str = "mlp"
    T: int = 1
    start: int | None = None
    seed: int = 0
    objective: str = OBJECTIVES[0]
    epochs: int | None = None
    batch_size: int = 64
    learning_rate: float | None = None
    dropout: float | None = None
    percentile: float = 90.0
    size: int = 32
    out: Path | None = None

    def check(self) -> None:
        """Refuses numbers out of range.

        Raises:
            UserError: naming the option.
        """
        if not 1 <= self.T <= MAX_T:
            raise UserError(f"--T must be at least 1, got {self.T}; the ANN is trained in any case")
        if self.start is not None and not self.T <= self.start <= MAX_T:
            raise UserError(f"--start must be at least --T, got {self.start} and {self.T}")
        for option, value in (("--epochs", self.epochs), ("--batch-size", self.batch_size)):
            if value is not None and value < 1:
                raise UserError(f"{option} must be at least 1, got {value}")
        if self.learning_rate is not None and not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UserError(f"--learning-rate must be a finite number above 0, got {self.learning_rate}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"--dropout must lie in [0, 1), got {self.dropout}")
        if not 0 < self.percentile <= 100:
            raise UserError(f"--percentile must lie in (0, 100], got {self.percentile}")
        if not 8 <= self.size <= 512:
            raise UserError(f"--size must lie in 8 .. 512, got {self.size}")

    @property
    def stages(self) -> range:
        """The timesteps per decision of the stages, from the first down to ``T``."""
        return range(self.start or max(CHAIN_START, self.T), self.T - 1, -1)

    @property
    def source(self) -> tuple[str, Path | None]:
        """Which data, and where they are.

        Raises:
            UserError: if there are no such.
        """
        kind, _, where = self.data.partition(":")
        if kind not in ("digits", "cifar10", "cifar100", "folder") or (kind == "digits" and where):
            raise UserError(f"unknown data '{self.data}'; choose from {SOURCES}")
        if kind == "folder" and not where:
            raise UserError("--data folder:PATH needs the path of a folder with one subfolder for each class")
        return kind, Path(where).expanduser() if where else None

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        kind, where = self.source
        name = kind if where is None or kind != "folder" else where.resolve().name
        return self.out or Path("runs") / f"{folder_name(name)}-{self.net}-T{self.T}-seed{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """What has to be the same to resume the run."""
        same = ("data", "net", "start", "seed", "objective", "epochs", "batch_size", "learning_rate", "dropout", "percentile")
        return {name: getattr(self, name) for name in (*same, "size")}
