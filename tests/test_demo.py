"""The demo plays agents from the same starts and leaves a table, a video and plots."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from snn_rl import demo
from snn_rl.measure.side_by_side import side_by_side, table
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe


def test_the_table_compares_energy_with_the_first_agent() -> None:
    players = [agents.load(f"CartPole-v1/{name}") for name in ("ann", "T1")]
    scores = side_by_side(players, load_recipe("CartPole-v1"), 2, progress=False)
    assert [(score.T, score.returns.mean) for score in scores] == [(0, 500), (1, 500)]
    shown = table(scores, "title")
    cells = {str(column.header): list(column.cells) for column in shown.columns}
    assert cells["agent"] == ["ANN", "SNN, T=1"]
    assert cells["min .. max"] == ["500 .. 500"] * 2
    assert cells["spikes per neuron"][0] == "-"
    ann, snn = (score.uj for score in scores)
    assert ann is not None
    assert snn is not None
    assert cells["times less"] == ["1.00", f"{ann / snn:.2f}"]
    unmeasured = [dataclasses.replace(score, energy=None) for score in scores]
    assert list(table(unmeasured, "").columns[-1].cells) == ["-", "-"]


def test_the_demo_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "ENV", "CartPoleNoVel-v1")
    monkeypatch.setattr(demo, "AGENTS", ("ann", "ann"))  # it falls after some 40 steps
    assert demo.main(["--out", str(tmp_path / "demo"), "--episodes", "1"]) == 0
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {demo.VIDEO, "report.md", "reward_vs_T.png"} <= written
    assert "1 whole game each" in capsys.readouterr().out


def test_any_two_agents_are_compared_as_the_demo_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["CartPoleNoVel-v1/ann", "CartPoleNoVel-v1/T1-zeroed"]
    assert demo.main(["--compare", *pair, "--out", str(tmp_path / "both"), "--episodes", "2"]) == 0
    assert [path.name for path in (tmp_path / "both").iterdir()] == [demo.COMPARED]
    said = capsys.readouterr().out
    assert "CartPoleNoVel-v1, 2 whole games each" in said
    assert str(tmp_path / "both" / demo.COMPARED) in said
    with pytest.raises(SystemExit):
        demo.main(["--compare", pair[0]])
