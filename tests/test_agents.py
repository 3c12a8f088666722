"""Agent folders: whole or not there, the same after loading, and clear about what is wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec, score
from safetensors.torch import load_file, save_file

import snn_rl.train
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store import agents, files, provenance
from snn_rl.store.agents import CARD, EPISODES, WEIGHTS, Agent
from snn_rl.store.card import Made
from snn_rl.store.episodes import FIELDS, Episode


def make(T: int = 2, **kwargs: Any) -> Agent:
    network = lively(QNetwork(conv_spec(), T=T, input_scale=0.5, carry=False), decay=0.7)
    episode = Episode(1, "greedy", 1, 1, 1, 1.0, 1)
    made = Made(how="by hand")
    return Agent("CartPole-v1", "T2", network, (1, 8, 8), 1, made, {"greedy": score(T=T)}, [episode], **kwargs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return agents.save(make(), tmp_path / "sub" / "agent")


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("T", [0, 2])
def test_a_loaded_agent_is_the_agent_that_was_saved(tmp_path: Path, T: int) -> None:
    agent = make(T)
    assert agents.save(agent, tmp_path / "agent") == agent.path == tmp_path / "agent"
    again = agents.load(tmp_path / "agent")
    observations = th.randn(5, 4, 1, 8, 8)
    assert th.equal(agent.network.unroll(observations)[0], again.network.unroll(observations)[0])
    for name in ("env", "name", "observation_shape", "frames", "made", "scores", "episodes", "path", "label"):
        assert getattr(again, name) == getattr(agent, name)
    for name in ("T", "carry", "input_scale", "spec"):
        assert getattr(again.network, name) == getattr(agent.network, name)


def test_an_agent_that_is_saved_again_is_the_same_folder(folder: Path, tmp_path: Path) -> None:
    agents.save(agents.load(folder), tmp_path / "copy")
    assert listing(folder) == listing(tmp_path / "copy")


def test_a_folder_holds_three_files_that_people_and_machines_can_read(folder: Path) -> None:
    assert set(listing(folder)) == {CARD, WEIGHTS, EPISODES}
    card = json.loads((folder / CARD).read_text())
    assert (card["T"], card["carry"], card["frames"], card["observation_shape"]) == (2, False, 1, [1, 8, 8])
    assert card["v_th"] == pytest.approx([0.2] * 3)
    assert card["decay"] == pytest.approx([0.7] * 3)
    assert (folder / EPISODES).read_text().splitlines()[0] == ",".join(FIELDS)


def test_in_half_precision_what_is_scored_is_what_is_stored(tmp_path: Path) -> None:
    agent = make()
    before = {key: value.clone() for key, value in agent.network.state_dict().items()}
    agents.save(agent, tmp_path / "half", half=True)
    again = agents.load(tmp_path / "half")
    for key, value in agent.network.state_dict().items():
        assert value.dtype == th.float32
        assert th.equal(value, again.network.state_dict()[key])
        assert th.equal(value, before[key].half().float())
    assert {t.dtype for t in load_file(tmp_path / "half" / WEIGHTS).values()} == {th.float16}
    assert any(not th.equal(value, before[key]) for key, value in agent.network.state_dict().items())


def test_in_half_precision_a_weight_beyond_its_range_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    agent = make()
    with th.no_grad():
        agent.network.synapses[0][0].weight[0] = 1e6  # above 65,504, half precision has only infinity
    with pytest.raises(UserError, match="half precision"):
        agents.save(agent, tmp_path / "half", half=True)
    assert list(tmp_path.iterdir()) == []


def test_networks_that_decide_differently_have_other_fingerprints() -> None:
    def fingerprint(T: int = 2, input_scale: float = 0.5, carry: bool = True, **weights: float) -> str:
        network = lively(QNetwork(conv_spec(), T, input_scale, carry))
        with th.no_grad():
            for name, parameter in network.named_parameters():
                parameter.fill_(weights.get(name.replace(".", "_"), 0.25))
        return agents.fingerprint(network)

    assert fingerprint() == fingerprint()
    others = [fingerprint(T=1), fingerprint(T=0), fingerprint(input_scale=1.0), fingerprint(carry=False)]
    others.append(fingerprint(synapses_1_0_bias=0.5))
    assert len({fingerprint(), *others}) == 6
    assert fingerprint(T=0, carry=False) == fingerprint(T=0)  # an ANN has nothing to carry


def test_an_existing_folder_is_refused_and_kept(folder: Path) -> None:
    before = listing(folder)
    with pytest.raises(UserError, match=r"exists already; choose another --out"):
        agents.save(make(), folder)
    with pytest.raises(UserError, match=r"exists already; choose another --out"):
        files.check_new(folder)
    assert listing(folder) == before


def test_an_existing_folder_is_replaced_on_request(folder: Path) -> None:
    agent = make(T=1)
    agents.save(agent, folder, replace=True)
    assert agents.load(folder).network.T == 1
    assert set(listing(folder.parent)) == {f"agent/{name}" for name in (CARD, WEIGHTS, EPISODES)}


@pytest.mark.parametrize("replace", [True, False])
def test_a_write_that_fails_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch, replace: bool) -> None:
    before = listing(folder.parent)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        agents.save(make(T=1), folder if replace else folder.with_name("other"), replace=replace)
    assert listing(folder.parent) == before
    assert [p.name for p in folder.parent.iterdir()] == ["agent"]


def test_a_number_that_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    agent = make()
    agent.scores = {"greedy": score(mean=float("nan"))}
    with pytest.raises(ValueError, match="JSON"):
        agents.save(agent, tmp_path / "agent")
    assert list(tmp_path.iterdir()) == []


def test_a_command_is_what_a_user_would_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for program, command in {
        snn_rl.train.__file__: "python -m snn_rl.train --T 1",
        "/somewhere/own.py": "python own.py --T 1",
        "/usr/bin/snn-rl": "snn-rl --T 1",
    }.items():
        monkeypatch.setattr(sys, "argv", [program, "--T", "1"])
        assert provenance.command() == command


def edit(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / CARD).read_text())
    card.update(changes)
    card = {key: value for key, value in card.items() if value is not Ellipsis and key not in ("files", "sha256")}
    (folder / CARD).write_text(json.dumps(card))


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / CARD).write_text((f / CARD).read_text()[:100]),
        lambda f: (f / CARD).write_text("[]"),
        lambda f: (f / CARD).write_text("null"),
        lambda f: (f / CARD).write_bytes(b"\xff\xfe"),
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-20]),
        lambda f: (f / WEIGHTS).write_bytes(b""),
        lambda f: (f / WEIGHTS).unlink(),
        lambda f: (f / EPISODES).unlink(),
        lambda f: save_file({"a": th.zeros(1)}, f / WEIGHTS),
        lambda f: edit(f, network=mlp_spec(3, 3, 2)),
        lambda f: edit(f, network=[{"kind": "Linear"}]),
        lambda f: edit(f, network="Linear"),
        lambda f: edit(f, T="two"),
        lambda f: edit(f, T=-1),
        lambda f: edit(f, frames=...),
        lambda f: edit(f, observation_shape=3),
        lambda f: edit(f, observation_shape=[5]),
        lambda f: edit(f, T=1.0),
        lambda f: edit(f, env=3),
        lambda f: edit(f, input_scale="1"),
        lambda f: edit(f, made={"from": "ann"}),
        lambda f: edit(f, scores={"greedy": {}}),
        lambda f: (f / EPISODES).write_text(",".join(FIELDS) + "\n0,greedy,0,,0,many,1\n"),
        lambda f: (f / EPISODES).write_text(",".join(FIELDS) + "\n0,greedy\n"),
        lambda f: (f / EPISODES).write_text("one,two\n1,2\n"),
    ],
)
def test_a_damaged_folder_is_one_line_that_names_it(folder: Path, damage: Any) -> None:
    damage(folder)
    with pytest.raises(UserError) as error:
        agents.load(folder)
    assert str(folder) in one_line(error)


def test_another_format_is_told(folder: Path) -> None:
    edit(folder, format=3)
    with pytest.raises(UserError, match="has format 3; this version of snn_rl reads 1 and 2") as error:
        agents.load(folder)
    assert str(folder) in one_line(error)


def test_a_card_of_the_first_format_whose_spiking_neurons_are_called_relu_is_the_same_agent(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    assert card["format"] == 2
    older = [{**layer, "type": "ReLU"} if layer["type"] == "LIF" else layer for layer in card["network"]]
    assert older != card["network"]
    before = agents.fingerprint(agents.load(folder).network)
    edit(folder, format=1, network=older)
    again = agents.load(folder)
    assert agents.fingerprint(again.network) == before
    assert again.card().sealed(card["files"]).to_json() == card


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error(folder: Path, value: float) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["synapses.1.0.bias"][0] = value
    save_file(weights, folder / WEIGHTS)
    edit(folder)  # without the sums, which would tell first
    with pytest.raises(UserError, match=r"not finite \(first in 'synapses\.1\.0\.bias'\)") as error:
        agents.load(folder)
    assert str(folder) in one_line(error)


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_an_interrupt_while_replacing_leaves_an_agent(folder: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    calls: list[Any] = []
    replace = os.replace

    def interrupted(*args: Any) -> None:
        calls.append(args)
        if len(calls) == failing:
            raise KeyboardInterrupt
        replace(*args)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        agents.save(agents.load(folder), folder, replace=True)
    monkeypatch.undo()
    assert agents.load(folder).name == make().name
    assert set(listing(folder.parent)) == {f"agent/{name}" for name in (CARD, WEIGHTS, EPISODES)}


def test_storing_scores_leaves_the_weights_untouched(folder: Path) -> None:
    before = (folder / WEIGHTS).read_bytes()
    agent = agents.load(folder)
    agent.scores = {"greedy": score(2.5)}
    agents.save_scores(agent)
    assert (folder / WEIGHTS).read_bytes() == before
    assert agents.load(folder).scores == {"greedy": score(2.5)}


def test_storing_scores_keeps_what_a_newer_version_wrote(folder: Path) -> None:
    edit(folder, new="later", made={"how": "by hand", "why": "later too"})
    agents.save_scores(agents.load(folder))
    card = json.loads((folder / CARD).read_text())
    assert (card["new"], card["made"]) == ("later", {"how": "by hand", "why": "later too"})
