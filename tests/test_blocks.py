"""What pages show as code runs: Python, commands, JavaScript, C and recipes, in the order of the page.

A block that is not run as it stands has a comment before it that says so::

    <!-- tests: --dry-run -->             its commands are run with that option
    <!-- tests: options only; WHY -->     its commands' options are read, nothing is run
    <!-- tests: none; WHY -->

Blocks of the language ``text`` are no code.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from test_examples import SHORT_RECIPE

from snn_rl import load_agent
from snn_rl.__main__ import STAGES
from snn_rl.tasks.environments import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")])
SHORTER = {"20_000": "300", "2_000": "200"}  # environment steps in the blocks, and in their test
BLOCK = re.compile(
    r"(?:<!-- tests: (?P<mark>[^>]+) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
COMMAND = re.compile(r"(?:\.venv/bin/)?python -m snn_rl\.(\w+) (.*)")
ELSEWHERE = re.compile(r"python -m pip |source |hf ")  # what is not ours to test
MARK = re.compile(r"--dry-run|options only; \w.*|none; \w.*")


@dataclass(frozen=True)
class Block:
    """A block of a page; ``mark`` is what the comment before it says of its test."""

    mark: str
    language: str
    code: str

    @property
    def lines(self) -> list[str]:
        """Commands without what is behind ``#``."""
        return [line.partition("  #")[0].partition(" # ")[0].strip() for line in self.code.splitlines()]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [Block(each["mark"] or "", each["language"], each["code"]) for each in BLOCK.finditer(text)]
    assert len(found) * 2 == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{page.name} has blocks that are not tested"
    return found


def of(*languages: str) -> list[Any]:
    """The pages with a block in one of the languages."""
    chosen = [page for page in PAGES if any(block.language in languages for block in blocks(page))]
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in chosen]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_of_a_kind_that_is_tested(page: Path) -> None:
    for block in blocks(page):
        assert block.language in ("", "python", "js", "c", "toml", "text"), block
        assert not block.mark or MARK.fullmatch(block.mark), block.mark


@pytest.mark.parametrize("page", of("python"))
def test_python_blocks_run_one_after_the_other(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "CartPole-v1.toml").write_text(SHORT_RECIPE)
    known: dict[str, object] = {"__name__": "block"}
    for block in blocks(page):
        if block.language == "python":
            code = block.code
            for steps, fewer in SHORTER.items():
                code = re.sub(rf"\b{steps}\b", fewer, code)
            exec(compile(code, page.name, "exec"), known)


class ParserError(Exception):
    """Ends a command where it would read its options; ``args[0]`` is its parser."""


def end(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> NoReturn:
    """In place of ``parse_args``: reads options that are given."""
    if args:
        _, more = self.parse_known_args(args, namespace)
        assert not more, more
    raise ParserError(self)


def parser_of(stage: str, options: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The parser of a command, once it has read the options without a complaint."""
    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", end)
        with pytest.raises(ParserError) as ended:
            importlib.import_module(f"snn_rl.{stage}").main(options)
    parser: argparse.ArgumentParser = ended.value.args[0]
    return parser


def carry_out(line: str, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a line of a block, as its mark says."""
    if command := COMMAND.fullmatch(line):
        stage, options = command[1], shlex.split(command[2])
        if mark.startswith("options only"):
            parser_of(stage, options, monkeypatch)
        else:
            assert importlib.import_module(f"snn_rl.{stage}").main([*options, *mark.split()]) == 0
    elif target := re.fullmatch(r"make ([\w-]+)", line):
        assert mark, f"'{line}' is not run; say so before its block"
        assert re.search(rf"^{target[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
    elif script := re.match(r"python ((?:examples|tools)/\w+\.py) ", line):
        assert mark, f"'{line}' is not run; say so before its block"
        assert (ROOT / script[1]).is_file(), line
    else:
        assert ELSEWHERE.match(line), f"'{line}' is no command that is tested"


@pytest.mark.parametrize("page", of(""))
def test_commands_do_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if block.mark.startswith("none"):
            continue
        if block.language == "":
            for line in filter(None, block.lines):
                carry_out(line, block.mark, monkeypatch)
        elif block.language == "js":
            javascript(block.code, tmp_path / "runs" / "page")
        elif block.language == "c":
            in_c(block.code, tmp_path / "runs" / "pong-c")


def javascript(code: str, folder: Path) -> None:
    """A browser's script, in Node: it decides as Python does."""
    node = shutil.which("node")
    if node is None:
        return
    script = f"""
        const fs = require("fs"), {{ SpikingAgent }} = require("./agent.js");
        const fetch = async (name) => ({{ json: async () => JSON.parse(fs.readFileSync(name)) }});
        (async () => {{ {code} console.log(JSON.stringify([action, Array.from(q)])); }})();"""
    done = subprocess.run([node, "-e", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(re.findall(r"agent\.decide\((\[.*?\])\)", code)[0])
    agent = load_agent("CartPoleNoVel-v1/T1")
    action, _ = agent.predict(np.array(seen, np.float32))
    found, q = json.loads(done.stdout)
    assert found == int(action) == int(np.argmax(q))


def in_c(code: str, folder: Path) -> None:
    """A few lines of C, in a program."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return
    program = f"""
        #include "agent.h"
        static agent_input observation[AGENT_INPUTS];
        int main(void) {{ uint32_t action; {code} return action < AGENT_ACTIONS ? 0 : 1; }}"""
    (folder / "main.c").write_text(program)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-declaration-after-statement"]
    subprocess.run([gcc, *strict, "main.c", "agent.c", "-o", "main"], cwd=folder, check=True)
    subprocess.run([folder / "main"], check=True)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_options_that_pages_name_in_a_line_exist(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(BLOCK.sub("", page.read_text(encoding="utf-8")) for page in PAGES)
    commands = re.findall(rf"`(?:python -m snn_rl\.)?{stage} ([^`]*--[^`]*)`", text)
    known = parser_of(stage, [], monkeypatch).format_help()
    for option in {option for command in commands for option in re.findall(r"--[a-z][\w-]*", command)}:
        assert re.search(rf"{option}\b(?!-)", known), f"{stage} has no {option}"


@pytest.mark.parametrize("page", of("toml"))
def test_recipes_are_read(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    for block in blocks(page):
        if block.language == "toml":
            env = re.findall(r'^id = "(.*)"', block.code, re.MULTILINE)[0]
            (tmp_path / "envs" / f"{env}.toml").write_text(block.code)
            assert load_recipe(env).id == env
