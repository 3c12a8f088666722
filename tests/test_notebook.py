"""The notebook in examples/ runs from its first cell to its last, with small numbers."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cells() -> list[str]:
    notebook = json.loads((ROOT / "examples" / "first_hour.ipynb").read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "outputs are not committed"
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell: str) -> str:
    """A cell as a script: what a notebook shows of its last line is printed."""
    *before, last = ast.parse(cell).body
    text = "\n".join(ast.unparse(statement) for statement in before)
    return f"{text}\n{f'print(repr({ast.unparse(last)}))' if isinstance(last, ast.Expr) else ast.unparse(last)}"


def test_the_notebook_runs(tmp_path: Path) -> None:
    script = "\n\n".join(shown(cell) for cell in cells())
    for many, few in (("episodes=5", "episodes=1"), ("learn(3000)", "learn(520)"), ("learn(5000)", "learn(1100)")):
        assert many in script
        script = script.replace(many, few)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert {"spikes.png", "membranes.png", "spiking.zip"} <= {path.name for path in tmp_path.iterdir()}
    assert ", 1, 256)" in done.stdout
