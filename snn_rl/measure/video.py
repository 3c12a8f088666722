"""Video of agents at play: the game, the Q-values and every layer's spikes, side by side for an SNN and its ANN."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import Decision, Start, action_count, play

Picture = NDArray[np.uint8]  # (height, width, 3), RGB

WIDTH, HEIGHT = 640, 720  # of one panel in pixels; both even, as yuv420p demands
ATARI_FPS = 15  # decisions per second of real time: 60 emulator frames, 4 per decision

_MARGIN, _TOP, _LABEL, _LEAST, _GAP = 16, 84, 22, 8, 8
_LEFT, _RIGHT = 304, 288  # widths of the columns
_COLUMN = WIDTH - _MARGIN - _RIGHT  # x at which the right one begins
_BACK, _BOX, _BAR = (16, 18, 24), (27, 30, 39), (82, 90, 112)
_DIM, _TEXT = (148, 156, 173), (236, 239, 244)
_SNN, _ANN = (255, 176, 59), (86, 180, 233)
_FACES = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX)  # normal, bold; capitals of 22 pixels at scale 1


def record(
    agents: Sequence[Agent],
    start: Start,
    path: Path,
    *,
    epsilon: float = 0.0,
    sticky: float = 0.0,
    max_steps: int | None = None,
) -> list[float]:
    """Plays one episode per agent, all from the same start, and films them side by side.

    A picture shows the game after a decision, beside the Q-values and spikes of that decision. Where one agent has
    finished, its last picture stays until the other has too.

    Args:
        agents: one or two, of the same environment.
        start: of the episode.
        path: the ``.mp4`` (H.264, yuv420p: every browser plays it); it appears when it is whole, or not at all.
        epsilon: probability of a random action.
        sticky: probability that the environment repeats the previous action.
        max_steps: stop after so many decisions.

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
    panels: list[_Panel] = []
    with ExitStack() as stack:
        temporary = stack.enter_context(whole(path))
        for agent in agents:
            env = make_env(recipe, frames=agent.frames, sticky=sticky, render_mode="rgb_array")
            stack.callback(env.close)
            panels.append(_Panel(agent, env))
        games = [play(panel.agent.network, [panel.env], [start], epsilon) for panel in panels]
        rate = ATARI_FPS if recipe.atari else round(panels[0].env.metadata.get("render_fps") or 30)
        options = {"movflags": "+faststart"}  # browsers play it while it loads
        container = stack.enter_context(av.open(str(temporary), "w", format="mp4", options=options))
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "29", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH * len(panels), HEIGHT, "yuv420p"
        n = 0
        while not all(panel.done for panel in panels) and n != max_steps:
            for panel, game in zip(panels, games, strict=True):
                if not panel.done:
                    panel.draw(next(game))
            picture = np.hstack([panel.canvas for panel in panels])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            n += 1
        container.mux(stream.encode())
    return [panel.score for panel in panels]


def _check(agents: Sequence[Agent], path: Path, max_steps: int | None) -> None:
    """Raises UserError for what can be known before the first step."""
    if path.suffix.lower() != ".mp4" or path.is_dir():
        raise UserError(f"cannot write the video '{path}': give the name of a file that ends in .mp4")
    if len(agents) not in (1, 2):
        raise UserError(f"a video shows one agent, or two side by side; got {len(agents)}")
    if len({agent.env for agent in agents}) > 1:
        raise UserError(f"agents side by side must play the same environment, got {agents[0].env} and {agents[1].env}")
    if max_steps is not None and max_steps < 1:
        raise UserError(f"max_steps must be at least 1, got {max_steps}")


