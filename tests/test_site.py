"""The documentation as a site: every link leads somewhere, without a network; and what the live page does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "docs" / "assets"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site. Every warning of mkdocs is an error: a dead link, a heading that is not there."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_its_pages_and_asks_nobody_for_anything(site: Path) -> None:
    for page in ("index", "readme", "what-is-a-spike", "api", "questions", "contributing", "results/CartPole-v1/report"):
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        assert "fonts.googleapis" not in text
        assert 'src="http' not in text
    assert "load_agent" in (site / "api.html").read_text(encoding="utf-8")
    assert "lif_step" in (site / "source/snn_rl/core/lif.py.html").read_text(encoding="utf-8")


def node(script: str) -> object:
    """What a script for Node.js says, as JSON."""
    assert NODE is not None
    done = subprocess.run([NODE, "-e", script], cwd=ASSETS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_the_cart_in_the_browser_moves_as_gymnasiums_does() -> None:
    actions = [int(action) for action in np.random.default_rng(0).integers(2, size=12)]
    moved = node(f"""
        const {{ CartPole }} = require("./live.js"), world = new CartPole(() => 0.6), seen = [];
        for (const action of {actions}) {{ world.step(action); seen.push([world.x, world.speed, world.angle, world.turning]); }}
        console.log(JSON.stringify(seen));""")
    env = gym.make("CartPole-v1").unwrapped
    env.reset()
    env.state = np.full(4, 0.6 * 0.1 - 0.05)  # type: ignore[attr-defined]
    expected = [list(env.step(action)[0]) for action in actions]
    np.testing.assert_allclose(np.array(moved), expected, rtol=1e-6)
