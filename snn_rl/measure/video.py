"""Video of agents at play: the game, the Q-values and every layer's spikes, side by side for an SNN and its ANN."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from snn_rl.core.errors import UserError
from snn_rl.measure.panel import HEIGHT, WIDTH, Panel, Picture
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.rollout import Start, play

SUFFIXES = (".mp4", ".gif")
ATARI_FPS = 15  # decisions per second of real time: 60 emulator frames, 4 per decision


def record(
    agents: Sequence[Agent],
    start: Start,
    path: Path,
    *,
    epsilon: float = 0.0,
    sticky: float | None = None,
    max_steps: int | None = None,
    progress: bool = False,
) -> list[float]:
    """Plays one episode per agent, all from the same start, and films them side by side.

    A picture shows the game after a decision, beside the Q-values and spikes of that decision. Where one agent has
    finished, its last picture stays until the other has too.

    Args:
        agents: one or two, of the same environment.
        start: of the episode.
        path: the ``.mp4`` (H.264, yuv420p: every browser plays it) or ``.gif``; it appears when it is whole, or not at all.
        epsilon: probability of a random action.
        sticky: probability that the environment repeats the previous action; its own if None.
        max_steps: stop after so many decisions.
        progress: show how many pictures are made.

    Returns:
        Each agent's return, up to where the video ends.

    Raises:
        UserError: for another suffix, for agents that cannot be shown together, for options out of range.
        OSError: if a file cannot be written; what was there before is still there.
    """
    _check(agents, path, max_steps)
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # else pygame complains of a screen that it does not need
    recipe = load_recipe(agents[0].env)
    panels: list[Panel] = []
    with ExitStack() as stack:
        temporary = stack.enter_context(whole(path))
        for agent in agents:
            env = make_env(recipe, frames=agent.frames, sticky=sticky, render_mode="rgb_array")
            stack.callback(env.close)
            panels.append(Panel(agent, env))
        games = [play(panel.agent.network, [panel.env], [start], epsilon) for panel in panels]
        rate = ATARI_FPS if recipe.atari else round(panels[0].env.metadata.get("render_fps") or 30)
        film = stack.enter_context(_film(temporary, WIDTH * len(panels), rate))
        bar = stack.enter_context(Progress(None, "pictures", f"video {path.name}", progress))
        n = 0
        while not all(panel.done for panel in panels) and n != max_steps:
            for panel, game in zip(panels, games, strict=True):
                if not panel.done:
                    panel.draw(next(game))
            film(np.hstack([panel.canvas for panel in panels]))
            n += 1
            bar.advance(n, {"score": panels[0].score})
    return [panel.score for panel in panels]


def _check(agents: Sequence[Agent], path: Path, max_steps: int | None) -> None:
    """Raises UserError for what can be known before the first step."""
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise UserError(f"cannot write the video '{path}': give the name of a file that ends in {' or '.join(SUFFIXES)}")
    if len(agents) not in (1, 2):
        raise UserError(f"a video shows one agent, or two side by side; got {len(agents)}")
    if len({agent.env for agent in agents}) > 1:
        raise UserError(f"agents side by side must play the same environment, got {agents[0].env} and {agents[1].env}")
    if max_steps is not None and max_steps < 1:
        raise UserError(f"max_steps must be at least 1, got {max_steps}")


@contextmanager
def _film(path: Path, width: int, rate: int) -> Iterator[Callable[[Picture], None]]:
    """A video of so many pictures per second: what takes them one after the other, ``(HEIGHT, width, 3)``. H.264 in an
    ``.mp4``, or a ``.gif`` of 256 colours."""
    if path.suffix.lower() == ".gif":
        with av.open(str(path), "w", format="gif") as container:
            stream = container.add_stream("gif", rate=Fraction(rate))
            stream.width, stream.height, stream.pix_fmt = width, HEIGHT, "rgb8"
            yield lambda picture: container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        return
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:  # plays while it loads
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "29", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, HEIGHT, "yuv420p"
        yield lambda picture: container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
