"""Recipes are read whole, and what is wrong in one is named."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from snn_rl.core.errors import UserError
from snn_rl.tasks.catalogue import recipe_names
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.recipe_files import changed, read_recipe, recipe_files
from snn_rl.tasks.recipes import Recipe


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


# Recipes


def test_a_recipe_is_read_whole(tmp_path: Path) -> None:
    recipe = read_recipe(
        write(
            tmp_path,
            """
            id = "CartPole-v1"
            frames = 2
            half = true
            [train]
            learning_rate = 1
            net_arch = [7, 5]
            stop_at = 475
            [convert]
            percentile = 99.5
            [prune]
            objective = "td"
            gradient_steps = [10, 20]
            [evaluate]
            episodes = 3
            """,
        )
    )
    assert (recipe.id, recipe.frames, recipe.half, recipe.is_default) == ("CartPole-v1", 2, True, False)
    assert recipe.train.learning_rate == 1.0
    assert isinstance(recipe.train.learning_rate, float)
    assert (recipe.train.net_arch, recipe.train.stop_at, recipe.train.gamma) == ((7, 5), 475.0, 0.99)
    assert (recipe.convert.percentile, recipe.prune.objective, recipe.prune.gradient_steps) == (99.5, "td", (10, 20))
    assert recipe.evaluate.episodes == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.frames = 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('id = "CartPole-v1"\nframe = 4', "recipe.toml: unknown key 'frame'; did you mean 'frames'"),
        ('id = "CartPole-v1"\nzzz = 4', "unknown key 'zzz'; known keys: id, base, frames"),
        (
            'id = "CartPole-v1"\n[train]\nlearning_rat = 1.0',
            r"recipe.toml \[train\]: unknown key 'learning_rat'; did you mean",
        ),
        ('id = "CartPole-v1"\nis_default = true', "unknown key 'is_default'"),
        ('id = "CartPole-v1"\nframes = "4"', "'frames' must be a whole number, got '4'"),
        ('id = "CartPole-v1"\nframes = 4.0', "'frames' must be a whole number, got 4.0"),
        ('id = "CartPole-v1"\nframes = true', "'frames' must be a whole number, got True"),
        ('id = "CartPole-v1"\nhalf = 1', "'half' must be true or false, got 1"),
        ('id = "CartPole-v1"\n[train]\nlearning_rate = "1e-3"', "'learning_rate' must be a number"),
        ('id = "CartPole-v1"\n[train]\nnet_arch = [64, 0.5]', "'net_arch' must be a list of whole numbers"),
        ('id = "CartPole-v1"\n[train]\nnet_arch = 64', "'net_arch' must be a list of whole numbers"),
        ('id = "CartPole-v1"\ntrain = 3', r"'train' must be a table, written \[train\]"),
        ('id = "CartPole-v1"\n[train]\nn_envs = 0', "'n_envs' must be a finite number above 0, got 0"),
        ('id = "CartPole-v1"\n[train]\ngamma = 1.1', "'gamma' must be a finite number from 0 to 1, got 1.1"),
        ('id = "CartPole-v1"\n[train]\nlearning_rate = nan', "'learning_rate' must be a finite number above 0"),
        ('id = "CartPole-v1"\n[train]\nnet_arch = [64, -1]', r"'net_arch' must be a finite number above 0, got \(64, -1\)"),
        ('id = "CartPole-v1"\n[convert]\ndecay = [0.5, 2]', "'decay' must be a finite number from 0.001 to 1"),
        ('id = "CartPole-v1"\n[prune]\nburn_in = -1', "'burn_in' must be a finite number from 0 on, got -1"),
        ('id = "CartPole-v1"\n[prune]\ngradient_steps = []', "'gradient_steps' must hold at least one number"),
        ('id = "CartPole-v1"\n[prune]\nobjective = "distil"', "unknown objective 'distil'; choose from distill, td"),
        ("id = 3", "'id' must be a text, got 3"),
        ("frames = 4", "'id' is missing"),
        ("id = ", "recipe.toml is not valid TOML"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_recipe(write(tmp_path, text))


def test_a_recipe_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"recipe.toml is not valid TOML: .*can't decode"):
        read_recipe(tmp_path / "recipe.toml")


# Environments


def test_agents_of_other_frames_may_have_a_recipe_of_their_own() -> None:
    one, four = load_recipe("PongNoFrameskip-v4", 1), load_recipe("PongNoFrameskip-v4", 4)
    assert (one.frames, four.frames) == (1, 4)
    assert one.convert.decay == (0.05, 0.95)
    assert one.train == four.train  # what the file does not say is as in the other one
    assert one.convert.observations == four.convert.observations
    assert four == load_recipe("PongNoFrameskip-v4")
    assert load_recipe("CartPole-v1", 7) == load_recipe("CartPole-v1")
    assert not any("frames" in name for name in recipe_names())


def test_a_recipe_in_the_current_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "CartPole-v1.toml").write_text('id = "CartPole-v1"\nframes = 3\n')
    assert load_recipe("CartPole-v1").frames == 3
    (tmp_path / "envs" / "Acrobot-v1.toml").write_text('id = "Acrobot-v2"\n')
    with pytest.raises(
        UserError, match="id is 'Acrobot-v2', but a file of that name is for 'Acrobot-v1'; rename it, or mend its id"
    ):
        load_recipe("Acrobot-v1")
    (tmp_path / "envs" / "Acrobot-v1.toml").write_text('id = "own:Acrobot-v1"\n')
    with pytest.raises(UserError, match="'id' names a module, which no file may"):
        load_recipe("Acrobot-v1")


def test_a_recipe_is_based_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    own = tmp_path / "envs" / "BreakoutNoFrameskip-v4.toml"
    own.write_text('id = "BreakoutNoFrameskip-v4"\nbase = "FreewayNoFrameskip-v4"\n[prune]\nevaluations = 3\n')
    pong, freeway, breakout = (load_recipe(f"{name}NoFrameskip-v4") for name in ("Pong", "Freeway", "Breakout"))
    assert breakout == dataclasses.replace(
        freeway,
        id="BreakoutNoFrameskip-v4",
        base="FreewayNoFrameskip-v4",
        prune=dataclasses.replace(freeway.prune, evaluations=3),
    )
    assert freeway.train.total_timesteps == 250_000
    assert freeway.train.learning_rate == pong.train.learning_rate  # through two files
    own.write_text('id = "BreakoutNoFrameskip-v4"\nbase = "Pong"\n')
    with pytest.raises(UserError, match=r"no recipe for its base 'Pong'; recipes: .*PongNoFrameskip-v4"):
        load_recipe("BreakoutNoFrameskip-v4")


def test_a_recipe_of_ones_own_is_based_on_the_package_s_of_that_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_recipe("CartPole-v1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "CartPole-v1.toml").write_text('id = "CartPole-v1"\nbase = "CartPole-v1"\nframes = 3\n')
    assert load_recipe("CartPole-v1") == dataclasses.replace(shipped, base="CartPole-v1", frames=3)
    (tmp_path / "envs" / "Own-v0.toml").write_text('id = "Own-v0"\nbase = "Own-v0"\n')
    with pytest.raises(UserError, match="no recipe for its base 'Own-v0'"):  # nor does it go round for ever
        recipe_files("Own-v0")


def test_what_is_different_with_fewer_frames_comes_with_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, flickering = load_recipe("PongNoFrameskip-v4", 1), load_recipe("PongFlickerNoFrameskip-v4", 1)
    assert flickering.prune.spike_penalty == 0  # which with one frame is not Pong's
    assert flickering == load_recipe("PongFlickerNoFrameskip-v4")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    own = tmp_path / "envs" / "PongNoFrameskip-v4.toml"
    own.write_text('id = "PongNoFrameskip-v4"\nbase = "PongNoFrameskip-v4"\n[prune]\nbatch_size = 48\n')
    changed = dataclasses.replace(shipped, base=shipped.id, prune=dataclasses.replace(shipped.prune, batch_size=48))
    assert load_recipe("PongNoFrameskip-v4", 1) == changed


def test_where_a_recipe_comes_from_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "CartPole-v1.toml").write_text('id = "CartPole-v1"\n')
    load_recipe("CartPole-v1")
    load_recipe("CartPole-v1", 1)
    assert capsys.readouterr().out.count("recipe: ") == 1


def test_a_pair_of_decays_is_two_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('id = "CartPole-v1"\n[convert]\ndecay = [0.1, 1]\n')
    assert read_recipe(path).convert.decay == (0.1, 1.0)
    path.write_text('id = "CartPole-v1"\n[convert]\ndecay = [0.1, 0.2, 0.3]\n')
    with pytest.raises(UserError, match="a pair of numbers"):
        read_recipe(path)


def test_a_number_of_a_recipe_is_set_anew() -> None:
    recipe = Recipe("CartPole-v1")
    new = changed(recipe, ["prune.learning_rate=3e-4", "prune.gradient_steps=[7, 8]", "frames=2", "train.n_envs=4"])
    assert new.prune.learning_rate == 3e-4
    assert new.prune.gradient_steps == (7, 8)
    assert (new.frames, new.train.n_envs) == (2, 4)
    assert new.prune.batch_size == recipe.prune.batch_size
    assert recipe == Recipe("CartPole-v1")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("prune.learning_rate", "takes TABLE.KEY=VALUE"),
        ("prune.learning_rte=1", "did you mean 'learning_rate'"),
        ("prun.learning_rate=1", "did you mean 'prune'"),
        ("prune.learning_rate=nan", "must be a finite number"),
        ("prune.learning_rate=0", "must be a finite number above 0"),
        ("prune.learning_rate=[1", "is no value of a recipe; write it as in TOML: 3e-4, [7, 8], true"),
        ("prune.batch_size=1.5", "must be a whole number"),
        ("prune=3", "must be a table"),
        ("id=Pong", "says which recipe it is"),
    ],
)
def test_a_mistake_in_a_setting_is_named(setting: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        changed(Recipe("CartPole-v1"), [setting])
