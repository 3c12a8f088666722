"""Long training: nothing is lost, the best network is kept, Ctrl-C is answered cleanly."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch as th

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import describe
from snn_rl.store import checkpoints
from snn_rl.tasks.progress import Progress
from snn_rl.training.checkpoints import Checkpoint
from snn_rl.training.curve import Curve
from snn_rl.training.selection import Selection
from snn_rl.training.watch import Watch


def net() -> QNetwork:
    return QNetwork(describe([("fc", th.nn.Linear(2, 2))]), T=0)


class Number:
    """A learner of which nothing is known but its state."""

    def __init__(self, network: QNetwork) -> None:
        self.network, self.number = network, 0

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "number": self.number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.number = state["number"]


def watch(
    path: Path,
    network: QNetwork,
    values: Sequence[float],
    *,
    total: int = 6,
    points: Sequence[int] = (2, 4, 6),
    stop_at: float | None = None,
    seed: int = 0,
    show: bool = False,
) -> Watch:
    scores = iter(values)
    learner, bar, curve = Number(network), Progress(total, "steps", "test", show), Curve()
    selection = Selection(points, lambda _: next(scores), stop_at)
    parts = {"learner": learner, "progress": bar, "selection": selection, "curve": curve}
    return Watch(network, bar, selection, Checkpoint(path, {"seed": seed}, parts), curve)


def fill(network: QNetwork, value: float) -> None:
    with th.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def test_the_best_evaluated_network_is_kept_and_of_equals_the_later(tmp_path: Path) -> None:
    network = net()
    with watch(tmp_path / "c", network, [5.0, 9.0, 9.0]) as watching:
        for done in range(1, 7):
            fill(network, done)
            going = watching.update(done)
    assert not going
    fill(network, 100)
    watching.selection.choose(network)
    assert next(network.parameters()).max() == 6
    assert watching.selection.evaluations == [[2, 5.0], [4, 9.0], [6, 9.0]]


def test_a_network_that_was_never_evaluated_stays_as_it_is() -> None:
    network = net()
    fill(network, 3)
    Selection([], lambda _: 0.0).choose(network)
    assert next(network.parameters()).max() == 3


def test_the_curve_has_a_hundred_points_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    for begin, end in ((0, 500), (500, 1000)):
        with watch(tmp_path / "c", net(), [], total=1000, points=[]) as watching:
            assert watching.resume() == (begin > 0)
            for done in range(begin + 1, end + 1):
                watching.update(done, loss=done / 3)
            watching.checkpoint.write()
    assert [done for done, _ in watching.curve.points["loss"]] == list(range(10, 1001, 10))
    assert watching.curve.points["loss"][0] == [10, 3.333]


def test_a_line_tells_the_last_return(tmp_path: Path) -> None:
    with watch(tmp_path / "c", net(), [5.0, 9.0], total=10, show=True) as watching:
        for done in range(1, 6):
            watching.update(done, loss=0.25)
        assert watching.progress.line().startswith("test: 5 of 10 steps")
        assert ", loss 0.25, last return 9" in watching.progress.line()


def test_it_is_said_that_an_evaluation_is_going_on(tmp_path: Path) -> None:
    said = []
    with watch(tmp_path / "c", net(), [], total=10) as watching:
        watching.selection.evaluate = lambda _: said.append(watching.progress.line()) or 1.0
        watching.update(2)
    assert said[0].endswith(", evaluating")
    assert "evaluating" not in watching.progress.line()


def test_it_is_said_where_a_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watch(tmp_path / "c", net(), [], total=3000, points=[]) as watching:
        watching.update(1200)
        watching.checkpoint.write()
    assert "goes on" not in capsys.readouterr().out
    watch(tmp_path / "c", net(), [], total=3000, points=[]).resume()
    assert capsys.readouterr().out == "test: goes on after 1,200 of 3,000 steps\n"


def test_a_curve_holds_only_numbers() -> None:
    curve = Curve()
    curve.note(1, 0, 6, {"loss": float("nan")})
    curve.note(2, 1, 6, {"loss": 1.0})
    assert curve.points == {"loss": [[2, 1.0]]}


def test_training_stops_early_at_the_wanted_return(tmp_path: Path) -> None:
    with watch(tmp_path / "c", net(), [5.0], stop_at=5.0) as watching:
        assert watching.update(1)
        assert not watching.update(2)


def test_what_stopped_early_has_no_work_left_after_an_interruption(tmp_path: Path) -> None:
    with watch(tmp_path / "c", net(), [5.0, 9.0], stop_at=9.0) as watching:
        assert watching.update(2)
        assert not watching.update(4)
        watching.checkpoint.write()
    with watch(tmp_path / "c", net(), [], stop_at=9.0) as watching:
        assert watching.going
        watching.resume()
        assert not watching.going


def test_an_interrupt_writes_a_checkpoint_from_which_everything_goes_on(tmp_path: Path) -> None:
    network = net()
    with watch(tmp_path / "c", network, [5.0]) as watching:
        watching.checkpoint.parts["learner"].number = 7
        watching.update(1)
        fill(network, 3)
        watching.update(2)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            watching.update(3)
    other = net()
    again = watch(tmp_path / "c", other, [])
    assert again.resume()
    assert (again.done, again.selection.evaluations, again.selection.best_return) == (3, [[2, 5.0]], 5.0)
    assert again.progress.seconds > 0
    assert again.checkpoint.parts["learner"].number == 7
    assert next(other.parameters()).max() == 3


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        with watch(tmp_path / "c", net(), []):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="interrupted twice"):
        twice()
    assert not (tmp_path / "c").exists()


def test_an_interrupt_after_the_last_update_is_not_lost(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="--resume"), watch(tmp_path / "c", net(), []):
        signal.raise_signal(signal.SIGTERM)
    assert (tmp_path / "c").exists()


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def held(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_a_failing_write_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = watch(tmp_path / "c", net(), []).checkpoint
    checkpoint.write()
    before = held(tmp_path / "c")
    for broken in ("replace", "fsync"):
        with monkeypatch.context() as context:
            context.setattr(os, broken, full)
            with pytest.raises(OSError, match="No space"):
                checkpoint.write()
        assert held(tmp_path / "c") == before
    assert os.listdir(tmp_path) == ["c"]


def test_training_goes_on_where_no_checkpoint_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with watch(tmp_path / "c", net(), [], points=[]) as watching:
        watching.checkpoint.every = -1.0
        monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
        with monkeypatch.context() as context:
            context.setattr(os, "fsync", full)
            assert watching.update(1)
            assert watching.update(2)
        said = capsys.readouterr().out
        assert said.count("no checkpoint could be written (No space left on device); training goes on") == 1
        assert "There is no checkpoint yet, so --resume begins this stage anew" in said
        assert watching.update(3)
        assert "test: checkpoints are written again" in capsys.readouterr().out
    assert watch(tmp_path / "c", net(), []).resume()


def test_an_interrupt_on_a_full_disk_says_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watch(tmp_path / "c", net(), [], points=[]) as watching:
        watching.update(1)
        watching.checkpoint.write()
        watching.update(2)
        monkeypatch.setattr(os, "fsync", full)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match=r"after 3 of 6 steps; no checkpoint .*\(No space.*--resume goes on from"):
            watching.update(3)
    again = watch(tmp_path / "c", net(), [])
    assert again.resume()
    assert again.done == 1


def test_a_checkpoint_of_other_settings_or_versions_is_refused(tmp_path: Path) -> None:
    watch(tmp_path / "c", net(), []).checkpoint.write()
    with pytest.raises(UserError, match="seed = 0, this run has 1"):
        watch(tmp_path / "c", net(), [], seed=1).resume()
    before = watch(tmp_path / "c", net(), [])
    del before.checkpoint.parts["curve"]
    before.checkpoint.write()
    with pytest.raises(UserError, match="of another version"):
        watch(tmp_path / "c", net(), []).resume()
    th.save({"identity": {"seed": 0}}, tmp_path / "d")  # as an older version wrote it
    with pytest.raises(UserError, match=r"'.*d' has format 1, and this version of snn_rl reads format 2: go on with"):
        watch(tmp_path / "d", net(), []).resume()


def test_of_two_checkpoints_the_one_that_is_not_damaged_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watch(tmp_path / "c", net(), [], points=[]) as watching:
        for done in (1, 2, 3):
            watching.update(done)
            watching.checkpoint.write()
    whole = held(tmp_path / "c")
    assert sorted(whole) == ["2.json", "2.state", "3.json", "3.state"]
    for name, content in whole.items():
        for damaged in (content[:-1], content[:50] + bytes([content[50] ^ 1]) + content[51:], b"", None):
            shutil.rmtree(tmp_path / "c")
            (tmp_path / "c").mkdir()
            for file, before in whole.items():
                (tmp_path / "c" / file).write_bytes(before)
            if damaged is None:
                (tmp_path / "c" / name).unlink()
            else:
                (tmp_path / "c" / name).write_bytes(damaged)
            again = watch(tmp_path / "c", net(), [])
            assert again.resume()
            assert again.done == (2 if name.startswith("3") else 3)
            said = capsys.readouterr().out
            lost = name == "3.json" and damaged is None  # nobody knows that it was there
            assert (f"c/{name}' is damaged; the one before it is used" in said) == (name.startswith("3") and not lost)
            again.checkpoint.write()  # the damaged one goes
            assert len(held(tmp_path / "c")) == 4
            assert watch(tmp_path / "c", net(), []).resume()
            capsys.readouterr()
    for file in (tmp_path / "c").glob("*.state"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"state' is damaged; .*state' is damaged; remove '.*c' to start that stage anew"):
        watch(tmp_path / "c", net(), []).resume()


def test_an_interrupt_in_an_evaluation_is_answered_at_once(tmp_path: Path) -> None:
    with watch(tmp_path / "c", net(), [], points=[2]) as watching:
        watching.update(1)
        watching.selection.evaluate = lambda _: os.kill(os.getpid(), signal.SIGTERM) or 1.0
        with pytest.raises(KeyboardInterrupt, match="interrupted after 2 of 6 steps; --resume goes on"):
            watching.update(2)
    again = watch(tmp_path / "c", net(), [7.0], points=[2])
    assert again.resume()
    assert again.selection.evaluations == []
    with again:
        again.update(2)  # what was interrupted is done now
    assert again.selection.evaluations == [[2, 7.0]]


def test_the_last_evaluation_is_made_though_it_was_interrupted(tmp_path: Path) -> None:
    with watch(tmp_path / "c", net(), [], points=[6]) as watching:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match="interrupted after 6 of 6 steps"):
            watching.update(6)
    with watch(tmp_path / "c", net(), [7.0], points=[6]) as again:
        assert again.resume()
        assert again.going
        assert not again.update(6)
    assert again.selection.evaluations == [[6, 7.0]]


def test_what_raises_leaves_a_checkpoint_of_the_last_sound_state(tmp_path: Path) -> None:
    def run(sound: bool) -> Watch:
        with watch(tmp_path / str(sound), net(), [], points=[]) as watching:
            watching.rollback = lambda: sound
            watching.update(2)
            raise UserError("the environment broke")

    for sound in (True, False):
        with pytest.raises(UserError, match="broke"):
            run(sound)
        again = watch(tmp_path / str(sound), net(), [])
        assert again.resume() == sound
    assert again.done == 0


def test_messages_name_no_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    def twice(there: bool) -> None:
        with watch(tmp_path / "c", net(), []) as watching:
            if there:
                watching.checkpoint.write()
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    for there in (False, True):
        with pytest.raises(KeyboardInterrupt) as caught:
            twice(there)
        assert (str(tmp_path / "c") in str(caught.value)) == there


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert not watch(tmp_path / "c", net(), []).resume()
