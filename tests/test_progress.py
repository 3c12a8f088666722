"""Nobody waits in the dark: a line at least once a minute, with the speed of this machine and the time left."""

from __future__ import annotations

import time

import pytest

from snn_rl.tasks import progress
from snn_rl.tasks.progress import Progress, spell


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(progress, "BEAT_SECONDS", 1000.0)  # no line but those of the clock
    return Clock()


def test_the_first_line_comes_within_seconds_and_then_one_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    with Progress(1000, "steps", "work", clock=clock) as bar:
        for done in range(1, 301):
            clock.now += 1
            bar.advance(done, {"loss": 0.25})
            said += [(done, line) for line in lines(capsys)]
    times = [time for time, _ in said]
    assert times == [5, 55, 105, 155, 205, 255]
    assert said[0][1] == "work: 5 of 1,000 steps, 1 a second, loss 0.25, about 17 min left"
    assert lines(capsys) == ["work: 300 steps in 5 min"]


def test_what_is_over_soon_needs_no_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(4, "steps", "work", clock=clock) as bar:
        for done in range(1, 5):
            clock.now += 1
            bar.advance(done, {})
    assert not lines(capsys)


def test_a_line_comes_though_nothing_advances(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "BEAT_SECONDS", 0.001)
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    said: list[str] = []
    bar = Progress(10, "steps", "work")
    bar.note = "evaluating"
    with bar:
        while not said:  # the test ends by its time limit if no line ever comes
            time.sleep(0.001)
            said = lines(capsys)
    assert said[0] == "work: 0 of 10 steps, evaluating"


def test_after_an_exception_nothing_is_said_to_be_finished(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        with Progress(10, "steps", "work", clock=clock) as bar:
            clock.now += 10
            bar.advance(1, {})
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        broken()
    assert lines(capsys) == ["work: 1 of 10 steps"]


def test_nothing_is_shown_where_nothing_shall_be(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, "steps", "work", show=False, clock=clock) as bar:
        clock.now += 100
        bar.advance(1, {})
    assert not lines(capsys)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "1 s"), (0.4, "1 s"), (7, "7 s"), (119, "119 s"), (121, "2 min"), (3600, "60 min"), (9000, "2 h 30 min")],
)
def test_times_are_spelled_and_never_nothing(seconds: float, words: str) -> None:
    assert spell(seconds) == words


def test_time_left_is_measured_from_the_work_of_this_process(clock: Clock) -> None:
    bar = Progress(1000, "steps", "work", clock=clock)
    bar.load_state_dict({"done": 900, "seconds": 50.0})
    clock.now += 1000  # of filling a replay buffer, say
    bar.advance(901, {})
    clock.now += 20
    bar.advance(911, {})
    assert bar.line() == "work: 911 of 1,000 steps, 2.0 s each, about 3 min left"
    assert bar.seconds == 1070.0
    assert bar.state_dict() == {"done": 911, "seconds": 1070.0}


def test_no_time_is_left_when_all_is_done(clock: Clock) -> None:
    bar = Progress(10, "steps", "work", clock=clock)
    for done in (1, 10):
        clock.now += 1
        bar.advance(done, {})
    assert bar.line() == "work: 10 of 10 steps, 9 a second"


def test_work_of_unknown_amount_can_be_estimated_on_the_way(clock: Clock) -> None:
    bar = Progress(None, "decisions", "evaluate", clock=clock)
    bar.advance(0, {})
    clock.now += 2
    bar.advance(3000, {"episodes": 0})
    assert bar.line() == "evaluate: 3,000 decisions, 1,500 a second, episodes 0"
    bar.advance(3000, {"last return": 12345.6}, total=9000)
    assert bar.line() == "evaluate: 3,000 of about 9,000 decisions, 1,500 a second, last return 12,346, about 4 s left"
