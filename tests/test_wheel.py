"""The wheel carries recipes and agents and works outside the checkout."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {name.split("/")[0].split("-")[0] for name in names} == {"snn_rl"}  # the package, and what is said of it
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "snn_rl").rglob("*.py")}
    assert code == {name for name in names if name.endswith(".py")}  # all of it, and no other
    data = {".toml", ".json", ".csv", ".safetensors", ".typed", ".md", ".html", ".js", ".c", ".h", ".css", ".svg"}
    others = [name for name in names if not name.endswith(".py") and ".dist-info/" not in name]
    assert {Path(name).suffix for name in others if not name.endswith("SHA256SUMS")} <= data, others
    assert sum(path.stat().st_size for path in tmp_path.glob("*.whl")) < 25 << 20
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/python.md"))
    for agent in set(re.findall(r"[A-Za-z]+-v\d/(?:ann|T\d[\w-]*)", pages)):
        assert f"snn_rl/data/agents/{agent}/card.json" in names, agent
    anns = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("agents/*/ann/card.json")}
    assert anns == {path for path in anns if f"snn_rl/data/{path}/card.json" in names}
    script = (
        "import snn_rl, sys; from snn_rl import evaluate; from snn_rl.tasks import catalogue;"
        "assert sys.argv[1] in snn_rl.__file__;"
        "assert 'PongNoFrameskip-v4' in catalogue.recipe_names();"
        "from snn_rl.store import agents; from snn_rl.core.errors import UserError\n"
        "try: agents.load('PongNoFrameskip-v4/T5'); raise SystemExit('it is there')\n"
        "except UserError as error: assert 'does not come with the installed package' in str(error), error\n"
        "sys.exit(evaluate.main(['CartPole-v1/T1', '--episodes', '1']))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "CartPole-v1/T1: return" in done.stdout
