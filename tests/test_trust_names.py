"""What a file names is not run: no module is imported, and what it says cannot steer a terminal, a table or a plot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snn_rl import evaluate, list_agents, load_agent, report, train
from snn_rl.console import run
from snn_rl.core.errors import UserError
from snn_rl.measure import technology
from snn_rl.store import agents
from snn_rl.store.agents import CARD
from snn_rl.tasks.recipe_files import read_recipe


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that can be imported, and leaves a file behind if it is."""
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "planted", raising=False)
    return tmp_path / "executed"


def changed(folder: Path, **changes: Any) -> Path:
    """A shipped agent whose card its author changed."""
    agents.save(agents.load("CartPole-v1/T1"), folder)
    card = json.loads((folder / CARD).read_text()) | changes
    (folder / CARD).write_text(json.dumps({key: value for key, value in card.items() if key not in ("files", "sha256")}))
    return folder


def test_the_module_before_an_environment_in_a_card_is_not_imported(tmp_path: Path, module: Path) -> None:
    folder = changed(tmp_path / "agent", env="planted:CartPole-v1")
    with pytest.raises(UserError, match="env must be an id without a module, got 'planted:CartPole-v1'"):
        load_agent(folder)
    with pytest.raises(UserError, match="env must be an id without a module"):
        evaluate.main([str(folder), "--episodes", "1"])
    assert not module.exists()


def test_the_module_that_a_card_names_is_not_imported(tmp_path: Path, module: Path) -> None:
    agent = load_agent(changed(tmp_path / "agent", module="planted", env="Planted-v0"))
    agent.predict(np.zeros(4, np.float32))
    with pytest.raises(
        UserError, match="is registered by the module 'planted': import it first, or give --env planted:Planted-v0"
    ):
        evaluate.main([str(tmp_path / "agent"), "--episodes", "1"])
    assert not module.exists()


@pytest.mark.parametrize("key", ["teacher", "base", "id"])
def test_the_module_before_an_environment_in_a_recipe_is_not_imported(tmp_path: Path, module: Path, key: str) -> None:
    (tmp_path / "envs").mkdir()
    written = {"id": "CartPole-v1"} | {key: "planted:CartPole-v1"}
    (tmp_path / "envs" / "CartPole-v1.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in written.items()))
    with pytest.raises(UserError, match=f"'{key}' names a module, which no file may; give it as --env MODULE:ID"):
        train.main(["--env", "CartPole-v1", "--dry-run"])
    assert not module.exists()


def test_what_a_message_quotes_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(argv: object) -> int:
        raise UserError("the file says \x1b[2J\x07 and \x9b1m")

    with pytest.raises(SystemExit):
        run(refuse, [])
    assert capsys.readouterr().err == "snn_rl: the file says \\x1b[2J\\x07 and \\x9b1m\n"


@pytest.mark.parametrize("text", ['"\\u001b[2J\\n" = 1', "a" * 9000 + " = 1"])
def test_an_unknown_key_is_quoted_in_one_short_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    for read in (read_recipe, lambda path: technology.price_list(str(path))):
        with pytest.raises(UserError) as error:
            read(tmp_path / "x.toml")
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 600


def test_a_name_that_is_no_path_is_no_agent() -> None:
    for name in ("x" * 5000, "a/" * 3000):
        with pytest.raises(UserError, match="is no agent: "):
            load_agent(name)
    assert list_agents("CartPole-v1/T1")


def test_a_report_takes_names_as_they_are(tmp_path: Path) -> None:
    """A formula that is none; an energy of nothing is refused, by which nothing can be divided."""
    folder = changed(tmp_path / "agents" / "T1", name="$\\frac{$x$$")
    assert report.main([str(tmp_path / "agents"), "--out", str(tmp_path / "out")]) == 0
    assert "$\\frac{$x$$" in (tmp_path / "out" / "report.md").read_text()
    card = json.loads((folder / CARD).read_text())
    card["scores"]["greedy"]["energy"]["snn_uj"] = 0
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"energy\.snn_uj is 0"):
        report.main([str(tmp_path / "agents"), "--out", str(tmp_path / "out")])
