"""Agents as files for other tools: what is read back is the same agent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch as th

from snn_rl import SpikingDQN, UserError, export, load_agent


def test_a_zip_holds_the_same_agent(tmp_path: Path) -> None:
    out = tmp_path / "model.zip"
    assert export.main(["CartPole-v1/T1", "--to", "zip", "--out", str(out)]) == 0
    shipped = load_agent("CartPole-v1/T1").network.state_dict()
    again = load_agent(out, "CartPole-v1").network.state_dict()
    assert all(th.equal(again[name], values) for name, values in shipped.items())
    assert SpikingDQN.load(out).T == 1


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "model.zip"
    out.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        export.main(["CartPole-v1/T1", "--to", "zip", "--out", str(out)])
    assert out.read_text() == "mine"
