"""What is said of files that cannot be read: the file, what is wrong with it, the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch as th
from safetensors.torch import load_file, save_file
from test_trust import folder, said, unsealed

from snn_rl import load_agent
from snn_rl.core.errors import UserError
from snn_rl.measure import technology
from snn_rl.store import integrity
from snn_rl.store.agents import CARD, EPISODES, WEIGHTS
from snn_rl.store.bounded import content, parse_json
from snn_rl.store.checkpoints import States, older
from snn_rl.store.files import begin_run
from snn_rl.store.lock import Lock
from snn_rl.store.work import Work
from snn_rl.tasks.recipe_files import read_recipe

__all__ = ["folder"]
RESTORE = "); restore the folder or make it anew"
COLUMNS = "training_seed, protocol, episode, start, seed, return, length"


def damaged(folder: Path, reason: str) -> str:
    return f"the agent in '{folder}' is damaged ({reason}{RESTORE}"


# An agent's folder


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", f"episodes.csv has other columns than {COLUMNS}"),
        ("", f"episodes.csv has other columns than {COLUMNS}"),
        (f"{COLUMNS.replace(' ', '')}\n1,greedy\n", "a line of episodes.csv has 2 cells instead of 7"),
        (f"{COLUMNS.replace(' ', '')}\n" + "x" * 200_000, "episodes.csv is no CSV (field larger than field limit (131072))"),
        (f"{COLUMNS.replace(' ', '')}\n" + "\n" * 500_001, "episodes.csv has more than 500,000 rows"),
    ],
    ids=range(5),
)
def test_episodes_that_cannot_be_read_say_why(folder: Path, text: str, reason: str) -> None:
    unsealed(folder)
    (folder / EPISODES).write_text(text)
    assert said(folder) == damaged(folder, reason)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (b"\xff" * 8, f"weights.safetensors has a header of {2**64 - 1:,} bytes; it is truncated or damaged"),
        ((2).to_bytes(8, "little") + b"[]", "weights.safetensors has no header"),
        (
            b'\x1a\0\0\0\0\0\0\0{"a":{"dtype":"I64","shape":[1]}}'.replace(b"\x1a", bytes([33])),
            "weights.safetensors: 'a' holds I64; weights are ",
        ),
    ],
)
def test_weights_that_cannot_be_read_say_why(folder: Path, written: bytes, reason: str) -> None:
    unsealed(folder)
    (folder / WEIGHTS).write_bytes(written)
    assert said(folder).startswith(damaged(folder, reason).removesuffix(RESTORE))
    assert said(folder).endswith(RESTORE)


def test_weights_of_a_threshold_that_is_none_say_which(folder: Path) -> None:
    unsealed(folder)
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"neurons.0.log_v_th": th.tensor(200.0)}, folder / WEIGHTS)
    told = "neurons.0.log_v_th must be the logarithm of a finite threshold above 0, got inf"
    assert said(folder) == damaged(folder, told)


CONV = {"type": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3, "stride": 1, "padding": 0}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": [CONV]}, "the network's output has shape (2, 6, 6), expected one Q-value per action"),
        ({"network": [{"type": "Flatten"}] * 300}, "network has 300 layers; more than 256 are refused"),
        ({"T": "1"}, 'T must be a whole number, got "1"'),
        ({"input_scale": "1"}, 'input_scale must be a number, got "1"'),
        (
            {"made": {"work": {"number": 1, "unit": "years"}}},
            "made.work must be a number of environment steps or gradient steps",
        ),
    ],
)
def test_a_card_that_cannot_be_says_which_field(folder: Path, changes: dict[str, Any], reason: str) -> None:
    unsealed(folder, **changes)
    assert said(folder).startswith(damaged(folder, reason).removesuffix(RESTORE))


def test_what_json_may_not_be_is_said() -> None:
    for text, reason in (
        (b"[" + b"[]," * 1_000_001 + b"1]", "its JSON has more than 1,000,000 lists and objects"),
        (b"[" * 100 + b"]" * 100, "its JSON is nested more than 64 deep"),
        (b"[" * 10**5 + b"]" * 10**5, "its JSON is nested more than 64 deep"),
    ):
        with pytest.raises(ValueError, match=f"^{reason}$"):
            parse_json(text)


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000])
def test_a_name_that_is_too_long_is_no_agent(name: str) -> None:
    with pytest.raises(UserError, match=rf"^'{name[:80]}' is no agent: "):
        load_agent(name)


def test_a_file_that_is_too_large_says_how_large(folder: Path) -> None:
    with (folder / CARD).open("r+b") as file:
        file.truncate(10**10)
    assert f"'{folder / CARD}' has 10,000,000,000 bytes; more than 16,777,216 are refused there" in said(folder)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="a file that says it is empty and is not")
def test_a_file_that_has_more_than_it_says_is_refused() -> None:
    with pytest.raises(UserError, match=r"^'/proc/self/maps' has more than 10 bytes, which are refused there$"):
        content(Path("/proc/self/maps"), 10)


def test_a_damaged_list_of_the_catalogue_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "data_folder", lambda name: tmp_path)
    (tmp_path / integrity.LIST).write_text("abc  agent/card.json\n")
    assert f"'{tmp_path / integrity.LIST}' is damaged; restore it, or install the package anew" in said(folder)


# Recipes and prices


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a." * 201 + "b = 1", "a line has more than 200 dots"),
        ("a = " + "[" * 30_000, "it is nested too deep"),
    ],
)
def test_toml_that_cannot_be_read_says_why(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_recipe(path)
    assert str(error.value) == f"mine.toml is not valid TOML: {reason}"
    with pytest.raises(UserError) as error:
        technology.price_list(str(path))
    assert str(error.value) == f"cannot read the price list '{path}': {reason}"


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^cannot read '.*absent\.toml': No such file or directory$"):
        read_recipe(tmp_path / "absent.toml")


def test_a_surrogate_of_a_recipe_names_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('id = "CartPole-v1"\n[prune]\nsurrogate = "step"')
    with pytest.raises(UserError, match=r"^mine\.toml \[prune\]: the surrogate gradient is SHAPE or SHAPE:HEIGHT, such as"):
        read_recipe(tmp_path / "mine.toml")


# Runs and checkpoints


def test_a_folder_that_is_no_run_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError) as error:
        begin_run(tmp_path, {}, resume=True)
    assert str(error.value) == f"'{tmp_path}' is no run that could be resumed; choose another --out"


@pytest.mark.parametrize("text", ["[]", "{"])
def test_settings_that_are_none_say_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(UserError) as error:
        begin_run(tmp_path, {}, resume=True)
    assert str(error.value) == f"'{tmp_path / 'settings.json'}' is damaged; remove '{tmp_path}' to start anew"


def test_a_run_with_other_settings_says_which(tmp_path: Path) -> None:
    begin_run(tmp_path / "run", {"seed": 0}, resume=False).release()
    with pytest.raises(UserError) as error:
        begin_run(tmp_path / "run", {"seed": 1}, resume=True)
    assert str(error.value) == f"'{tmp_path / 'run'}' was begun with seed = 0, not 1; use the same options"


def test_a_folder_that_nobody_has_signed_yet_is_in_use_all_the_same(tmp_path: Path) -> None:
    with Lock(tmp_path) as lock:
        lock.path.write_text("")
        with pytest.raises(UserError, match="in use by another process"):
            Lock(tmp_path)


@pytest.mark.parametrize("spoil", ["json", "state"])
def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path, spoil: str) -> None:
    States(tmp_path / "c").write({"a": 1})
    path = tmp_path / "c" / f"1.{spoil}"
    if spoil == "json":
        path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "0"}))
    else:
        path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError) as error:
        States(tmp_path / "c").read()
    assert str(error.value) == f"the checkpoint '{path}' is damaged; remove '{tmp_path / 'c'}' to start that stage anew"


def test_a_checkpoint_of_another_version_says_what_to_do(tmp_path: Path) -> None:
    States(tmp_path / "c").write({"a": 1})
    path = tmp_path / "c" / "1.json"
    manifest = json.loads(path.read_text()) | {"format": 99}
    path.write_text(json.dumps(manifest | {integrity.OWN: integrity.of_card(manifest)}))
    with pytest.raises(UserError) as error:
        States(tmp_path / "c").read()
    assert str(error.value) == older(tmp_path / "c", 99)
    assert "go on with the version that wrote it, or remove it to start that stage anew" in str(error.value)


def test_work_has_one_of_two_units() -> None:
    with pytest.raises(ValueError, match="unit must be 'environment steps' or 'gradient steps', got 'years'"):
        Work(1, "years")
