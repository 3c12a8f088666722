"""Cards: what is read is what is written, and what cannot be is an error that names the field."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snn_rl.core.errors import UserError
from snn_rl.store import card
from snn_rl.store.card import FORMAT, Card, Energy, Made, Score, Source, Work
from snn_rl.store.episodes import Episode, to_text
from snn_rl.store.files import CARD, EPISODES, data_folder

FOLDERS = sorted(path.parent for path in data_folder("agents").glob(f"*/*/{CARD}"))
EXAMPLE = data_folder("agents") / "PongNoFrameskip-v4" / "T1" / CARD  # of format 1


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_shipped_card_is_written_as_it_was_read_byte_for_byte(folder: Path) -> None:
    text, rows = (folder / CARD).read_bytes().decode(), (folder / EPISODES).read_bytes().decode()
    read, episodes = card.read(folder)
    assert read.to_json() == json.loads(text)
    assert read.to_text() == text
    assert to_text(episodes) == rows


def example() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXAMPLE.read_text())
    return found


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example with one value in another place; Ellipsis removes it."""
    whole = example()
    inner = whole
    *outer, last = path.split(".")
    for key in outer:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("T", "1", 'T must be a whole number, got "1"'),
        ("T", 1.0, r"T must be a whole number, got 1\.0"),
        ("T", True, "T must be a whole number, got true"),
        ("T", -1, "T must be between 0 and 1000, got -1"),
        ("frames", 0, "frames must be between 1 and 64, got 0"),
        ("frames", ..., "frames is missing"),
        ("frames", None, "frames is missing"),
        ("carry", 1, "carry must be true or false, got 1"),
        ("env", 3, "env must be text, got 3"),
        ("input_scale", float("inf"), "input_scale must be finite"),
        ("observation_shape", [4, 0], r"observation_shape\[1\] must be at least 1"),
        ("observation_shape", 3, "observation_shape must be a list, got 3"),
        ("network", ["Linear"], r'network\[0\] must be an object, got "Linear"'),
        ("decay", [2.0], r"decay\[0\] must be between 0 and 1"),
        ("decay", [[0.5, "a"]], r"decay\[0\]\[1\] must be a number"),
        ("made", [], r"made must be an object, got \[\]"),
        ("made.from", {}, r"made\.from\.name is missing"),
        ("made.work", "some", r"made\.work must be a number of environment steps or gradient steps, got 'some'"),
        ("made.selection", [[1, 2.0, 3]], r"made\.selection\[0\] must be a list of 2"),
        ("made.recipe", {"learning_rate": float("nan")}, r"made\.recipe\['learning_rate'\] must be finite"),
        ("scores.greedy.T", ..., r"scores\['greedy'\]\.T is missing"),
        ("scores.greedy.epsilon", 2, r"scores\['greedy'\]\.epsilon must be between 0 and 1, got 2"),
        ("scores.greedy.return.ci95", [1.0], r"scores\['greedy'\]\.return\.ci95 must be a list of 2"),
        ("scores.greedy.return.mean", float("nan"), r"return\.mean must be finite, got nan"),
        ("scores.greedy.spike_rate", {"fc1": -0.1}, r"spike_rate\['fc1'\] must be between 0 and 1"),
        ("scores.greedy.energy.ann_uj", ..., r"scores\['greedy'\]\.energy\.ann_uj is missing"),
        ("scores.greedy.energy.snn_uj", ..., r"scores\['greedy'\]\.energy\.snn_uj is missing"),
        ("scores.greedy.energy.snn_uj", -1.0, r"energy\.snn_uj must be at least 0, got -1\.0"),
    ],
)  # fmt: skip
def test_an_error_names_the_field(path: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        Card.from_json(changed(path, value))
    assert "\n" not in str(error.value)


def test_what_is_no_object_is_told() -> None:
    for value in (None, [], "card"):
        with pytest.raises(ValueError, match="must be an object"):
            Card.from_json(value)


def test_a_missing_key_and_a_null_are_both_none_and_stay_what_they_were() -> None:
    for made in ({}, {"teacher": None}, {"objective": "td"}, {"objective": "td", "teacher": None, "seed": None}):
        read = Made.from_json(made)
        assert (read.teacher, read.seed) == (None, None)
        assert read.to_json() == made
    assert Made(objective="td").to_json() == {"teacher": None, "objective": "td"}  # a stage says that nobody taught it
    assert Made(how="DQN").to_json() == {"how": "DQN"}
    assert Made(teacher=Source("X/ann", "DQN")).to_json() == {"teacher": {"name": "X/ann", "how": "DQN"}}


def test_what_a_newer_version_added_is_kept() -> None:
    more = copy.deepcopy(example())
    more["new"] = {"a": [1, None]}
    more["scores"]["greedy"]["energy"]["joules"] = 2
    assert Card.from_json(more).to_json() == more
    assert Card.from_json(more) != Card.from_json(example())


def test_work_is_a_number_and_a_unit_however_a_card_says_it() -> None:
    for written, work in {
        250_000: Work(250_000, "environment steps"),
        "480,000 environment steps": Work(480_000, "environment steps"),
        "5,000 gradient steps": Work(5_000, "gradient steps"),
    }.items():
        read = Made.from_json({"work": written})
        assert read.work == work
        assert read.to_json() == {"work": written}
    new = Made(work=Work(5_000, "gradient steps"))
    assert new.to_json() == {"work": {"number": 5_000, "unit": "gradient steps"}}
    assert Made.from_json(new.to_json()) == new
    assert str(new.work) == "5,000 gradient steps"
    for wrong in (-1, 2.5, "5 steps", {"number": 5}, {"number": -1, "unit": "gradient steps"}, {"number": 5, "unit": "s"}):
        with pytest.raises(ValueError, match=r"made\.work must be"):
            Made.from_json({"work": wrong}, "made.")


def test_both_formats_are_read_and_another_is_told() -> None:
    assert Card.from_json(example()).format == 1
    assert Card.from_json({**example(), "format": FORMAT}).format == FORMAT == 2
    with pytest.raises(UserError, match="the card has format 3; this version of snn_rl reads 1 and 2"):
        Card.from_json({**example(), "format": 3, "T": "all is different there"})


def test_an_ann_has_no_energy_of_a_spiking_network() -> None:
    score = example()["scores"]["greedy"]
    assert Score.from_json({**score, "T": 0, "energy": {"ann_uj": 2.0}}).energy == Energy(ann_uj=2.0)


def test_an_episode_is_a_row() -> None:
    for row in (["0", "greedy", "3", "4", "3", "-20.5", "100"], ["", "sticky 0.25", "0", "", "7", "1.0", "9"]):
        assert [str(cell) for cell in Episode.from_row(row).to_row()] == row
    for wrong in ("nan", "inf", "", "many"):
        with pytest.raises(ValueError, match=r"a return is|could not convert"):
            Episode.from_row(["0", "greedy", "0", "", "0", wrong, "9"])


def test_cards_are_read_without_torch_and_gymnasium() -> None:
    script = "import sys, snn_rl.store.card; sys.exit(bool({'torch', 'gymnasium', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", script], check=True)
