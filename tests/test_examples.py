"""The scripts in examples/ run as they stand, in a new folder, with small numbers, and leave what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from snn_rl import SpikingDQN

ROOT = Path(__file__).parents[1]
LIMIT = 600  # seconds; each takes about ten on an idle core
SHORT_RECIPE = """
id = "CartPole-v1"
base = "CartPole-v1"

[convert]
observations = 80

[prune]
gradient_steps = [4]
evaluations = 1
eval_episodes = 2

[evaluate]
episodes = 2
"""


def run(folder: Path, script: str, *options: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / script), *options]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_zip(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "CartPole-v1.toml").write_text(SHORT_RECIPE)
    said = run(tmp_path, "own_zip.py", "--steps", "600", "--start", "2")
    assert "CartPole-v1/T1: T=1, thresholds of its layers [" in said
    assert (tmp_path / "my_dqn.zip").is_file()
    made = tmp_path / "runs" / "own_zip"
    assert all((made / name / "card.json").is_file() for name in ("ann", "converted-T2", "T2", "T1"))
    assert (made / "report" / "report.md").is_file()


def test_own_environment(tmp_path: Path) -> None:
    said = run(tmp_path, "own_environment.py", "--steps", "1100")
    assert "Corridor-v0/T1-td: return" in said
    assert "membrane zeroed: Corridor-v0/T1-td: return" in said
    assert (tmp_path / "runs" / "own_environment" / "T1-td" / "card.json").is_file()


def test_watch_spikes(tmp_path: Path) -> None:
    said = run(tmp_path, "watch_spikes.py", "--decisions", "5").splitlines()
    assert said[0].split() == ["decision", "action", "fc1", "fc2"]
    assert [line.split()[0] for line in said[1:6]] == list("01234")
    assert all(0 <= int(count) <= 256 for line in said[1:6] for count in line.split()[2:])
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("spikes.png", "spikes-membranes.png"))


def test_finetune_with_sb3(tmp_path: Path) -> None:
    said = run(tmp_path, "finetune_with_sb3.py", "--steps", "400")
    assert "before 500.0" in said  # the shipped agent balances to the end
    assert "finetuned.zip: CartPole-v1/T2" in said


def test_own_plot(tmp_path: Path) -> None:
    run(tmp_path, "own_plot.py", "CartPoleNoVel-v1/T1", "CartPoleNoVel-v1/ann")
    assert (tmp_path / "own_plot.png").stat().st_size > 1000


def test_with_rl_zoo3(tmp_path: Path) -> None:
    """Train, enjoy and record_video in one process, which imports the zoo once."""
    if find_spec("rl_zoo3") is None:  # not imported here: it replaces a wrapper of gymnasium in the whole process
        pytest.skip("rl_zoo3 is not installed: pip install 'snn-rl[zoo]'")
    script = ROOT / "examples" / "with_rl_zoo3.py"
    common = ["--algo", "snn_dqn", "--env", "CartPole-v1", "-f", "zoo"]
    steps = ["-n", "150", "--eval-freq", "-1", "-params", "learning_starts:60", "--device", "cpu", "--seed", "1"]
    commands = [
        ["train", *common, "-conf", str(script.with_suffix(".yml")), *steps],
        ["enjoy", *common, "--no-render", "-n", "60"],
        ["record_video", *common, "-n", "20"],
    ]
    code = (
        "import runpy, sys\n"
        f"for command in {commands!r}:\n"
        "    sys.argv = ['with_rl_zoo3.py', *command]\n"
        f"    runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SDL_VIDEODRIVER": "dummy"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    assert "Episode Reward" in done.stdout
    made = tmp_path / "zoo" / "snn_dqn" / "CartPole-v1_1"
    assert SpikingDQN.load(made / "CartPole-v1.zip").T == 1
    assert list((made / "videos").glob("*.mp4"))


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_every_example_is_tested_and_explains_itself(script: str, tmp_path: Path) -> None:
    assert f"test_{script.removesuffix('.py')}" in globals()
    assert f"python examples/{script}" in run(tmp_path, script, "--help")
