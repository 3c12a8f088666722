"""What a notebook shows of agents, and the list of those that come with the package."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from snn_rl import SpikingDQN, evaluate, list_agents, load_agent, load_recipe, make_env
from snn_rl import list as list_command
from snn_rl.core.errors import UserError
from snn_rl.evaluate import main as evaluate_command
from snn_rl.store.card import read
from snn_rl.store.files import data_folder


def test_agents_and_membranes_are_short_to_print() -> None:
    agent = load_agent("CartPole-v1/T1")
    assert repr(agent) == "Agent(CartPole-v1/T1: T=1, membranes carried, sees 1 frame as 4, layers fc1, fc2, fc3)"
    assert repr(load_agent("PongNoFrameskip-v4/ann")).startswith("Agent(PongNoFrameskip-v4/ann: ANN, sees 4 frames as 4x84x84")
    _, state = agent.predict(np.zeros((2, 4), np.float32))
    assert repr(state) == "Membranes(2x256, 2x256)"
    assert isinstance(state, tuple)


def test_the_shipped_agents_are_listed_with_what_their_cards_say(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one.name: one for one in list_agents("cartpole-V1")}
    assert {"CartPole-v1/ann", "CartPole-v1/T1", "CartPole-v1/T5"} <= set(found)
    assert len(list_agents()) > len(found)
    for name in ("CartPole-v1/ann", "CartPole-v1/T1"):
        score = read(data_folder("agents") / name)[0].scores["greedy"]
        assert (found[name].reward, found[name].energy) == (score.returns.mean, score.uj)
    assert found["CartPole-v1/T5"].T == 5
    list_command.main(["CartPole-v1/"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "T", "frames", "mean", "return", "µJ", "per", "decision"]
    assert any(line.split()[:3] == ["CartPole-v1/ann", "ANN", "1"] for line in lines)
    with pytest.raises(UserError, match="no shipped agent's name has 'Nonsense' in it"):
        list_command.main(["Nonsense"])


def test_an_evaluation_in_python_is_one_line_to_print() -> None:
    result = evaluate("CartPole-v1/T1", episodes=2)
    assert len(result.episodes) == 2
    assert str(result).startswith("CartPole-v1/T1: return ")
    assert len(repr(result)) < 2_000


@pytest.mark.parametrize(
    ("suffix", "shown"), [("mp4", '<video controls loop src="data:video/mp4;base64,'), ("gif", '<img src="data:')]
)
def test_a_film_is_shown_by_a_notebook(suffix: str, shown: str, tmp_path: Path) -> None:
    film = load_agent("CartPole-v1/T1").play(video=tmp_path / f"play.{suffix}", steps=5)
    assert film.returns == (5.0,)
    assert film._repr_html_().startswith(shown)
    film.path.unlink()
    assert film._repr_html_().startswith("<code>")


def test_two_agents_play_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "both.gif"
    options = ["--compare", "CartPole-v1/ann", "--episodes", "2", "--video", str(video), "--video-steps", "4"]
    evaluate_command(["CartPole-v1/T1", *options])
    said = capsys.readouterr().out
    assert "CartPole-v1/ann: return" in said
    assert "the same starts" in " ".join(said.split())
    assert video.read_bytes().startswith(b"GIF89a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--video-steps", "3"], "--video-steps is at least 1 and goes with --video"),
        (["--video", "a.avi"], "must end in .mp4 or .gif"),
        (["--compare", "nobody"], "no agent 'nobody'"),
    ],
)
def test_what_cannot_be_shown_is_said_before_anything_is_played(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_command(["CartPole-v1/T1", *options])


def test_what_no_spiking_dqn_saved_names_the_way(tmp_path: Path) -> None:
    PPO("MlpPolicy", "CartPole-v1", n_steps=64, device="cpu").save(tmp_path / "ppo.zip")
    with pytest.raises(UserError, match=r"holds no SpikingDQN.*SpikingDQN.from_sb3\('model.zip', env, T=1\) makes a learner"):
        SpikingDQN.load(tmp_path / "ppo.zip")


def test_an_environment_is_made_from_its_id() -> None:
    assert make_env("CartPole-v1", frames=2).observation_space.shape == (8,)
    assert make_env("ALE/Pong-v5", frames=1).observation_space.shape == (1, 84, 84)
    with pytest.raises(UserError, match="give the id of the environment, 'CartPole-v1', not a TimeLimit"):
        load_recipe(gym.make("CartPole-v1"))  # type: ignore[arg-type]


def test_an_environment_in_the_place_of_its_id_is_answered() -> None:
    with pytest.raises(UserError, match="give the id of the environment, 'CartPole-v1', not a TimeLimit"):
        load_agent("CartPole-v1/T1", gym.make("CartPole-v1"))  # type: ignore[arg-type]
