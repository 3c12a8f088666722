"""Damaged and hostile files: told in one sentence, within bounds, and never loaded as something else."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch as th
from conftest import conv_spec, lively, mlp_spec, posix
from safetensors.torch import load_file, save_file

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.outline import outline
from snn_rl.store import agents, bounded, integrity
from snn_rl.store.agents import CARD, EPISODES, WEIGHTS, Agent
from snn_rl.store.card import read
from snn_rl.store.files import data_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = lively(QNetwork(conv_spec(), T=2, input_scale=0.5), decay=0.7)
    return agents.save(Agent("CartPole-v1", "T2", network, (1, 8, 8)), tmp_path / "agent")


def said(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        agents.load(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    return str(error.value)


def unsealed(folder: Path, **changes: Any) -> None:
    """Changes a card as its author could: without its sums."""
    card = json.loads((folder / CARD).read_text()) | changes
    (folder / CARD).write_text(json.dumps({key: value for key, value in card.items() if key not in ("files", "sha256")}))


# Sums


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", [WEIGHTS, EPISODES, CARD])
def test_a_flipped_bit_is_found_wherever_it_is(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    before = json.loads((folder / CARD).read_text())
    for bit in range(0, 8 * len(content), max(8 * len(content) // 300, 1) | 1):
        (folder / name).write_bytes(flipped(content, bit))
        try:
            found = agents.load(folder)
        except UserError:
            continue
        assert name == CARD
        assert json.loads((folder / CARD).read_text()) == before  # a blank between two numbers may be another blank
        assert found.network.T == 2


@pytest.mark.parametrize("name", [WEIGHTS, EPISODES, CARD])
def test_a_flipped_bit_in_a_shipped_agent_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shutil.copytree(data_folder("agents") / "CartPole-v1" / "T1", tmp_path / "agents" / "CartPole-v1" / "T1")
    shutil.copy(data_folder("agents") / integrity.LIST, tmp_path / "agents")
    monkeypatch.setattr(integrity, "data_folder", lambda name: tmp_path / name)
    folder = tmp_path / "agents" / "CartPole-v1" / "T1"
    assert agents.load(folder).network.T == 1
    (folder / name).write_bytes(flipped((folder / name).read_bytes(), 9999))
    assert "not as it was shipped" in said(folder)


def test_every_file_of_the_catalogue_is_listed() -> None:
    root = data_folder("agents")
    listed = dict(reversed(line.split("  ")) for line in (root / integrity.LIST).read_text().splitlines())
    files = {str(path.relative_to(root)): path for path in root.glob("*/*/*")}
    assert listed == {name: integrity.digest(path.read_bytes()) for name, path in files.items()}


def test_an_agent_that_is_scored_again_is_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(data_folder("agents") / "CartPole-v1" / "T1", tmp_path / "agents" / "CartPole-v1" / "T1")
    shutil.copy(data_folder("agents") / integrity.LIST, tmp_path / "agents")
    monkeypatch.setattr(integrity, "data_folder", lambda name: tmp_path / name)
    agent = agents.load(tmp_path / "agents" / "CartPole-v1" / "T1")
    agent.episodes = agent.episodes[:5]
    agents.save_scores(agent)
    assert len(agents.load(agent.path or "").episodes) == 5


def test_a_card_that_was_changed_by_hand_says_what_to_do(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"carry": False}))
    assert "if you changed it yourself, remove 'sha256' and 'files'" in said(folder)
    (folder / CARD).write_text(json.dumps({key: value for key, value in card.items() if key != "sha256"}))
    assert "not as it was written" in said(folder)
    unsealed(folder, carry=False)
    assert not agents.load(folder).network.carry


def test_an_older_card_without_sums_is_read(folder: Path) -> None:
    unsealed(folder)
    assert read(folder)[0].files is None
    assert agents.load(folder).network.T == 2


# Bounds


@posix
@pytest.mark.parametrize("name", [CARD, EPISODES, WEIGHTS])
@pytest.mark.parametrize("kind", ["a FIFO", "a folder", "a device", "a socket"])
def test_what_is_no_file_is_refused_and_not_waited_for(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    path.unlink()
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path must be short
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(name)
        finally:
            os.chdir(here)
    with pytest.raises(UserError, match=f"is not an agent|{kind} where a file is expected"):
        agents.load(folder)


def test_a_file_that_is_too_large_is_not_read(folder: Path) -> None:
    for name in (WEIGHTS, EPISODES, CARD):
        with (folder / name).open("r+b") as file:
            file.truncate(10**10)  # a hole: it takes no place
        assert f"{name}' has 10,000,000,000 bytes" in said(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 100 + b"]" * 100, "more than 64 deep"),
        (b"[" * 10**5 + b"]" * 10**5, "more than 64 deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "more than 64 deep"),
        (b"[" + b"[]," * 1_000_001 + b"1]", "more than 1,000,000 lists"),
        (b"[" + b"1," * 3_000_001 + b"1]", "more than 3,000,000 values"),
        (b" " * (17 << 20), "more than 16,777,216"),
    ],
)
def test_json_is_bounded(text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bounded.parse_json(text)


def test_json_that_is_not_too_deep_is_read() -> None:
    assert bounded.parse_json(b'{"a": [1, "[[[{{{", {"b": null}]}') == {"a": [1, "[[[{{{", {"b": None}]}
    assert bounded.parse_json(b"[" * 64 + b"]" * 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"T": 1001}, "T must be between 0 and 1000"),
        ({"frames": 65}, "frames must be between 1 and 64"),
        ({"network": [{"type": "Flatten"}] * 300}, "300 layers"),
        ({"frames": 3}, "observation_shape has 1 rows, which are no 3 frames"),
        ({"T": True}, "T must be a whole number, got true"),
        ({"input_scale": 10**400}, "input_scale must be finite"),
        ({"v_th": [10**400, 1, 1]}, "v_th[0] must be finite"),
        ({"input_scale": 0}, "input_scale must be above 0"),
        ({"input_scale": 1e999}, "input_scale must be finite"),
        ({"v_th": [-1, 1, 1]}, r"v_th[0] must be above 0"),
        ({"v_th": [1.0, 0.2, 0.2]}, "v_th[0] in card.json is not that of weights.safetensors"),
        ({"v_th": [0.2]}, "v_th has 1 layers in card.json, the network has 3"),
        ({"decay": [0.7, 0.7, 0.6]}, "decay[2] in card.json is not that"),
        ({"T": 0}, "'neurons.0.log_v_th' is not in the network"),
        ({"observation_shape": [1, 10**6, 10**6]}, "observation_shape is not that of a vector or an image"),
        ({"observation_shape": [1, 9999, 9999]}, "network"),
    ],
)
def test_a_value_that_cannot_be_names_its_field(folder: Path, changes: dict[str, Any], message: str) -> None:
    unsealed(folder, **changes)
    assert message in said(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"padding_mode": "circular"}, {"device": "cuda"}, {"dtype": "float16"}, {"kernel_size": True}, {"bias": 1},
        {"stride": [2]}, {"stride": 0}, {"padding": "reflect"}, {"groups": [1, 1]}, {"out_channels": 10**9},
        {"type": "Conv3d"}, {"dilation": 2.0}, {"in_channels": None}, {"decays": 4},
    ],
)  # fmt: skip
def test_what_no_layer_says_is_refused_by_name(folder: Path, change: dict[str, Any]) -> None:
    spec = conv_spec()
    spec[0] = {**spec[0], **change}
    unsealed(folder, network=spec)
    assert "network[0]" in said(folder)
    assert outline(conv_spec(), 2, 1.0, True, (1, 8, 8)).synapses[0][0].weight.is_meta


def test_a_network_that_would_fill_the_memory_is_not_built(folder: Path) -> None:
    unsealed(folder, network=mlp_spec(10**8, 10**8, 10**8, 2), observation_shape=[10**8], v_th=[], decay=[], T=0)
    assert "more than 10,000,000 neurons" in said(folder)
    unsealed(folder, network=mlp_spec(10**6, 10**6, 2), observation_shape=[10**6], v_th=[], decay=[], T=0)
    assert "its layers are not those of the weights" in said(folder)


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header"), (b"\xff" * 8, "header"), ((10**8).to_bytes(8, "little") + b"x" * 100, "header"),
        (header(a=1), "'a' has no shape"), (header(a={"dtype": "F32", "shape": [-1]}), "'a' has no shape"),
        (header(a={"dtype": "F32", "shape": [True]}), "'a' has no shape"),
        (header(a={"dtype": "I64", "shape": [1]}), "'a' holds I64"),
        (header(a={"dtype": "F32", "shape": [10**7]}), "says 40,000,000 bytes of tensors and has 0"),
        (header(a={"dtype": "F16", "shape": [10**8]}), "100,000,000 weights; more than 40,000,000 are refused"),
        ((2).to_bytes(8, "little") + b"[]", "no header"),
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_its_file_is_refused(folder: Path, content: bytes, message: str) -> None:
    unsealed(folder)
    (folder / WEIGHTS).write_bytes(content)
    assert message in said(folder)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (",,0,,0,0,0\r" * 500_001, "more than 500,000 rows"),
        (",greedy,-1,,0,0,5\n", "has the number -1"),
        (",greedy,0,-2,0,0,5\n", "has the number -2"),
        (",greedy,0,,0,0,-3\n", "has the number -3"),
        (",greedy,0,,0,nan,3\n", "a return is nan"),
    ],
)
def test_episodes_that_nobody_played_are_refused(folder: Path, lines: str, message: str) -> None:
    unsealed(folder)
    (folder / EPISODES).write_text((folder / EPISODES).read_text() + lines)
    assert message in said(folder)


def test_a_threshold_beyond_all_numbers_is_refused(folder: Path) -> None:
    unsealed(folder)
    weights = load_file(folder / WEIGHTS)
    for value in (200.0, -200.0):
        weights["neurons.1.log_v_th"] = th.tensor(value)
        save_file(weights, folder / WEIGHTS)
        assert "neurons.1.log_v_th" in said(folder)
