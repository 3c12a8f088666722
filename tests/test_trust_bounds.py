"""Zips, tensors and replay buffers that ask for more than they hold, or hold more than numbers: refused, not executed."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch as th
from conftest import counts
from test_trust_zips import saved
from test_zips_refused import Exploit

from snn_rl import SpikingDQN
from snn_rl.core.errors import UserError
from snn_rl.sb3.archives import check_instructions, load_tensors, members
from snn_rl.sb3.zips import load_zip


def zip_of(path: Path, packing: int, **parts: bytes) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("_", "."), content)
    return path


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "bomb.zip", zipfile.ZIP_DEFLATED, data=b"{}", policy_pth=b"\0" * 300_000_000)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(
        UserError, match=r"unpacks to 300,000,002 bytes; more than [\d,]+, and 16,777,216 of JSON, are refused"
    ):
        load_zip(path, "CartPole-v1")
    path = zip_of(tmp_path / "json.zip", zipfile.ZIP_DEFLATED, data=b" " * (17 << 20), policy_pth=b"")
    with pytest.raises(UserError, match="unpacks to"):
        load_zip(path, "CartPole-v1")
    path = zip_of(tmp_path / "lzma.zip", zipfile.ZIP_LZMA, data=b"{}", policy_pth=b"")
    with pytest.raises(UserError, match="damaged"):
        load_zip(path, "CartPole-v1")


def test_a_part_that_says_less_than_it_unpacks_to_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "liar.zip", zipfile.ZIP_DEFLATED, data=b"{}", policy_pth=b"\0" * 50_000_000)
    path.write_bytes(path.read_bytes().replace((50_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises((UserError, zipfile.BadZipFile), match=r"damaged|CRC|another size"):
        members(path, ("data", "policy.pth"))


def stored(value: Any) -> bytes:
    th.save(value, out := io.BytesIO())
    return out.getvalue()


def test_tensors_that_ask_for_more_than_their_numbers_are_refused() -> None:
    assert load_tensors(stored({"a": th.ones(3)}))["a"].tolist() == [1, 1, 1]
    for value in (th.zeros(1).expand(2_000_000_000), [th.zeros(10_000)] * 1000, {"a": {"b": [th.zeros(1).expand(10**9)]}}):
        with pytest.raises((zipfile.BadZipFile, pickle.UnpicklingError)):
            load_tensors(stored(value))
    with (
        zipfile.ZipFile(out := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as packed,
        zipfile.ZipFile(io.BytesIO(stored({"a": th.zeros(1_000_000)}))) as plain,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(zipfile.BadZipFile):
        load_tensors(out.getvalue())


@pytest.mark.parametrize("value", [os.system, th.device("cpu"), bytearray(3), {1, 2}, th.nn.Linear(1, 1), b"x"])
def test_a_pickle_of_anything_else_is_refused_without_a_look_inside(value: Any) -> None:
    with pytest.raises(pickle.UnpicklingError):
        load_tensors(stored({"a": value}))
    with pytest.raises(pickle.UnpicklingError):
        check_instructions(pickle.dumps(print))


# Replay buffers


def test_a_replay_buffer_is_saved_without_a_pickle(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    model.save_replay_buffer(tmp_path / "buffer")
    again = SpikingDQN.load(path, env=counts(5, 7, 9), device="cpu")
    again.load_replay_buffer(tmp_path / "buffer")
    for ours, theirs in zip(again.replay_buffer.state_dict()["rings"]["frames"], model.replay_buffer.state_dict()["rings"]["frames"]):  # fmt: skip  # noqa: B905, E501
        assert th.equal(ours, theirs)
    again.learn(60)
    smaller = SpikingDQN.load(path, env=counts(5, 7, 9), device="cpu", buffer_size=300)
    smaller.load_replay_buffer(tmp_path / "buffer")
    assert smaller.replay_buffer.buffer_size == model.replay_buffer.buffer_size


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(buffer_size=10**18),
        lambda state: state.update(buffer_size=True),
        lambda state: state.update(head=state["head"] + 1),
        lambda state: state.update(next_age=-state["next_age"] - 1),
        lambda state: state["rings"].pop("reward"),
        lambda state: state["rings"]["reward"][0].fill_(float("nan")),
        lambda state: state["rings"].update(frames=[th.zeros(1)] * 3),
        lambda state: state["rings"].update(action=[ring.float() for ring in state["rings"]["action"]]),
        lambda state: state.update(rng={"bit_generator": "x"}),
        lambda state: state.clear(),
    ],
)
def test_a_replay_buffer_that_no_buffer_gave_is_refused(tmp_path: Path, change: Any) -> None:
    model, _ = saved(tmp_path)
    state = th.load(io.BytesIO(stored(model.replay_buffer.state_dict())), weights_only=True)
    change(state)
    th.save(state, tmp_path / "buffer.pkl")
    with pytest.raises(UserError) as error:
        model.load_replay_buffer(tmp_path / "buffer")
    assert "\n" not in str(error.value)


def test_a_pickled_replay_buffer_is_not_executed(tmp_path: Path) -> None:
    model, _ = saved(tmp_path)
    (tmp_path / "buffer.pkl").write_bytes(pickle.dumps(Exploit(tmp_path / "hacked")))
    with pytest.raises(
        UserError,
        match=r"it was not executed; if you trust it, give load_replay_buffer\(\.\.\., trust=True\), and save_replay",
    ):
        model.load_replay_buffer(tmp_path / "buffer")
    assert not (tmp_path / "hacked").exists()
    with pytest.raises(UserError, match="no file"):
        model.load_replay_buffer(tmp_path / "nothing")
