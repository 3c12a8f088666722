"""Long training: nothing is lost, the best network is kept, Ctrl-C is answered cleanly."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch as th

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import describe
from snn_rl.training import keeper as keeper_module
from snn_rl.training.keeper import Keeper


def net() -> QNetwork:
    return QNetwork(describe([("fc", th.nn.Linear(2, 2))]), T=0)


def make(path: Path, network: QNetwork, values: list[float], **kwargs: Any) -> Keeper:
    scores = iter(values)
    settings: dict[str, Any] = {
        "total": 6,
        "unit": "step",
        "description": "test",
        "points": [2, 4, 6],
        "evaluate": lambda _: next(scores),
        "state": lambda: {"number": 7},
        "restore": lambda saved: None,
        "identity": {"seed": 0},
        "show": False,
    }
    return Keeper(path, network, **(settings | kwargs))


def fill(network: QNetwork, value: float) -> None:
    with th.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def test_the_best_evaluated_network_is_kept_and_of_equals_the_later(tmp_path: Path) -> None:
    network = net()
    with make(tmp_path / "c", network, [5.0, 9.0, 9.0]) as keeper:
        for done in range(1, 7):
            fill(network, done)
            going = keeper.update(done)
    assert not going
    fill(network, 100)
    keeper.finish()
    assert next(network.parameters()).max() == 6
    assert keeper.evaluations == [[2, 5.0], [4, 9.0], [6, 9.0]]


def test_the_curve_has_a_hundred_points_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    for begin, end in ((0, 500), (500, 1000)):
        with make(tmp_path / "c", net(), [], total=1000, points=[]) as keeper:
            assert keeper.resume() == (begin > 0)
            for done in range(begin + 1, end + 1):
                keeper.update(done, loss=done / 3)
            keeper.save()
    assert [done for done, _ in keeper.curve["loss"]] == list(range(10, 1001, 10))
    assert keeper.curve["loss"][0] == [10, 3.333]


def test_where_there_is_no_terminal_lines_tell_of_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with make(tmp_path / "c", net(), [], points=[], total=100, show=True) as keeper:
        for done in range(1, 101):
            keeper.update(done, loss=0.25)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == keeper_module.LINES
    assert lines[0] == "test: 5 of 100, loss 0.25, about 0 min left"


def test_a_curve_holds_only_numbers(tmp_path: Path) -> None:
    with make(tmp_path / "c", net(), [], points=[]) as keeper:
        keeper.update(1, loss=float("nan"))
        keeper.update(2, loss=1.0)
    assert keeper.curve == {"loss": [[2, 1.0]]}


def test_training_stops_early_at_the_wanted_return(tmp_path: Path) -> None:
    with make(tmp_path / "c", net(), [5.0], stop_at=5.0) as keeper:
        assert keeper.update(1)
        assert not keeper.update(2)


def test_what_stopped_early_has_no_work_left_after_an_interruption(tmp_path: Path) -> None:
    with make(tmp_path / "c", net(), [5.0, 9.0], stop_at=9.0) as keeper:
        assert keeper.update(2)
        assert not keeper.update(4)
        keeper.save()
    with make(tmp_path / "c", net(), [], stop_at=9.0) as keeper:
        assert keeper.going
        keeper.resume()
        assert not keeper.going


def test_an_interrupt_writes_a_checkpoint_from_which_everything_goes_on(tmp_path: Path) -> None:
    network = net()
    with make(tmp_path / "c", network, [5.0]) as keeper:
        keeper.update(1)
        fill(network, 3)
        keeper.update(2)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            keeper.update(3)
    other = net()
    restored: list[dict[str, Any]] = []
    again = make(tmp_path / "c", other, [], restore=restored.append)
    assert again.resume()
    assert (again.done, again.evaluations, again.best_return) == (3, [[2, 5.0]], 5.0)
    assert restored == [{"number": 7}]
    assert next(other.parameters()).max() == 3


def test_an_interrupt_after_the_last_update_is_not_lost(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="--resume"), make(tmp_path / "c", net(), []):
        os.kill(os.getpid(), signal.SIGTERM)
    assert (tmp_path / "c").exists()


def test_a_failing_write_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = make(tmp_path / "c", net(), [])
    keeper.save()
    before = (tmp_path / "c").read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeper_module.th, "save", full)
    with pytest.raises(OSError, match="No space"):
        keeper.save()
    assert (tmp_path / "c").read_bytes() == before
    assert os.listdir(tmp_path) == ["c"]


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "c", net(), []).save()
    with pytest.raises(UserError, match="seed = 0, this run has 1"):
        make(tmp_path / "c", net(), [], identity={"seed": 1}).resume()
    (tmp_path / "c").write_bytes((tmp_path / "c").read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        make(tmp_path / "c", net(), []).resume()


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    assert not make(tmp_path / "c", net(), []).resume()
