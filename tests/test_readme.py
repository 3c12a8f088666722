"""What the pages say is so: links lead somewhere, tables are the generated ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")])


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if target.startswith("https://"):
            continue
        where, _, anchor = target.partition("#")
        file = (page.parent / where).resolve() if where else page
        assert file.exists(), f"{named(page)} links to {target}"
        assert file.is_relative_to(ROOT), f"{named(page)} links out of the project: {target}"
        assert not anchor or anchor in anchors(file), f"{named(page)} links to {target}; its headings: {sorted(anchors(file))}"


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert page.name == "README.md" or f"({named(page)})" in readme, f"README does not link to {named(page)}"


def test_the_readme_is_one_that_people_finish() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"`((?:\w+/)+\w[\w.-]*\.(?:py|toml|md))`", page.read_text(encoding="utf-8")):
        mine = name.startswith(("runs/", "export/", "envs/MyEnv"))  # what a reader makes
        assert mine or (ROOT / name).is_file() or (ROOT / "snn_rl" / name).is_file(), f"{named(page)} names {name}"


def test_modules_that_moved_are_where_the_changes_say() -> None:
    moved = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("### Moved")[2].partition("\n## ")[0]
    for line in moved.splitlines():
        for module in re.findall(r"`(snn_rl\.[a-z0-9]+\.\w+)`", line):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), line


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_marks_of_generated_tables_come_in_pairs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    begun = re.findall(r"<!-- (.*): made by `make results`, do not edit -->", text)
    assert begun == re.findall(r"<!-- end of (.*) -->", text)
    for name in begun:
        assert (
            text.index(f"<!-- {name}: made")
            < text.index("| --- |", text.index(f"<!-- {name}: made"))
            < text.index(f"<!-- end of {name} -->")
        ), f"{named(page)} has no table '{name}'"
