"""Price lists: those of the package, and those that users write."""

from __future__ import annotations

from pathlib import Path

import pytest

from snn_rl.core.errors import UserError
from snn_rl.measure.technology import FP32, Technology, load, names, price_list

MINE = """
name = "28 nm, my design"
mac_pj = 1.5
ac_pj = 0.25
update_pj = 2
memory_pj = 0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def test_the_package_has_the_prices_of_horowitz() -> None:
    assert names() == ["fp32", "int32", "int8"]
    prices = {name: price_list(name) for name in names()}
    assert prices["fp32"] == FP32
    assert {n: (p.mac_pj, p.ac_pj, p.update_pj, p.memory_pj) for n, p in prices.items()} == {
        "fp32": (4.6, 0.9, 4.6, 5.0),
        "int32": (3.2, 0.1, 3.2, 5.0),
        "int8": (0.23, 0.03, 3.2, 5.0),
    }
    for price in prices.values():  # its name tells its prices
        assert f"MAC {price.mac_pj:g} pJ, AC {price.ac_pj:g} pJ" in price.name
        assert f"{price.memory_pj:g} pJ" in price.name
        assert price.update_pj == price.mac_pj or f"update in INT32 {price.update_pj:g} pJ" in price.name


def test_a_user_brings_prices_in_a_file(file: Path) -> None:
    file.write_text(MINE)
    assert price_list(str(file)) == load(file) == Technology("28 nm, my design", 1.5, 0.25, 2.0, 0.0)


def test_what_is_no_price_list_says_which_there_are(tmp_path: Path) -> None:
    for where in ("fp16", str(tmp_path), "nowhere.toml", ""):
        with pytest.raises(UserError, match=r"no price list .*give one of fp32, int32, int8, or a TOML file"):
            price_list(where)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("ac_pj = 0.25", "", "lacks the key 'ac_pj'"),
        ("name", "title", "unknown key 'title'"),
        ("ac_pj = 0.25", "ac_pj = -0.25", "ac_pj must be a finite number"),
        ("ac_pj = 0.25", "ac_pj = nan", "ac_pj must be a finite number"),
        ("ac_pj = 0.25", "ac_pj = inf", "ac_pj must be a finite number"),
        ("ac_pj = 0.25", "ac_pj = '0.25'", "ac_pj must be a finite number"),
        ("ac_pj = 0.25", "ac_pj = true", "ac_pj must be a finite number"),
        ("mac_pj = 1.5", "mac_pj = 0.0", "mac_pj must be above 0"),
        ('"28 nm, my design"', "28", "name must be a text"),
        ('"28 nm, my design"', '""', "name must be a text"),
        ("ac_pj = 0.25", "ac_pj =", "cannot read the price list"),
    ],
)
def test_a_price_list_that_says_nonsense_names_file_and_key(file: Path, before: str, after: str, why: str) -> None:
    file.write_text(MINE.replace(f"\n{before}", f"\n{after}", 1) if "=" in before else MINE.replace(before, after, 1))
    with pytest.raises(UserError, match=why) as error:
        load(file)
    assert str(file) in str(error.value)
