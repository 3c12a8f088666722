"""The wheel carries recipes and agents and works outside the checkout."""

import os
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
    assert not [name for name in names if name.startswith(("agents/", "envs/", "tests/"))]
    script = (
        "import snn_rl, sys; from snn_rl import evaluate; from snn_rl.tasks import catalogue;"
        "assert sys.argv[1] in snn_rl.__file__;"
        "assert 'PongNoFrameskip-v4' in catalogue.recipe_names();"
        "sys.exit(evaluate.main(['CartPole-v1/T1', '--episodes', '1']))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "CartPole-v1/T1: return" in done.stdout
