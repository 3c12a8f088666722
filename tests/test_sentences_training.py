"""What is said of trainings, sweeps, conversions and observations that cannot be: the option or the file, and the way out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import mlp_spec
from gymnasium import spaces
from test_dead_ends import shows
from test_plan import CARTPOLE, plan
from test_ship import _run, catalogue

from snn_rl import benchmark, evaluate, prune, ship, sweep
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.sweeps.cells import settings_of
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.parts import Joined
from snn_rl.tasks.recipe_files import changed
from snn_rl.tasks.recipes import Recipe
from snn_rl.training.checkpoints import Checkpoint
from snn_rl.training.conversion import convert, load_ann, narrow
from snn_rl.training.stages import pruning_job

__all__ = ["catalogue"]
ANN = Agent("CartPole-v1", "ann", QNetwork(mlp_spec(4, 8, 2), T=0), (4,))


def refused(argv: list[str], main: object) -> str:
    with pytest.raises(UserError) as error:
        main(argv)  # type: ignore[operator]
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("command", [benchmark, evaluate])
def test_a_folder_is_no_place_for_json(command: object, tmp_path: Path) -> None:
    given = ["CartPole-v1/T1"] * (command is evaluate)
    told = f"'{tmp_path}' is a folder; give the name of a file"
    assert refused([*given, "--json", str(tmp_path)], command.main) == told  # type: ignore[attr-defined]


# Recipes and sweeps


@pytest.mark.parametrize("text", ["prune.learning_rate", "=3", "a.b.c=3", "prune.learning_rate="])
def test_a_setting_of_another_form_says_the_form(text: str, tmp_path: Path) -> None:
    told = "--recipe-set takes TABLE.KEY=VALUE, as in prune.learning_rate=3e-4, got "
    with pytest.raises(UserError) as error:
        changed(Recipe("CartPole-v1"), [text])
    assert str(error.value) == f"{told}'{text}'"
    out = ["--env", "CartPole-v1", "--out", str(tmp_path / "x"), "--recipe-set"]
    assert refused([*out, text], sweep.main).startswith("--recipe-set takes TABLE.KEY=VALUE")


def test_values_of_a_setting_say_their_form() -> None:
    with pytest.raises(
        UserError, match=r"^--recipe-set takes TABLE\.KEY=VALUE or several values with commas between, got 'a=1,'$"
    ):
        settings_of(["a=1,"])
    told = "--recipe-set a is given twice; put its values behind one, with commas between"
    with pytest.raises(UserError, match=f"^{told}$"):
        settings_of(["a=1", "a=2"])


def test_a_search_says_which_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    options = ["--env", "CartPole-v1", "--out", str(tmp_path / "x"), "--search", "2", "--recipe-set", "prune.batch_size=8..16"]
    assert refused(options, sweep.main) == "--search needs Optuna, which is missing: pip install 'snn-rl[search]'"


# Conversion and pruning


def test_frames_that_an_ann_does_not_see_say_what_to_leave_out() -> None:
    with pytest.raises(
        UserError, match=r"^'CartPole-v1/ann' sees 1 frame\(s\); an agent converted from it cannot see 2: leave --fr"
    ):
        convert(ANN, load_recipe("CartPole-v1"), 1, frames=2)
    with pytest.raises(UserError, match=r"^the ANN sees 1 frame\(s\), fewer than 2; leave --frames out or use --ann scratch$"):
        plan(given=CARTPOLE, ann="shipped", frames=2)
    pool = QNetwork([{"type": "AvgPool2d", "kernel_size": 1}, {"type": "Flatten"}, *mlp_spec(4, 2, 2)], T=0)
    with pytest.raises(UnconvertibleError, match=r"inputs of a network that begins with AvgPool2d; leave --frames out$"):
        narrow(pool, 2, 1)


def test_an_ann_of_another_kind_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^CartPole-v1/ann plays CartPole-v1, not Acrobot-v1; give an ANN of that environment$"
    ):
        load_ann(ANN, load_recipe("Acrobot-v1"))
    out = str(tmp_path / "out")
    ann = agents.save(ANN, tmp_path / "ann")
    told = f"'{ann}' is an ANN; convert it first (python -m snn_rl.convert)"
    assert refused(["--agent", str(ann), "--T", "1", "--out", out], prune.main) == told
    with pytest.raises(UserError, match=r"^'CartPole-v1/ann' is an ANN; convert it first \(python -m snn_rl\.convert\)$"):
        pruning_job(ANN, ANN, load_recipe("CartPole-v1"), 1, tmp_path / "x", "distill", 0)
    wide = agents.save(Agent("CartPole-v1", "ann", QNetwork(mlp_spec(6, 8, 2), T=0), (6,)), tmp_path / "wide")
    told = f"'{wide}' sees other observations than 'CartPole-v1/T1'; give the ANN it was converted from"
    assert refused(["--agent", "CartPole-v1/T1", "--ann", str(wide), "--T", "1", "--out", out], prune.main) == told
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "c").touch()
    with pytest.raises(
        UserError, match=r"^the checkpoint '.*c' has format 1, .*: go on with the version that wrote it, or remove it"
    ):
        Checkpoint(tmp_path / "c", {}, {}).read()


def test_runs_that_cannot_be_shipped_say_what_to_do(tmp_path: Path, catalogue: Path) -> None:
    runs = [str(_run(tmp_path / "a", 0, {"T1": 1.0})), str(_run(tmp_path / "b", 1, {"T2": 1.0}))]
    assert refused(runs, ship.main) == "the runs hold different agents; finish them first"
    told = "no such agent in the runs: T3, T9; they hold T1"
    assert refused([runs[0], "--only", "T3", "T9"], ship.main) == told
    (tmp_path / "empty").mkdir()
    told = f"'{tmp_path / 'empty'}' holds no agents; give the folder of a run"
    assert refused([str(tmp_path / "empty")], ship.main) == told
    agent = agents.load(tmp_path / "a" / "T1")
    agent.scores = {}
    agents.save_scores(agent)
    told = f"'{tmp_path / 'a' / 'T1'}' has no greedy score; finish its run first (--resume)"
    assert refused(runs[:1], ship.main) == told


# Observations


PARTS = spaces.Dict({"speed": spaces.Box(-1, 1, (2,)), "word": spaces.Discrete(3)})


def test_a_part_of_another_shape_is_named() -> None:
    parts = Joined.of(PARTS).parts
    with pytest.raises(UserError, match=r"^the part 'speed' has shape \(2,\), got \(3,\)$"):
        parts.join({"speed": np.zeros(3), "word": 1})
    image = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    one = Joined.of(spaces.Dict({"a": image, "b": spaces.Discrete(2)})).parts.to_json()
    with pytest.raises(ValueError, match="an observation has one image"):
        type(parts).from_json([one[0], {**one[0], "path": ["c"]}])


def test_frames_of_parts_say_what_to_leave_out() -> None:
    import gymnasium as gym

    gym.register("InParts-v0", lambda **_: shows(PARTS))
    with pytest.raises(
        UserError,
        match=r"^'InParts-v0' shows its .* parts: its agents see as many frames as their ANN; leave --frames out$",
    ):
        make_env(Recipe("InParts-v0"), frames=1, teacher_frames=2)
    gym.registry.pop("InParts-v0")


def test_a_device_that_is_not_there_says_which_to_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        prune.main(["--agent", "CartPole-v1/T1", "--T", "1", "--out", "x", "--device", "tpu"])
    assert "tpu is not available here; use cpu or auto" in capsys.readouterr().err
    assert th.device("cpu").type == "cpu"
