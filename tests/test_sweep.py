"""Sweeps: which cells there are, what becomes of them, what is tried again, and what is searched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from snn_rl import sweep
from snn_rl.core.errors import UserError
from snn_rl.sweeps import local, on_ray, progress, search, training
from snn_rl.sweeps import run as runs
from snn_rl.sweeps.cells import LONGEST, Cell, grid, seeds_of, settings_of
from snn_rl.sweeps.training import DONE, LOG, Outcome
from snn_rl.training.options import Options

TINY = [
    *("--recipe-set", "prune.gradient_steps=[5]", "--recipe-set", "evaluate.episodes=2"),
    *("--recipe-set", "prune.stop_at_share=0.0", "--recipe-set", "convert.observations=64"),
    *("--recipe-set", "prune.evaluations=1", "--recipe-set", "prune.eval_episodes=1"),
]

POPEN = subprocess.Popen

# Cells


def test_seeds_are_numbers_and_ranges() -> None:
    assert seeds_of(["0..3"]) == [0, 1, 2, 3]
    assert seeds_of(["7", "2..3", "2"]) == [7, 2, 3]
    for wrong in ("3..1", "-1", "a", "1..", "0..2147483648", "1.5"):
        with pytest.raises(UserError, match="--seeds takes numbers and ranges"):
            seeds_of([wrong])


def test_settings_are_all_combinations() -> None:
    assert settings_of([]) == [()]
    assert settings_of(["a.b=1,2", "c.d=[1,2],[3]"]) == [
        ("a.b=1", "c.d=[1,2]"),
        ("a.b=1", "c.d=[3]"),
        ("a.b=2", "c.d=[1,2]"),
        ("a.b=2", "c.d=[3]"),
    ]
    for wrong, said in (
        (["a"], "takes TABLE.KEY=VALUE"),
        (["a=1,"], "takes TABLE.KEY=VALUE"),
        (["a=1", "a=2"], "given twice"),
    ):
        with pytest.raises(UserError, match=said):
            settings_of(wrong)


def test_a_grid_has_a_cell_for_each_combination_with_a_folder_of_its_own() -> None:
    cells = grid(["CartPole-v1", "ALE/Pong-v5"], [1, 2, 5], settings_of(["prune.learning_rate=1e-3,3e-4"]), range(10), ["--x"])
    assert len(cells) == 2 * 3 * 2 * 10
    assert len({cell.name for cell in cells}) == len(cells)
    assert cells[0].name == "CartPole-v1-T1-prune.learning_rate-1e-3/seed0"
    assert all(cell.name.count("/") == 1 and len(cell.group) <= LONGEST + 9 for cell in cells)
    long = Cell("CartPole-v1", 1, tuple(f"prune.number{n}=1" for n in range(30)), 0)
    other = Cell("CartPole-v1", 1, tuple(f"prune.number{n}=1" for n in range(31)), 0)
    assert len(long.group) == LONGEST + 9
    assert long.group != other.group
    with pytest.raises(UserError, match="cells; give 1 to"):
        grid(["CartPole-v1"], [1], [()], range(100_001))


def test_a_cell_is_a_run_of_train() -> None:
    from snn_rl.train import options_of

    cell = Cell("CartPole-v1", 2, ("prune.batch_size=8",), 3, ("--objective", "td"))
    options = options_of(cell.arguments("x", 1, "cpu"))
    assert options == Options("CartPole-v1", 2, objective="td", seed=3, out=Path("x"), recipe_set=["prune.batch_size=8"])


# One machine


def fake(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Lets cells run a script in place of a training; sys.argv[1] is the folder."""

    def popen(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        return POPEN([sys.executable, "-c", script, command[command.index("--out") + 1], *command], **options)

    monkeypatch.setattr(training.subprocess, "Popen", popen)


MAKE = "import pathlib, sys; pathlib.Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)\n"


def test_what_fails_is_said_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = MAKE + "print('snn_rl: no such thing', file=sys.stderr); sys.exit(2 if sys.argv[1].endswith('1') else 0)"
    fake(monkeypatch, script)
    cells = grid(["CartPole-v1"], [1], [()], range(3))
    runs.begin(tmp_path / "out", False)
    failed = runs.carry_out(cells, tmp_path / "out", local.Local(tmp_path / "out" / "cells", 1, 0))
    assert [(one.cell.seed, one.error) for one in failed] == [(1, "no such thing")]
    assert [runs.is_done(cell, tmp_path / "out") for cell in cells] == [True, False, True]
    assert (tmp_path / "out" / "cells" / cells[0].name / LOG).is_file()
    fake(monkeypatch, MAKE)
    assert not runs.carry_out(cells, tmp_path / "out", local.Local(tmp_path / "out" / "cells", 1, 0))
    assert runs.is_done(cells[1], tmp_path / "out")


def test_a_cell_that_is_killed_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    (outcome,) = local.Local(tmp_path, 1, 0).run(grid(["CartPole-v1"], [1], [()], [0]))
    assert outcome.error == "ended by signal 9, perhaps for lack of memory"


def test_a_sweep_that_is_ended_early_asks_its_trainings_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = MAKE + (
        "import signal, time\ndef end(*_):\n    pathlib.Path(sys.argv[1], 'checkpoint').touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end); pathlib.Path(sys.argv[1], 'begun').touch()\n"
        "if not sys.argv[1].endswith('0'): time.sleep(60)"
    )
    fake(monkeypatch, script)
    monkeypatch.setattr(local, "cores", lambda: 2)
    outcomes = local.Local(tmp_path, 1, 0).run(grid(["CartPole-v1"], [1], [()], range(5)))
    assert next(outcomes).cell.seed == 0
    begun = next(iter(tmp_path.glob("*/seed1"))) / "begun"
    while not begun.exists():
        time.sleep(0.01)
    outcomes.close()
    assert (begun.parent / "checkpoint").exists()
    assert not list(tmp_path.glob("*/seed4"))


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """The one that looks after a cell is killed: the training is not left behind."""
    script = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import os, sys, time\\n"
        "import snn_rl.sweeps.child as child, runpy\\n"
        "runpy.run_module = lambda *_, **__: (print(os.getpid(), flush=True), time.sleep(60))\\n"
        "child.main()', str(os.getpid()), 'module'], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True); os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(sweep.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    child = int(done.stdout)
    for _ in range(500):
        if not Path(f"/proc/{child}").exists() or "State:\tZ" in Path(f"/proc/{child}/status").read_text():
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def test_a_sweep_ends_in_one_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two seeds of a tiny training; the second time nothing is trained again."""
    out = tmp_path / "sweep"
    options = ["--env", "CartPole-v1", "--T", "1", "--seeds", "0..1", *TINY, "--out", str(out)]
    assert sweep.main(options) == 0
    said = capsys.readouterr().out
    assert "2 of 2" in said
    rows = json.loads((out / "report" / "summary.json").read_text())
    (row,) = [row for row in rows if row["agent"] == "T1" and row["protocol"] == "greedy"]
    assert row["training_seeds"] == 2
    assert row["return"]["over"] == "trainings"
    records = [json.loads(path.read_text()) for path in sorted(out.glob(f"cells/*/*/{DONE}"))]
    assert [record["seed"] for record in records] == [0, 1]
    with pytest.raises(UserError, match="add --resume to go on with that sweep"):
        sweep.main(options)
    before = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*/*")}
    assert sweep.main([*options, "--resume"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*/*")}


def test_a_dry_run_prints_cells_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--env", "CartPole-v1", "--T", "1", "2", "--seeds", "0..4", "--recipe-set", "prune.batch_size=8,16"]
    assert sweep.main([*options, "--out", str(tmp_path / "x"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "CartPole-v1-T2-prune.batch_size-16/seed4: at most" in said
    assert "20 cells: at most" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", "x"], "--seeds takes"),
        (["--cpus", "0"], "--cpus must be at least 1"),
        (["--gpus", "nan"], "--gpus must be a number from 0 on"),
        (["--gpus", "64"], r"a cell is to have 64 GPU\(s\), this machine has \d+; lower --gpus"),
        (["--address", "auto"], "are for --on ray"),
        (["--recipe-set", "prune.learning_rte=1"], "did you mean 'learning_rate'"),
        (["--recipe-set", "prune.learning_rate=1e-4..1e-2"], "is no value of a recipe; write it as in TOML"),
        (["--T", "-1"], "--T must be at least 1"),
        (["--search", "0", "--recipe-set", "prune.batch_size=8..16"], "--search takes a number of trials"),
        (["--search", "2"], r"--search needs something to search: give --recipe-set, as in prune\.learning_rate=1e-4\.\.1e-2"),
        (
            ["--search", "2", "--recipe-set", "prune.learning_rate=1e-2..1e-4"],
            r"is no range; write two numbers, as in 1e-4\.\.1e-2",
        ),
        (["--search", "2", "--T", "1", "2", "--recipe-set", "prune.batch_size=8..16"], "with one --env and one --T"),
    ],
)
def test_errors_are_one_sentence(options: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as raised:
        sweep.main(["--env", "CartPole-v1", "--out", str(tmp_path / "x"), *options])
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("x/cells/*"))


def test_a_folder_that_is_no_sweep_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for resume, said in ((True, "is no sweep"), (False, "exists already")):
        with pytest.raises(UserError, match=said):
            runs.begin(tmp_path, resume)
    name = runs.begin(tmp_path / "new", True)
    assert runs.begin(tmp_path / "new", True) == name
    (tmp_path / "new" / runs.SWEEP).write_text('{"name": "../../etc"}')
    with pytest.raises(UserError, match="is damaged"):
        runs.begin(tmp_path / "new", True)


# Search


def test_a_search_maximises_the_mean_return_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that returns more the closer a number is to 3, and fails at 7."""
    runs.begin(tmp_path / "out", False)
    returns: dict[str, float] = {}
    monkeypatch.setattr(search, "returned", lambda folder, T: returns.get(f"{folder.parent.name}/{folder.name}"))

    def train(cells: Sequence[Cell]) -> list[Outcome]:
        values = {cell: int(cell.settings[0].rpartition("=")[2]) for cell in cells}
        returns.update({cell.name: -abs(value - 3.0) + cell.seed for cell, value in values.items() if value != 7})
        return [Outcome(cell, "it failed") for cell, value in values.items() if value == 7]

    spaces = search.spaces_of(["prune.n=1..9"])
    base = Cell("CartPole-v1", 1, (), 0)
    for trials in (4, 12):  # the second goes on
        best, value, cells = search.search(trials, spaces, base, [0, 2], tmp_path / "out", train, 3)
    assert len({cell.name for cell in cells}) == len({cell.settings for cell in cells}) * 2
    assert value == 1 - abs(best["prune.n"] - 3)
    assert best["prune.n"] in (2, 3, 4)
    with pytest.raises(UserError, match="was begun among other settings"):
        search.search(20, search.spaces_of(["prune.n=1..8"]), base, [0, 2], tmp_path / "out", train, 3)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"no training of the last 1 trial.* succeeded: it failed"):
        search.search(
            99,
            search.spaces_of(["prune.n=7"]),
            base,
            [0],
            tmp_path / "other",
            lambda cells: [Outcome(c, "it failed") for c in cells],
            1,
        )


