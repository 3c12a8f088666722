"""The documentation as a site: every link leads somewhere, without a network; and what the live page does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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
    short = {
        "NO_MKDOCS_2_WARNING": "1",
        "SNN_RL_SITE_DECISIONS": "60",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(command, cwd=ROOT, env=os.environ | short, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_its_pages_and_asks_nobody_for_anything(site: Path) -> None:
    for page in (
        "index",
        "readme",
        "first-hour",
        "what-is-a-spike",
        "api",
        "questions",
        "contributing",
        "results/CartPole-v1/report",
    ):
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        assert "fonts.googleapis" not in text
        assert 'src="http' not in text
    assert "load_agent" in (site / "api.html").read_text(encoding="utf-8")
    assert "lif_step" in (site / "source/snn_rl/core/lif.py.html").read_text(encoding="utf-8")


def node(script: str) -> Any:
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
        for (const action of {actions}) {{
            world.step(action);
            seen.push([world.x, world.speed, world.angle, world.turning]);
        }}
        console.log(JSON.stringify(seen));""")
    env = gym.make("CartPole-v1").unwrapped
    env.reset()
    env.state = np.full(4, 0.6 * 0.1 - 0.05)  # type: ignore[attr-defined]
    expected = [list(env.step(action)[0]) for action in actions]
    np.testing.assert_allclose(np.array(moved), expected, rtol=1e-6)


@needs_node
def test_the_pole_falls_when_the_membranes_are_zeroed(site: Path) -> None:
    """The page's own agent and world, without the browser: 4 episodes carried, then 500 decisions from rest."""
    held, fallen, later = node(f"""
        const {{ CartPole, Play }} = require("./live.js"), fs = require("fs"), site = {json.dumps(str(site / "assets"))};
        const {{ SpikingAgent }} = require(site + "/agent.js");
        let seed = 7;
        const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;  // Park & Miller 1988
        const text = fs.readFileSync(site + "/cartpole.js", "utf8");
        const description = JSON.parse(text.slice(text.indexOf("{{"), text.lastIndexOf("}}") + 1));
        const play = new Play(new SpikingAgent(description), new CartPole(random));
        for (let i = 0; i < 2001; i++) play.tick();
        const before = [play.held, play.falls];
        play.zeroed = true;
        for (let i = 0; i < 500; i++) play.tick();
        console.log(JSON.stringify([...before, play.falls - before[1]]));""")
    assert held == 4
    assert fallen == 0
    assert later >= 4


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Of the site on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium. Tests of pages are left out only where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    from playwright import sync_api

    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=quiet)


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """An empty page, on which nothing may go wrong."""
    wrong: list[str] = []
    with browser.new_page(viewport={"width": 1280, "height": 1000}, base_url=address) as opened:
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        yield opened
    assert not wrong


def test_the_switch_of_the_page(page: Any) -> None:
    """A browser opens the first page, switches the membranes off, and the pole falls."""
    page.goto("/index.html")
    page.wait_for_function("liveAgent.world.steps > 60")
    assert page.evaluate("liveAgent.falls") == 0
    if folder := os.environ.get("SNN_RL_SCREENSHOTS"):  # "tests" takes tests/test_site.png anew
        page.screenshot(path=str(Path(folder) / "test_site.png"))
    page.get_by_label("zero the membranes").check()
    page.wait_for_function("liveAgent.falls > 1", timeout=60_000)


def test_keys_and_fingers_push_the_cart(page: Any) -> None:
    page.goto("/index.html")
    page.get_by_role("button", name="Pause").click()
    speed = page.evaluate("liveAgent.world.speed")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("liveAgent.world.speed") > speed
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("liveAgent.world.speed") == pytest.approx(speed)
    page.locator("[data-part=world]").click(position={"x": 5, "y": 5})  # the finger pushes away from itself
    assert page.evaluate("liveAgent.world.speed") > speed


def test_a_game_of_pong_is_scrubbed_with_a_slider(page: Any) -> None:
    page.goto("/pong.html")
    page.get_by_label("decision").fill("50")
    assert "decision 51 of 60" in page.locator("[data-part=score]").inner_text()


def test_the_table_of_energies_switches_between_conventions(page: Any) -> None:
    """The page without the script has all lines; one convention has a line for each agent, and no other's numbers."""
    page.goto("/energy.html")
    lines = page.locator(".conventions + table tbody tr")
    agents = set(lines.locator("td:first-child").all_text_contents())
    assert lines.count() == 6 * len(agents)
    for convention in ("the paper's", "with weight fetches"):
        page.get_by_label(convention, exact=True).check()
        shown = lines.filter(visible=True)
        assert set(shown.locator("td:first-child").all_text_contents()) == agents
        assert set(shown.locator("td:nth-child(2)").all_text_contents()) == {convention}
    page.get_by_label("all", exact=True).check()
    assert lines.filter(visible=True).count() == 6 * len(agents)
