"""Today's agents and files are read by every later version, and play as they did."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env

from snn_rl import SpikingDQN, load_agent
from snn_rl.core.errors import UserError
from snn_rl.store.agents import CARD, WEIGHTS
from snn_rl.store.integrity import digest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import fixtures

FILES = fixtures.FIXTURES / "files"
RECORD: dict[str, Any] = json.loads((fixtures.FIXTURES / "shipped.json").read_text(encoding="utf-8"))


def test_every_agent_plays_as_it_did() -> None:
    """To the last bit on the machine that recorded it; another rounds otherwise. What was replaced since is another agent."""
    same = 0
    for name, before in RECORD["agents"].items():
        agent = load_agent(name)
        if agent.path is None or digest((agent.path / WEIGHTS).read_bytes()) != before["weights"]:
            continue
        now, same = fixtures.replay(agent), same + 1
        other = sum(one != two for one, two in zip(now["actions"], before["actions"], strict=True))
        assert other <= 1, name  # where two values are all but the same
        assert now["values"] == pytest.approx(before["values"], rel=1e-3, abs=1e-3), name
        assert now["spikes"] == pytest.approx(before["spikes"], rel=0.01, abs=3), name
        if fixtures.machine() == RECORD["machine"]:
            assert now["bits"] == before["bits"], name
    assert same >= 20, "agents were replaced: run tools/fixtures.py, and say so"


def test_an_agent_of_integers_of_today_is_read_and_decides_the_same_everywhere() -> None:
    for engine in ("torch", "event"):
        assert fixtures.decisions(load_agent(FILES / "T2-int8", engine=engine)) == RECORD["integers"]
    assert load_agent(FILES / "T2").network.T == 2


def test_a_learner_of_today_is_loaded_and_learns_on(tmp_path: Path) -> None:
    model = SpikingDQN.load(FILES / "learner", env=make_vec_env("CartPole-v1", 1), device="cpu")
    model.load_replay_buffer(FILES / "buffer")
    assert (model.num_timesteps, model.replay_buffer.size()) == (32, 32)
    network, other = model.policy.q_net.network, load_agent(FILES / "T2").network
    for key, value in other.state_dict().items():
        assert th.equal(value, network.state_dict()[key])
    model.learn(16, reset_num_timesteps=False)
    assert model.num_timesteps == 48
    assert load_agent(FILES / "learner.zip", "CartPole-v1").network.T == 2


@pytest.mark.parametrize("number", [99, 0, "2", True, None])
def test_an_unknown_format_is_refused_by_name(tmp_path: Path, number: object) -> None:
    shutil.copytree(FILES / "T2", tmp_path / "T2")
    card = json.loads((tmp_path / "T2" / CARD).read_text(encoding="utf-8")) | {"format": number}
    card = {key: value for key, value in card.items() if key not in ("files", "sha256")}
    (tmp_path / "T2" / CARD).write_text(json.dumps(card), encoding="utf-8")
    if number is not None:  # a key that is null is one that is missing
        with pytest.raises(UserError, match=r"has format (99|0); this version of snn_rl reads 1 and 2|format must be"):
            load_agent(tmp_path / "T2")
    state = th.load(FILES / "buffer.pkl", weights_only=True)
    th.save(state | {"format": number}, tmp_path / "buffer.pkl")
    with pytest.raises(UserError, match=f"has format {number}; this version of snn_rl reads 1"):
        SpikingDQN.load(FILES / "learner", device="cpu").load_replay_buffer(tmp_path / "buffer")
    from test_trust_learners import changed

    shutil.copy(FILES / "learner.zip", tmp_path)
    changed(tmp_path / "learner.zip", "data", lambda data: data["plain_settings"].update(format=number))
    with pytest.raises(UserError, match=f"has format {number}; this version of snn_rl reads 1"):
        SpikingDQN.load(tmp_path / "learner", device="cpu")