def _tiles(values: NDArray[np.float32], height: int, palette: Picture) -> Picture:
    """A layer's values in [0, 1], ``(neurons,)`` or ``(channels, height, width)``, as tiles; their mean if too many."""
    maps = values if values.ndim == 3 else values[:, None, None]
    for scale in range(12, 0, -1):
        line = int(values.ndim == 3 or scale > 2)  # between tiles, where there is room for one
        tile_h, tile_w = maps.shape[1] * scale + line, maps.shape[2] * scale + line
        rows = -(-len(maps) // max(_RIGHT // tile_w, 1))
        if rows * tile_h <= height and tile_w <= _RIGHT:
            break
    else:
        if values.ndim == 3 and len(values) > 1:
            return _tiles(values.mean(0, keepdims=True), height, palette)
    columns = -(-len(maps) // rows)
    tiles = np.full((rows * columns, tile_h, tile_w, 3), _BACK, np.uint8)
    pixels = palette[(255 * maps).astype(np.uint8)].repeat(scale, 1).repeat(scale, 2)
    tiles[: len(maps), : pixels.shape[1], : pixels.shape[2]] = pixels
    grid = tiles.reshape(rows, columns, tile_h, tile_w, 3).swapaxes(1, 2).reshape(rows * tile_h, columns * tile_w, 3)
    size = min(_RIGHT, grid.shape[1]), min(height, grid.shape[0])
    return np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_AREA), np.uint8)


