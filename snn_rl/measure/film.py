"""A film of an agent at play, as an object that a notebook shows."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from pathlib import Path

from snn_rl.core.errors import UserError
from snn_rl.measure.video import record
from snn_rl.sb3.zips import load_agent
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.rollout import starts

SHOWN = 30 << 20  # bytes of a film that a notebook holds in itself


@dataclass(frozen=True)
class Film:
    """A film that was written; the last expression of a notebook's cell shows it.

    ``path``: of the ``.mp4`` or ``.gif``. ``returns``: each agent's, up to where the film ends.
    """

    path: Path
    returns: tuple[float, ...]

    def _repr_html_(self) -> str:
        """The film in the notebook itself; of a large one its path."""
        if not self.path.is_file() or self.path.stat().st_size > SHOWN:
            return f"<code>{escape(str(self.path))}</code>"
        content = base64.b64encode(self.path.read_bytes()).decode()
        if self.path.suffix.lower() == ".gif":
            return f'<img src="data:image/gif;base64,{content}">'
        return f'<video controls loop src="data:video/mp4;base64,{content}"></video>'


def play(
    agent: Agent | str | Path,
    env: str | None = None,
    *,
    video: str | Path = "play.mp4",
    beside: Agent | str | Path | None = None,
    steps: int | None = None,
    seed: int = 0,
    epsilon: float = 0.0,
) -> Film:
    """Plays one episode and films it: the game, the Q-values and every layer's spikes.

    Args:
        agent: who plays, or its folder, or its shipped name.
        env: another environment than the agent's own.
        video: where the film is written: ``.mp4``, or ``.gif``, which is larger.
        beside: an agent that plays beside it, from the same start.
        steps: decisions after which the film ends; None for the whole episode.
        seed: of the episode.
        epsilon: probability of a random action.

    Raises:
        UserError: for another suffix, and for agents that cannot be shown together or do not fit the environment.
    """
    given = [one if isinstance(one, Agent) else load_agent(one) for one in (agent, beside) if one is not None]
    players = [one if env is None else one.elsewhere(env) for one in given]
    if steps is not None and steps < 1:
        raise UserError(f"steps must be at least 1, got {steps}")
    start = starts(load_recipe(players[0].env, players[0].frames, players[0].module), 1, seed)[0]
    path = Path(video)
    returns = record(players, start, path, epsilon=epsilon, max_steps=steps)
    return Film(path, tuple(returns))
