"""Cells: one training each, with one environment, T, setting and seed. Torch is not needed."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snn_rl.core.errors import UserError
from snn_rl.store.files import folder_name

MAX_CELLS = 100_000
LONGEST = 120  # name of a folder
SEEDS = re.compile(r"(\d{1,10})(?:\.\.(\d{1,10}))?")


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        env: id of the environment.
        T: timesteps per decision to end with.
        settings: numbers of the recipe that are set anew, ``TABLE.KEY=VALUE``.
        seed: of it.
        more: further options of ``train``.
    """

    env: str
    T: int
    settings: tuple[str, ...]
    seed: int
    more: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """What its likes of other seeds have in common, as the name of a folder."""
        said = [setting.replace("=", "-") for setting in self.settings]
        name = re.sub(r"[^\w.+-]+", "_", "-".join([folder_name(self.env), f"T{self.T}", *said])).strip("_")
        return name if len(name) <= LONGEST else f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    @property
    def name(self) -> str:
        """Of its folder, below the sweep's."""
        return f"{self.group}/seed{self.seed}"

    def arguments(self, out: str, cpus: int, device: str) -> list[str]:
        """What ``train`` is called with."""
        settings = [part for setting in self.settings for part in ("--recipe-set", setting)]
        base = ["--env", self.env, "--T", str(self.T), "--seed", str(self.seed), "--out", out, "--resume"]
        return [*base, "--threads", str(cpus), "--device", device, *settings, *self.more]


def seeds_of(texts: Sequence[str]) -> list[int]:
    """The seeds that ``--seeds 0..9`` or ``--seeds 0 3 7`` means.

    Raises:
        UserError: if one is no number.
    """
    found: list[int] = []
    for text in texts:
        match = SEEDS.fullmatch(text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last >= 2**31 or last - first >= MAX_CELLS:
            raise UserError(f"--seeds takes numbers and ranges, as in 0..9 or 0 3 7, got '{text}'")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def values_of(text: str) -> tuple[str, list[str]]:
    """The key of a ``--recipe-set`` option and its values, which commas outside of brackets part.

    Raises:
        UserError: if it is not of that form.
    """
    key, equals, written = text.partition("=")
    values = [value.strip() for value in re.split(r",(?![^\[]*\])", written)]
    if not equals or not key.strip() or not all(values):
        raise UserError(f"--recipe-set takes TABLE.KEY=VALUE or several values with commas between, got '{text}'")
    return key.strip(), values


def settings_of(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Each combination of the values of several ``--recipe-set`` options.

    Raises:
        UserError: if a key is given twice.
    """
    options = [values_of(text) for text in texts]
    keys = [key for key, _ in options]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"--recipe-set {twice} is given twice; put its values behind one, with commas between")
    return list(itertools.product(*([f"{key}={value}" for value in values] for key, values in options)))


def grid(
    envs: Sequence[str], Ts: Sequence[int], settings: Sequence[tuple[str, ...]], seeds: Sequence[int], more: Sequence[str] = ()
) -> list[Cell]:
    """All cells: seeds change fastest, so that each setting is known well before the next one.

    Raises:
        UserError: if there are too many, or none.
    """
    size = len(envs) * len(Ts) * len(settings) * len(seeds)
    if not 0 < size <= MAX_CELLS:
        raise UserError(f"the sweep has {size:,} cells; give 1 to {MAX_CELLS:,}")
    return list(dict.fromkeys(_cells(envs, Ts, settings, seeds, tuple(more))))


def _cells(
    envs: Sequence[str], Ts: Sequence[int], settings: Sequence[tuple[str, ...]], seeds: Sequence[int], more: tuple[str, ...]
) -> Iterator[Cell]:
    for env, T, chosen, seed in itertools.product(envs, Ts, settings, seeds):
        yield Cell(env, T, chosen, seed, more)