class _Panel:
    """One agent's part of the picture. A portrait game stands beside the layers, a landscape one lies above them."""

    def __init__(self, agent: Agent, env: gym.Env[Any, Any]) -> None:
        self.agent, self.env = agent, env
        self.score, self.decisions, self.done = 0.0, 0, False
        self.T, self.colour = agent.network.T, _SNN if agent.network.T else _ANN
        meanings = getattr(env.unwrapped, "get_action_meanings", None)
        actions = [f"action {n}" for n in range(action_count(env.action_space))]
        self.actions: list[str] = meanings() if meanings else actions
        ramp = np.linspace(0, 1, 256)[:, None] ** 0.8
        self.palette: Picture = ((1 - ramp) * _BOX + ramp * self.colour).astype(np.uint8)

    def draw(self, decision: Decision) -> None:
        """Takes a decision of one environment into account and draws it on ``canvas``."""
        game = np.asarray(self.env.render())
        if game.ndim != 3:
            raise UserError(f"'{self.agent.env}' cannot be filmed: it has no render mode rgb_array")
        if not self.decisions:
            self._lay_out(*game.shape[:2])
        self.score += float(decision.reward[0])
        self.decisions += 1
        self.done = bool(decision.done[0])
        self.canvas = self.background.copy()
        x, y, w, h = self.game
        self.canvas[y : y + h, x : x + w] = cv2.resize(game, (w, h), interpolation=cv2.INTER_AREA)
        score = f"{self.score:.{int(self.score % 1 != 0)}f}"
        words = f"{'final score' if self.done else 'score'} after {self.decisions} decisions"
        _text(self.canvas, score, WIDTH - _MARGIN, 42, 24, self.colour if self.done else _TEXT, bold=True, right=True)
        _text(self.canvas, words, WIDTH - _MARGIN, 66, 11, self.colour if self.done else _DIM, right=True)
        self._draw_q(decision.q[0].numpy(), int(decision.action[0]))
        for (y, room), layer in zip(self.places, decision.layers, strict=False):  # there may be no place for the last ones
            spikes = (layer[:, 0] != 0).cpu().numpy().mean(0, dtype=np.float32)  # over T; the ANN has one timestep
            rate = f"{'spike rate' if self.T else 'active'} {float(spikes.mean()):.3f}"
            _text(self.canvas, rate, WIDTH - _MARGIN, y - _LABEL + 14, 11, _DIM, right=True)
            picture = _tiles(spikes, room, self.palette)
            self.canvas[y : y + picture.shape[0], _COLUMN : _COLUMN + picture.shape[1]] = picture

    def _lay_out(self, height: int, width: int) -> None:
        """Finds the place of everything for a game of this size, and draws once what never changes."""
        box_w, box_h = (_LEFT, 400) if height >= width else (WIDTH - 2 * _MARGIN, 340)
        scale = min(box_w / width, box_h / height)
        w, h = round(width * scale), round(height * scale)
        self.game = (_MARGIN + (box_w - w) // 2, _TOP, w, h)
        self.under = _TOP + h + _MARGIN
        self.background: Picture = np.full((HEIGHT, WIDTH, 3), _BACK, np.uint8)
        _text(self.background, self.agent.name, _MARGIN, 42, 24, _TEXT, bold=True)
        badge, x = f"T = {self.T}" if self.T else "ANN", _MARGIN + _width(self.agent.name, 24, True) + 14
        cv2.rectangle(self.background, (x, 20), (x + _width(badge, 13, True) + 16, 46), self.colour, -1)
        _text(self.background, badge, x + 8, 38, 13, _BACK, bold=True)
        frames = f"{self.agent.frames} frame" + "s" * (self.agent.frames > 1)
        _text(self.background, f"{self.agent.env}, {frames}", _MARGIN, 66, 11, _DIM)
        _text(self.background, "Q-values", _MARGIN, self.under + 14, 12, _TEXT, bold=True)
        shares = [np.prod(shape) ** 0.45 for shape in self.agent.network.shapes(self.agent.observation_shape)]
        y = _TOP if height >= width else self.under
        shares = shares[: (HEIGHT - _MARGIN - y + _GAP) // (_LABEL + _LEAST + _GAP)]
        room, self.places = HEIGHT - _MARGIN - y - len(shares) * (_LABEL + _LEAST + _GAP) + _GAP, []
        for name, share in zip(self.agent.network.layer_names, shares, strict=False):
            _text(self.background, name, _COLUMN, y + 14, 12, _TEXT, bold=True)
            self.places.append((y + _LABEL, _LEAST + int(room * share / sum(shares))))
            y += _LABEL + self.places[-1][1] + _GAP

    def _draw_q(self, q: NDArray[np.float32], action: int) -> None:
        """Bars between the lowest and the highest Q-value of this decision, which often differ by little; the greedy action
        stands out."""
        low, high = float(q.min()), float(q.max())
        x, y, end = _MARGIN, self.under, _MARGIN + _LEFT
        _text(self.canvas, f"bars: {low:.2f} to {high:.2f}", end, y + 14, 11, _DIM, right=True)
        columns, size = (1, 11) if len(q) <= 8 else (2, 9)  # two columns have no room for the numbers
        rows = -(-len(q) // columns)
        row = min((HEIGHT - _MARGIN - y - _LABEL) // rows, 32)
        half = max(min(row // 2 - 4, 8), 1)
        names = max(_width(name, size) for name in self.actions) + 10
        length = _LEFT // columns - names - (52 if columns == 1 else 8)
        for n, value in enumerate(q):
            left, middle = x + n // rows * (_LEFT // columns), y + _LABEL + n % rows * row + row // 2
            greedy, colour, bar = n == q.argmax(), _TEXT if n == action else _DIM, left + names
            filled = max(round(length * float(value - low) / max(high - low, 1e-9)), 2)
            _text(self.canvas, self.actions[n], left, middle + size // 2, size, colour)
            for part, paint in ((length, _BOX), (filled, self.colour if greedy else _BAR)):
                cv2.rectangle(self.canvas, (bar, middle - half), (bar + part, middle + half), paint, -1)
            if n == action and not greedy:  # epsilon chose it
                cv2.rectangle(self.canvas, (bar, middle - half), (bar + length, middle + half), _TEXT, 1)
            if columns == 1:
                _text(self.canvas, f"{value:.2f}", end, middle + size // 2, size, colour, right=True)


def _width(text: str, size: int, bold: bool = False) -> int:
    return int(cv2.getTextSize(text, _FACES[bold], size / 22, 1)[0][0])


def _text(canvas: Picture, text: str, x: int, y: int, size: int, colour: Any, bold: bool = False, right: bool = False) -> None:
    """Writes on the baseline ``y``, from ``x`` on or, with ``right``, up to it."""
    x -= _width(text, size, bold) if right else 0
    cv2.putText(canvas, text, (x, y), _FACES[bold], size / 22, colour, 1, cv2.LINE_AA)
