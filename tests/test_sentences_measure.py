"""What is said of results that cannot be reported, and of plays that cannot be shown: the file, and the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from gymnasium import spaces
from test_dead_ends import shows
from test_probe import agent as probed
from test_probe import episodes
from test_report import SNN_ENERGY, agent
from test_technology import MINE
from test_video import cartpole, pong

from snn_rl import probe, report
from snn_rl.core.errors import UserError
from snn_rl.measure import ridge, technology
from snn_rl.measure.panel import Panel
from snn_rl.measure.stats import iqm, paired
from snn_rl.measure.video import record
from snn_rl.tasks.rollout import Decision, Start


def reported(where: Path, out: Path) -> str:
    """What the command says of results."""
    with pytest.raises(UserError) as error:
        report.main([str(where), "--out", str(out)])
    assert not (out / "summary.json").exists()
    return str(error.value)


def test_results_that_cannot_be_reported_say_what_to_do(tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = "' holds no agents: give an agent's folder (with a card.json), a run's, or a shipped name"
    assert reported(tmp_path / "absent", out) == f"'{tmp_path / 'absent'}{told}"
    one = agent(tmp_path / "unscored", "T1", 1, {"greedy": [1.0]}, measured=False)
    told = f"the agent in '{one}' has no scores; run python -m snn_rl.evaluate '{one}' --save first"
    assert reported(one, out) == told
    one = agent(tmp_path / "alone", "T1", 1, {"greedy": [1.0]})
    card = json.loads((one / "card.json").read_text())
    card["scores"]["sticky 0.25"] = card["scores"]["greedy"]
    (one / "card.json").write_text(json.dumps(card))
    assert reported(one, out) == f"'{one}' has a score for 'sticky 0.25' without its episodes; run evaluate --save again"
    one = agent(tmp_path / "free", "T1", 1, {"greedy": [1.0]}, energy=SNN_ENERGY | {"snn_uj": 0.0})
    told = "an agent's energy.snn_uj is 0, which no energy can be compared with; evaluate it again"
    assert reported(one, out) == told
    out.mkdir()
    (out / "report.md").write_text("mine")
    told = f"'{out}' holds a report.md that is not from here; choose another --out"
    assert reported(agent(tmp_path / "one", "T1", 1, {"greedy": [1.0]}), out) == told
    assert (out / "report.md").read_text() == "mine"


def test_statistics_of_what_is_not_there_are_errors() -> None:
    with pytest.raises(ValueError, match="no values: a statistic of nothing is an error, not 0"):
        iqm([])
    with pytest.raises(ValueError, match="values must be finite"):
        iqm([1.0, float("nan")])
    with pytest.raises(ValueError, match="paired differences need the same episodes on both sides, got 2 and 1"):
        paired([[1.0, 2.0]], [[1.0]])


def test_a_price_list_with_an_unknown_key_says_which_there_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{MINE}\ncolour = 3\n")
    with pytest.raises(UserError, match=r"^'.*mine\.toml' has the unknown key 'colour'; a price list has name, mac_pj, ac_pj"):
        technology.load(path)


def test_what_cannot_be_probed_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^a linear probe needs at least 3 episodes, got 2$"):
        ridge.fit(episodes(2, 2), [np.zeros(40)] * 2)
    told = r"^the hidden quantity never changes in these episodes; play more of them \(--episodes\)$"
    with pytest.raises(UserError, match=told):
        ridge.fit(episodes(3, 2), [np.zeros(40)] * 3)
    silent = str(probed(tmp_path / "T1", carry=False))
    with pytest.raises(
        UserError, match=r"carries no membranes from step to step: there is nothing to read; give one that does$"
    ):
        probe.main([silent, "--out", str(tmp_path / "out")])


def test_an_environment_without_pictures_says_what_to_leave_out() -> None:
    blind: Any = shows(spaces.Box(-1, 1, (4,)))
    blind.render = lambda: np.zeros(3)  # a line, and no picture
    with pytest.raises(
        UserError, match=r"^'CartPole-v1' cannot be filmed: it has no render mode rgb_array; leave --video out$"
    ):
        Panel(cartpole(1), blind).draw(cast(Decision, None))


def test_a_video_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    one, start, path = cartpole(1), Start(0, None), tmp_path / "a.mp4"
    with pytest.raises(UserError, match=r"^a video shows one agent, or two side by side; got 3$"):
        record([one] * 3, start, path)
    told = "^agents side by side must play the same environment, got CartPole-v1 and PongNoFrameskip-v4$"
    with pytest.raises(UserError, match=told):
        record([one, pong(1)], start, path)
    with pytest.raises(UserError, match=r"^max_steps must be at least 1, got 0$"):
        record([one], start, path, max_steps=0)
    assert not list(tmp_path.iterdir())
