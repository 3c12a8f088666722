"""The house: imports go one way, without circles, and importing has no effects."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

from snn_rl import early

PACKAGE = Path(__file__).parents[1] / "snn_rl"
RANKS = {"core": 0, "store": 1, "engine": 2, "tasks": 2, "sb3": 3, "exports": 4, "training": 4, "measure": 4}
RANKS |= {"images": 5, "sweeps": 5, "speed": 5}
COMMAND = 6  # what lies at the root
MODULES = {
    ".".join(("snn_rl", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}


def imports(path: Path) -> set[str]:
    """Modules of this package that a file imports anywhere in it, inside functions and for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import by the whole name"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys()


def folder(module: str) -> str:
    return module.split(".")[1] if module.count(".") == 2 else ""


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_folder_and_from_those_below(module: str) -> None:
    own = folder(module)
    rank = RANKS[own] if own else COMMAND
    for other in imports(MODULES[module]):
        below = RANKS.get(folder(other), COMMAND)
        assert below < rank or folder(other) == own, f"{module} imports {other}"


def test_no_import_leads_in_a_circle() -> None:
    list(TopologicalSorter({module: imports(path) for module, path in MODULES.items()}).static_order())


def test_every_folder_has_a_rank() -> None:
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} == set(RANKS)


def loaded_by(*modules: str) -> set[str]:
    """Top-level packages that importing these modules loads, in a new process."""
    script = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    return {name.partition(".")[0] for name in done.stdout.split()}


def of(*folders: str) -> list[str]:
    return [module for module in MODULES if folder(module) in folders]


def test_what_is_not_needed_is_not_loaded() -> None:
    assert not loaded_by(*of("core")) & {"gymnasium", "stable_baselines3", "matplotlib", "ale_py"}
    assert not loaded_by("snn_rl", *of("store", "tasks", "sb3", "training")) & {"ale_py", "matplotlib", "av"}
    torch_free = ["snn_rl.measure.results", "snn_rl.measure.tables", "snn_rl.measure.plots", "snn_rl.measure.energy"]
    assert not loaded_by("snn_rl.report", *torch_free) & {"torch", "gymnasium"}


def test_a_command_loads_nothing_heavy_before_its_options_are_read() -> None:
    commands = [module for module in of("") if module.rpartition(".")[2] not in ("partial", "policy", "replay", "__main__")]
    heavy = {"torch", "gymnasium", "stable_baselines3", "matplotlib", "ale_py", "av", "cv2", "numpy"}
    assert not loaded_by("snn_rl.__main__", *commands) & heavy


def test_importing_registers_nothing_and_sets_no_hook() -> None:
    everything = ", ".join(module for module in MODULES if module not in ("snn_rl.partial", "snn_rl.__main__"))
    script = (
        "import signal, sys, gymnasium; known, hook = set(gymnasium.registry), sys.excepthook\n"
        "handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
        f"import snn_rl, {everything}\n"
        "assert set(gymnasium.registry) == known, set(gymnasium.registry) - known\n"
        "assert sys.excepthook is hook and handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]\n"
    )
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("started", "command"),
    [
        ("python -m snn_rl.train --env CartPole-v1", True),
        ("python -X utf8 -u -m snn_rl list", True),
        ("python /usr/bin/snn-rl train", True),
        ("python C:/Scripts/snn-rl.exe train", True),
        ("python mine.py -m snn_rl.train", False),
        ("python -m pytest -m snn_rl", False),
        ("python -c code snn-rl", False),
        ("python", False),
    ],
)
def test_only_a_command_answers_ctrl_c_before_it_has_begun(started: str, command: bool) -> None:
    assert early.is_command(started.split()) == command


def test_ctrl_c_while_a_command_is_still_starting_ends_it_in_silence() -> None:
    script = "import signal, sys; sys.orig_argv = ['python', '-m', 'snn_rl.list']; import snn_rl; {}"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    for before in ("", "import snn_rl.console; ", "import snn_rl.list; "):
        code = script.format(f"{before}signal.raise_signal(signal.SIGINT); print('went on')")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def sources() -> list[Path]:
    return [path for folder in ("snn_rl", "tools", "examples") for path in (PACKAGE.parent / folder).rglob("*.py")]


ELSEWHERE = {  # what Windows has not
    *(
        "os.fork",
        "os.setsid",
        "os.killpg",
        "os.getuid",
        "os.mkfifo",
        "os.sched_getaffinity",
        "os.uname",
        "os.nice",
        "os.wait4",
    ),
    *("os.O_NONBLOCK", "os.getloadavg", "signal.SIGHUP", "signal.SIGKILL", "signal.SIGALRM", "signal.SIGUSR1", "signal.alarm"),
    *("signal.pause", "signal.setitimer"),
}


@pytest.mark.parametrize("path", [path for path in sources() if "snn_rl" in path.parts], ids=lambda path: path.stem)
def test_nothing_needs_what_windows_lacks(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not {"fcntl", "resource", "termios", "pty", "pwd", "grp"} & {
        name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            where, name = node.value.id, node.attr
            assert f"{where}.{name}" not in ELSEWHERE or f'hasattr({where}, "{name}")' in text, f"{where}.{name}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_text_is_utf_8_on_every_system(path: Path) -> None:
    """On Windows Python reads and writes another encoding, and other ends of lines, where none is said."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("read_text", "write_text")
        ):
            assert "encoding" in {word.arg for word in node.keywords}, f"{path}, line {node.lineno}"


def test_all_modules_are_in_the_picture() -> None:
    assert len(MODULES) > 30
    assert set(chain.from_iterable(imports(path) for path in MODULES.values()))


# Sentences

MET = {"UserError", "UnconvertibleError", "DamagedError"}


def texts(node: ast.AST) -> Iterator[str]:
    """All that stands in quotes, without the escapes of a pattern."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield " ".join(re.sub(r"\\(.)", r"\1", part.value).split())


def runs(found: Iterable[str]) -> set[str]:
    """Three words in a row of each text, or the whole of a shorter one, without the signs at its ends."""
    words = [text.split() for text in found]
    threes = [" ".join(row[n : n + 3]) for row in words for n in range(max(len(row) - 2, 1))]
    return {run for three in threes if len(run := three.strip(" ,.;:()'\"")) > 5}


def sentences(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Where a file raises what users meet, and the runs of its words; those in a variable of the function too."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        said: dict[str, list[str]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                said.setdefault(node.targets[0].id, []).extend(texts(node.value))
        for node in ast.walk(function):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in MET:
                named = {part.id for part in ast.walk(call) if isinstance(part, ast.Name)}
                place = f"{path.relative_to(PACKAGE)}, line {call.lineno}"
                yield place, runs([*texts(call), *chain.from_iterable(said.get(name, ()) for name in named)])


def test_some_words_of_every_sentence_that_users_meet_are_in_a_test() -> None:
    """Words of its own: those that at most one other sentence has."""
    found = dict(chain.from_iterable(sentences(path) for path in MODULES.values()))
    assert len(found) > 300
    often = Counter(chain.from_iterable(found.values()))
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in Path(__file__).parent.glob("test_*.py"))
    tested = "\n".join(text for tree in trees for text in texts(tree))
    own = {place: {run for run in words if often[run] <= 2} for place, words in found.items()}
    assert not [place for place, words in own.items() if words and not any(run in tested for run in words)]
