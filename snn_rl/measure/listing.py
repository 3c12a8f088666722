"""The agents that come with the package, in a table. Torch is not needed."""

from __future__ import annotations

from typing import NamedTuple

from snn_rl.store.card import Card, read
from snn_rl.store.files import data_folder
from snn_rl.store.shipped import shipped

HEADINGS = ("name", "T", "frames", "mean return", "µJ per decision")


class Listed(NamedTuple):
    """An agent that comes with the package.

    ``name``: what :func:`snn_rl.load_agent` takes. ``T``: timesteps per decision, 0 for an ANN. ``reward``: mean return of its
    greedy episodes, whole games. ``energy``: µJ per decision; of an ANN dense. None where it was not measured.
    """

    name: str
    T: int
    frames: int
    reward: float | None
    energy: float | None

    @classmethod
    def of(cls, name: str, card: Card) -> Listed:
        """What a card says."""
        score = card.scores.get("greedy")
        reward, energy = (None, None) if score is None else (score.returns.mean, score.uj)
        return cls(name, card.T, card.frames, reward, energy)


def list_agents(part: str = "") -> list[Listed]:
    """The agents that come with the package: ANNs first, then by falling T.

    Args:
        part: of their names, such as ``Pong``; upper and lower case are the same.
    """
    names = [name for name in shipped() if part.lower() in name.lower()]
    return [Listed.of(name, read(data_folder("agents") / name)[0]) for name in names]


def text(agents: list[Listed]) -> str:
    """The agents as a table for a terminal."""
    rows = [HEADINGS]
    for one in agents:
        reward, energy = ("-" if value is None else format(value, ".4g") for value in (one.reward, one.energy))
        rows.append((one.name, str(one.T or "ANN"), str(one.frames), reward, energy))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