def test_ranges_are_searched_by_what_they_hold() -> None:
    spaces = search.spaces_of(["a.rate=1e-4..1e-2", "a.size=8..16", "a.part=0..0.5", "a.kind=x,y"])
    assert (spaces["a.rate"].low, spaces["a.rate"].high, spaces["a.rate"].log) == (1e-4, 1e-2, True)
    assert (type(spaces["a.size"]).__name__, spaces["a.size"].log) == ("IntDistribution", False)
    assert (spaces["a.part"].low, spaces["a.part"].log) == (0.0, False)
    assert spaces["a.kind"].choices == ("x", "y")


# The table


def test_the_table_counts_what_is_done_and_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = grid(["CartPole-v1"], [1, 2], [()], range(2))
    monkeypatch.setattr(progress, "returned", lambda folder, T: 10.0 * T + int(folder.name[-1]))
    now = iter(range(0, 1000, 10))
    shown = progress.Shown(cells, tmp_path, cells[:1], clock=lambda: float(next(now)))
    shown.add(Outcome(cells[1], seconds=1))
    shown.add(Outcome(cells[2], "it failed"))
    table = shown.table()
    assert "2 of 4 cells are done, about" in str(table.title)
    columns = [list(column.cells) for column in table.columns]
    assert columns == [["CartPole-v1-T1", "CartPole-v1-T2"], ["2 of 2", "0 of 2"], ["0", "1"], ["10.50", "-"]]


# Ray


def outcomes(where: on_ray.OnRay, cells: Sequence[Cell]) -> Generator[Outcome, None, None]:
    try:
        yield from where.run(cells)
    finally:
        where.close()


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match=r"no Ray cluster at 'auto'.*start one with 'ray start --head'"):
        on_ray.OnRay(tmp_path, 1, 0, "auto", None, "x")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'snn-rl\[ray\]'"):
        on_ray.OnRay(tmp_path, 1, 0, None, None, "x")
