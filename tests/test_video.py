"""A video shows what was played, plays in a browser, and is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch as th
from torch import nn

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import describe
from snn_rl.measure import panel
from snn_rl.measure.panel import HEIGHT, WIDTH, Panel
from snn_rl.measure.video import record
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import Start, play

PONG = "PongNoFrameskip-v4"


def cartpole(T: int, seed: int = 0) -> Agent:
    """An untrained agent: it falls after some ten steps."""
    th.manual_seed(seed)
    layers = [nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)]
    spec = describe([(str(n), layer) for n, layer in enumerate(layers)])
    return Agent("CartPole-v1", f"T{T}" if T else "ann", QNetwork(spec, T), (4,))


def pong(T: int) -> Agent:
    """An untrained agent with one convolution."""
    layers = [nn.Conv2d(1, 8, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 32), nn.ReLU(), nn.Linear(32, 6)]
    spec = describe([(str(n), layer) for n, layer in enumerate(layers)])
    return Agent(PONG, f"T{T}" if T else "ann", QNetwork(spec, T, 1 / 255), (1, 84, 84))


def episode(agent: Agent, start: Start, epsilon: float = 0.0) -> list[float]:
    """The rewards of one episode, without a camera."""
    env = make_env(load_recipe(agent.env), frames=agent.frames)
    return [float(decision.reward[0]) for decision in play(agent.network, [env], [start], epsilon)]


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_two_agents_side_by_side_for_as_long_as_the_longer_episode(tmp_path: Path) -> None:
    agents, start = [cartpole(2), cartpole(0, seed=3)], Start(7, None)
    rewards = [episode(agent, start) for agent in agents]
    assert len(rewards[0]) != len(rewards[1])
    assert record(agents, start, tmp_path / "new" / "both.mp4") == [sum(rewards[0]), sum(rewards[1])]
    frames = decode(tmp_path / "new" / "both.mp4")
    assert len(frames) == max(len(rewards[0]), len(rewards[1]))
    assert {frame.shape for frame in frames} == {(HEIGHT, 2 * WIDTH, 3)}
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["both.mp4"]


def test_random_actions_are_those_of_the_same_episode_without_a_camera(tmp_path: Path) -> None:
    agent, start = cartpole(1), Start(5, None)
    rewards = episode(agent, start, epsilon=0.5)
    assert record([agent], start, tmp_path / "a.mp4", epsilon=0.5) == [sum(rewards)]
    assert len(decode(tmp_path / "a.mp4")) == len(rewards)


def test_browsers_play_it_while_it_loads(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    record([cartpole(1)], Start(0, None), path, max_steps=4)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 50  # CartPole's own rate: real time
        assert stream.frames == 4
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("T", [0, 2])
def test_atari_runs_at_15_decisions_per_second_with_names_of_actions(tmp_path: Path, T: int) -> None:
    path = tmp_path / "pong.mp4"
    assert record([pong(T)], Start(0, 1), path, max_steps=5) == [0.0]
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 15


def test_a_network_with_more_layers_than_there_is_room_for_is_filmed_all_the_same(tmp_path: Path) -> None:
    layers = [nn.Linear(4, 16), nn.ReLU(), *[layer for _ in range(29) for layer in (nn.Linear(16, 16), nn.ReLU())]]
    spec = describe([(str(n), layer) for n, layer in enumerate([*layers, nn.Linear(16, 2)])])
    agent = Agent("CartPole-v1", "T1", QNetwork(spec, 1), (4,))
    record([agent], Start(0, None), tmp_path / "deep.mp4", max_steps=2)
    assert len(decode(tmp_path / "deep.mp4")) == 2


def test_the_game_is_what_the_environment_renders(tmp_path: Path) -> None:
    record([pong(1)], Start(0, 1), tmp_path / "a.mp4", max_steps=1)
    (frame,) = decode(tmp_path / "a.mp4")
    brown = frame[300, 150].astype(int)  # the middle of Pong's court
    assert np.abs(brown - [144, 72, 17]).max() < 12


@pytest.mark.parametrize("spikes", [np.eye(6, dtype=np.float32), np.zeros((6, 6), np.float32)])
def test_a_tile_is_bright_exactly_where_a_neuron_spiked(spikes: np.ndarray) -> None:
    palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    tiles = panel.tiles(spikes[None], 100, palette)
    assert tiles.shape == (73, 73, 3)  # 12 pixels per neuron and one line
    np.testing.assert_array_equal(tiles[6:72:12, 6:72:12, 0], 255 * spikes)


@pytest.mark.parametrize("shape", [(512,), (20_000,), (32, 20, 20), (64, 9, 9), (128, 84, 84), (1, 500, 500)])
@pytest.mark.parametrize("height", [30, 200])
def test_every_layer_fits_in_its_place(shape: tuple[int, ...], height: int) -> None:
    tiles = panel.tiles(np.ones(shape, np.float32), height, np.zeros((256, 3), np.uint8))
    assert 0 < tiles.shape[0] <= height
    assert 0 < tiles.shape[1] <= 288


@pytest.mark.parametrize(("height", "width"), [(210, 160), (400, 600)])
@pytest.mark.parametrize("neurons", [[512], [12_800, 5_184, 3_136, 512], [16] * 40])
def test_nothing_lies_on_anything_else_or_outside(height: int, width: int, neurons: list[int]) -> None:
    layout = panel.lay_out(height, width, neurons)
    canvas = np.zeros((HEIGHT, WIDTH), int)
    for box in (layout.game, layout.q, *layout.layers):
        assert min(box.width, box.height) > 0
        part = canvas[box.y : box.y + box.height, box.x : box.x + box.width]
        assert part.shape == (box.height, box.width)
        part += 1
    assert canvas.max() == 1
    assert 0 < len(layout.layers) <= len(neurons)
    assert layout.game.width / layout.game.height == pytest.approx(width / height, abs=0.01)


def test_an_error_in_the_middle_leaves_what_was_there_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the previous video")
    draw = Panel.draw

    def interrupted(self: Panel, decision: object) -> None:
        if self.decisions == 3:
            raise KeyboardInterrupt
        draw(self, decision)

    monkeypatch.setattr(Panel, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record([cartpole(1)], Start(0, None), path)
    assert path.read_bytes() == b"the previous video"
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_errors_come_before_the_first_step_and_say_what_to_do(tmp_path: Path) -> None:
    agent, start, path = cartpole(1), Start(0, None), tmp_path / "a.mp4"
    with pytest.raises(UserError, match=r"a\.avi.*ends in \.mp4"):
        record([agent], start, tmp_path / "a.avi")
    with pytest.raises(UserError, match="got 3"):
        record([agent] * 3, start, path)
    with pytest.raises(UserError, match="same environment"):
        record([agent, pong(1)], start, path)
    with pytest.raises(UserError, match="at least 1"):
        record([agent], start, path, max_steps=0)
    with pytest.raises(UserError, match="--epsilon"):
        record([agent], start, path, epsilon=2.0)
    assert not list(tmp_path.iterdir())
