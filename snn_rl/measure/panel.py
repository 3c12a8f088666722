"""One agent's part of a video: the game, the Q-values and every layer's spikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.store.agents import Agent
from snn_rl.tasks.rollout import Decision, action_count

Picture = NDArray[np.uint8]  # (height, width, 3), RGB
Colour = tuple[int, int, int]

WIDTH, HEIGHT = 640, 720  # of a panel in pixels; both even, as yuv420p demands

MARGIN, TOP, LABEL, LEAST, GAP = 16, 84, 22, 8, 8
LEFT, RIGHT = 304, 288  # widths of the columns
COLUMN = WIDTH - MARGIN - RIGHT  # x at which the right one begins
BACK: Colour = (16, 18, 24)
BOX: Colour = (27, 30, 39)
BAR: Colour = (82, 90, 112)
DIM: Colour = (148, 156, 173)
TEXT: Colour = (236, 239, 244)
SNN: Colour = (255, 176, 59)
ANN: Colour = (86, 180, 233)
FACES = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX)  # normal, bold; capitals of 22 pixels at scale 1


@dataclass(frozen=True)
class Box:
    """A part of the panel, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """Where everything is: the game, the Q-values under it, and the layers with room for their names above; there may be no
    room for the last layers."""

    game: Box
    q: Box
    layers: tuple[Box, ...]


