"""What is not installed is said in a sentence, and training does without its curves."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from snn_rl.core.errors import UserError
from snn_rl.tasks import environments
from snn_rl.tasks.recipes import Recipe
from snn_rl.training import logs


@pytest.fixture
def without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.available.cache_clear()
    monkeypatch.setattr(logs, "find_spec", lambda name: None)


def test_training_goes_without_tensorboard(
    without_tensorboard: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logs.Log(tmp_path) as log:
        log.add("train/loss", 1.0, 1)
    logs.logger(tmp_path).record("a", 1)
    assert not [path for path in tmp_path.iterdir() if "tfevents" in path.name]
    assert capsys.readouterr().out.count("pip install 'snn-rl[tensorboard]'") == 1
    logs.available.cache_clear()


def test_curves_can_be_read_and_a_full_disk_only_ends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    log = logs.logger(tmp_path)
    log.record("train/loss", 0.5)
    log.record("kept", "from text", exclude=("tensorboard",))
    log.dump(3)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(3, 0.5)]
    assert events.Tags()["scalars"] == ["train/loss"]
    with logs.Log(tmp_path / "full") as other:
        monkeypatch.setattr(type(other._writer), "write", full)
        for step in (1, 2, 3):
            other.add("train/loss", 1.0, step)
    log.record("train/loss", 0.25)
    log.dump(4)
    log.close()
    said = capsys.readouterr().out
    assert said.count("no curves for TensorBoard are written any more (No space left on device); the training goes on") == 2


def test_a_missing_box2d_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise gym.error.DependencyNotInstalled("Box2D is not installed")

    monkeypatch.setattr(environments.gym, "make", missing)
    with pytest.raises(UserError, match=r"needs a package that is not installed: Box2D.*pip install 'snn-rl\[box2d\]'"):
        environments.make_env(Recipe("LunarLander-v3"))
