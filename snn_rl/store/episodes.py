"""``episodes.csv``: every episode that was played to score an agent. Torch is not needed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from snn_rl.store.files import EPISODES

MAX_TEXT, MAX_ROWS = 16 << 20, 500_000  # bytes and episodes that are read
FIELDS = ("training_seed", "protocol", "episode", "start", "seed", "return", "length")


@dataclass(frozen=True)
class Episode:
    """A row of ``episodes.csv``. ``training_seed`` is None where nobody knows it, ``start`` (no-op steps) but on Atari."""

    training_seed: int | None
    protocol: str
    episode: int
    start: int | None
    seed: int
    returned: float
    length: int

    @classmethod
    def from_row(cls, row: Sequence[str]) -> Self:
        """Reads the cells of a line.

        Raises:
            ValueError: if a cell is missing, no number, not finite, or negative where it counts something.
        """
        if len(row) != len(FIELDS):
            raise ValueError(f"a line of {EPISODES} has {len(row)} cells instead of {len(FIELDS)}")
        training_seed, protocol, episode, start, seed, returned, length = row
        value = float(returned)
        if not math.isfinite(value):
            raise ValueError(f"a return is {value}")
        own, begin = (int(cell) if cell else None for cell in (training_seed, start))
        numbers = int(episode), begin or 0, int(length)
        if min(numbers) < 0:
            raise ValueError(f"a line of {EPISODES} has the number {min(numbers)}")
        return cls(own, protocol, int(episode), begin, int(seed), value, int(length))

    def to_json(self) -> dict[str, Any]:
        """The object in what ``evaluate --json`` writes, which says the rest once for all episodes."""
        return {"start": self.start, "seed": self.seed, "return": self.returned, "length": self.length}

    def to_row(self) -> list[Any]:
        """The cells of a line."""
        cells = [self.training_seed, self.protocol, self.episode, self.start, self.seed, self.returned, self.length]
        return ["" if cell is None else cell for cell in cells]


def from_text(text: str) -> list[Episode]:
    """The rows of ``episodes.csv``.

    Raises:
        ValueError: if it has other columns, damaged cells or too many rows.
    """
    if text.count("\n") + text.count("\r") > MAX_ROWS:  # either ends a line
        raise ValueError(f"{EPISODES} has more than {MAX_ROWS:,} rows")
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        if tuple(next(rows, ())) != FIELDS:
            raise ValueError(f"{EPISODES} has other columns than {', '.join(FIELDS)}")
        return [Episode.from_row(row) for row in rows]
    except csv.Error as error:
        raise ValueError(f"{EPISODES} is no CSV ({error})") from error


def to_text(episodes: Sequence[Episode]) -> str:
    """``episodes.csv``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([FIELDS, *(episode.to_row() for episode in episodes)])
    return text.getvalue()