def lay_out(height: int, width: int, neurons: Sequence[int]) -> Layout:
    """A portrait game stands beside the layers, a landscape one lies above them. Layers with more neurons get more room.

    Args:
        height: of the game in pixels.
        width: of the game in pixels.
        neurons: number of neurons of each layer.
    """
    portrait = height >= width
    frame = Box(MARGIN, TOP, LEFT, 400) if portrait else Box(MARGIN, TOP, WIDTH - 2 * MARGIN, 340)
    scale = min(frame.width / width, frame.height / height)
    w, h = round(width * scale), round(height * scale)
    under = TOP + h + MARGIN
    y = TOP if portrait else under
    # With this power all layers of NatureCNN have tiles of two pixels per neuron or more.
    shares = [number**0.48 for number in neurons][: (HEIGHT - MARGIN - y + GAP) // (LABEL + LEAST + GAP)]
    room = HEIGHT - MARGIN - y - len(shares) * (LABEL + LEAST + GAP) + GAP
    layers = []
    for share in shares:
        layers.append(Box(COLUMN, y + LABEL, RIGHT, LEAST + int(room * share / sum(shares))))
        y += LABEL + layers[-1].height + GAP
    return Layout(
        game=Box(MARGIN + (frame.width - w) // 2, TOP, w, h),
        q=Box(MARGIN, under, LEFT, HEIGHT - MARGIN - under),
        layers=tuple(layers),
    )


class Panel:
    """Draws an agent's decisions, one after the other, on ``canvas`` ``(HEIGHT, WIDTH, 3)``.

    Args:
        agent: who plays.
        env: what it plays; it renders ``rgb_array``.
    """

    def __init__(self, agent: Agent, env: gym.Env[NDArray[Any], int]) -> None:
        self.agent, self.env = agent, env
        self.score, self.decisions, self.done = 0.0, 0, False
        self.colour = SNN if agent.network.spiking else ANN
        meanings = getattr(env.unwrapped, "get_action_meanings", None)
        self.actions: list[str] = meanings() if meanings else [f"action {n}" for n in range(action_count(env.action_space))]
        ramp = np.linspace(0, 1, 256)[:, None] ** 0.8
        self.palette: Picture = ((1 - ramp) * BOX + ramp * self.colour).astype(np.uint8)

    def draw(self, decision: Decision) -> None:
        """Takes a decision of one environment into account and draws it.

        Raises:
            UserError: if the environment renders no picture.
        """
        game = np.asarray(self.env.render())
        if game.ndim != 3:
            raise UserError(f"'{self.agent.env}' cannot be filmed: it has no render mode rgb_array; leave --video out")
        if not self.decisions:
            neurons = [int(np.prod(shape)) for shape in self.agent.network.shapes(self.agent.observation_shape)]
            self.layout = lay_out(game.shape[0], game.shape[1], neurons)
            self.background = self._background()
        self.score += float(decision.reward[0])
        self.decisions += 1
        self.done = bool(decision.done[0])
        self.canvas = self.background.copy()
        box = self.layout.game
        resized = cv2.resize(game, (box.width, box.height), interpolation=cv2.INTER_AREA)
        self.canvas[box.y : box.y + box.height, box.x : box.x + box.width] = resized
        self._draw_score()
        self._draw_q(decision.q[0].numpy(), int(decision.action[0]))
        for layer, place in zip(decision.layers, self.layout.layers, strict=False):
            self._draw_spikes((layer[:, 0] != 0).cpu().numpy().mean(0, dtype=np.float32), place)  # mean over T

    def _background(self) -> Picture:
        """What never changes."""
        canvas: Picture = np.full((HEIGHT, WIDTH, 3), BACK, np.uint8)
        title, badge = (
            ("spiking network", f"T = {self.agent.network.T}") if self.agent.network.spiking else ("neural network", "ANN")
        )
        write(canvas, title, MARGIN, 42, 24, TEXT, bold=True)
        x = MARGIN + text_width(title, 24, True) + 14
        cv2.rectangle(canvas, (x, 20), (x + text_width(badge, 13, True) + 16, 46), self.colour, -1)
        write(canvas, badge, x + 8, 38, 13, BACK, bold=True)
        frames = f"{self.agent.frames} frame" + "s" * (self.agent.frames > 1)
        write(canvas, f"{self.agent.env}/{self.agent.name}, sees {frames}", MARGIN, 66, 11, DIM)
        write(
            canvas,
            "logits" if self.agent.made.logits else "Q-values",
            self.layout.q.x,
            self.layout.q.y + 14,
            12,
            TEXT,
            bold=True,
        )
        for name, box in zip(self.agent.network.layer_names, self.layout.layers, strict=False):
            write(canvas, name, box.x, box.y - LABEL + 14, 12, TEXT, bold=True)
        return canvas

    def _draw_score(self) -> None:
        words = f"{'final score' if self.done else 'score'} after {self.decisions} decisions"
        score = f"{self.score:.{int(self.score % 1 != 0)}f}"
        write(self.canvas, score, WIDTH - MARGIN, 42, 24, self.colour if self.done else TEXT, bold=True, right=True)
        write(self.canvas, words, WIDTH - MARGIN, 66, 11, self.colour if self.done else DIM, right=True)

    def _draw_spikes(self, spikes: NDArray[np.float32], box: Box) -> None:
        """A layer's share of timesteps with a spike, neuron by neuron, and their mean."""
        word = "spike rate" if self.agent.network.spiking else "active neurons"
        rate = f"{word} {float(spikes.mean()):.3f}"
        write(self.canvas, rate, box.x + box.width, box.y - LABEL + 14, 11, DIM, right=True)
        picture = tiles(spikes, box.height, self.palette)
        self.canvas[box.y : box.y + picture.shape[0], box.x : box.x + picture.shape[1]] = picture

    def _draw_q(self, q: NDArray[np.float32], action: int) -> None:
        """Bars between the lowest and the highest Q-value of this decision, which often differ by little; the greedy action
        stands out."""
        box, (low, high) = self.layout.q, (float(q.min()), float(q.max()))
        columns, size = (1, 11) if len(q) <= 8 else (2, 9)  # two columns have no room for the numbers
        end, width, rows = box.x + box.width, box.width // columns, -(-len(q) // columns)
        write(self.canvas, f"bars from {low:.2f} to {high:.2f}", end, box.y + 14, 11, DIM, right=True)
        row = min((box.height - LABEL) // rows, 32)
        names = max(text_width(name, size) for name in self.actions) + 10
        length = width - names - (52 if columns == 1 else 8)
        for n, value in enumerate(q):
            left, middle = box.x + n // rows * width, box.y + LABEL + n % rows * row + row // 2
            bar = Box(left + names, middle, length, max(min(row // 2 - 4, 8), 1))
            filled = max(round(length * float(value - low) / max(high - low, 1e-9)), 2)
            greedy, colour = n == q.argmax(), TEXT if n == action else DIM
            write(self.canvas, self.actions[n], left, middle + size // 2, size, colour)
            self._draw_bar(bar, length, BOX)
            self._draw_bar(bar, filled, self.colour if greedy else BAR)
            if n == action and not greedy:  # epsilon chose it
                self._draw_bar(bar, length, TEXT, thickness=1)
            if columns == 1:
                write(self.canvas, f"{value:.2f}", end, middle + size // 2, size, colour, right=True)

    def _draw_bar(self, bar: Box, length: int, colour: Colour, thickness: int = -1) -> None:
        """A bar whose ``y`` is its middle and whose ``height`` is half of its own; filled unless it has a thickness."""
        corners = (bar.x, bar.y - bar.height), (bar.x + length, bar.y + bar.height)
        cv2.rectangle(self.canvas, *corners, colour, thickness)


def tiles(values: NDArray[np.float32], height: int, palette: Picture) -> Picture:
    """A layer's values in [0, 1], ``(neurons,)`` or ``(channels, height, width)``, as tiles; their mean if too many.

    Args:
        values: of the neurons.
        height: the most that the picture may have, in pixels; it is at most ``RIGHT`` wide.
        palette: the colour of each of 256 values.
    """
    maps = values if values.ndim == 3 else values[:, None, None]
    for scale in range(12, 0, -1):
        line = int(values.ndim == 3 or scale > 2)  # between tiles, where there is room for one
        tile_h, tile_w = maps.shape[1] * scale + line, maps.shape[2] * scale + line
        rows = -(-len(maps) // max(RIGHT // tile_w, 1))
        if rows * tile_h <= height and tile_w <= RIGHT:
            break
    else:
        if values.ndim == 3 and len(values) > 1:
            return tiles(values.mean(0, keepdims=True), height, palette)
    columns = -(-len(maps) // rows)
    grid = np.full((rows * columns, tile_h, tile_w, 3), BACK, np.uint8)
    pixels = palette[(255 * maps).astype(np.uint8)].repeat(scale, 1).repeat(scale, 2)
    grid[: len(maps), : pixels.shape[1], : pixels.shape[2]] = pixels
    picture = grid.reshape(rows, columns, tile_h, tile_w, 3).swapaxes(1, 2).reshape(rows * tile_h, columns * tile_w, 3)
    size = min(RIGHT, picture.shape[1]), min(height, picture.shape[0])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Of a text in pixels."""
    return int(cv2.getTextSize(text, FACES[bold], size / 22, 1)[0][0])


def write(
    canvas: Picture, text: str, x: int, y: int, size: int, colour: Colour, *, bold: bool = False, right: bool = False
) -> None:
    """Writes on the baseline ``y``, from ``x`` on or, with ``right``, up to it."""
    x -= text_width(text, size, bold) if right else 0
    cv2.putText(canvas, text, (x, y), FACES[bold], size / 22, colour, 1, cv2.LINE_AA)
