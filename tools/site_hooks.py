"""For mkdocs: the agents that the pages show, the pages outside ``docs/``, and every source file that a page points to.

The pages are written for the repository, where their links lead from file to file. Here each link is led to the same file's
place in the site. A link to a file that is not there stays as it is, and ``mkdocs build --strict`` refuses it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from snn_rl import load_agent
from snn_rl.exports import js

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs runs this file by its path
from site_game import game

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "agents/README.md": "agents.md",
    "envs/README.md": "envs.md",
    "examples/first_hour.ipynb": "first-hour.md",
}
LIVE, GAME = "CartPoleNoVel-v1/T1", "PongNoFrameskip-v4/T1-frames1"
PICTURES = {".png", ".svg", ".gif"}
LANGUAGES = {".py": "python", ".toml": "toml", ".js": "javascript", ".json": "json", "": "make"}
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):<code>~?(?:[\w.]*\.)?(\w+)</code>")  # as docstrings write names
LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?:|#|mailto:)([^)#\s]+)([^)]*\))")


def place(path: str) -> str:
    """Where the site holds a file or a folder of the repository."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if Path(path).suffix in PICTURES:
        return f"source/{path}"
    return f"source/{path}/index.md" if (ROOT / path).is_dir() else f"source/{path}.md"


def origin(uri: str) -> str:
    """The file of the repository that a page of the site was written as."""
    outside = {there: here for here, there in PAGES.items()}
    return outside.get(uri, f"docs/{uri}")


def target(page: str, link: str) -> str | None:
    """The file or folder of the repository that a link of a page leads to, or None if there is none."""
    path = os.path.normpath(os.path.join(os.path.dirname(page), link))
    return None if path.startswith("..") or not (ROOT / path).exists() else path


def text_of(page: str) -> str:
    """A page of the repository; of a notebook what its cells hold."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if not page.endswith(".ipynb"):
        return text
    written = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    cells = [f"```python\n{source}\n```" if kind == "code" else source for kind, source in written]
    return "\n\n".join(cells)


def links(page: str) -> Iterator[str]:
    """What a page of the repository points to outside the pages."""
    for found in LINK.finditer(text_of(page)):
        path = target(page, found[2])
        if path is not None and path not in PAGES and not path.startswith("docs/"):
            yield path


def shown(path: str) -> str:
    """A source file, or the list of a folder's files, as a page."""
    there = ROOT / path
    if there.is_file():
        return f"# {path}\n\n````{LANGUAGES.get(there.suffix, 'text')}\n{there.read_text(encoding='utf-8')}\n````\n"
    names = sorted(one.name for one in there.iterdir() if not one.name.startswith((".", "__")))
    return f"# {path}\n\n" + "\n".join(f"* {name}" for name in names) + "\n"


def live_agent() -> str:
    """The shipped agent of the first page, as a script: pages that are opened as files cannot fetch JSON."""
    return f"const SNN_RL_AGENT = {json.dumps(js.description(load_agent(LIVE)))};\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside ``docs/``, what the pages point to, and the live agent."""
    files.append(File.generated(config, "assets/agent.js", content=js.CODE.read_text(encoding="utf-8")))
    files.append(File.generated(config, "assets/cartpole.js", content=live_agent()))
    files.append(File.generated(config, "assets/pong.js", content=game(GAME, config.extra["decisions"] or None)))
    written = [*PAGES, *(f"docs/{file.src_uri}" for file in files if file.src_uri.endswith(".md"))]
    wanted = {path for page in written for path in links(page)}
    for path in [*PAGES, *sorted(wanted)]:
        if path in PAGES:
            text: str | bytes = text_of(path)
        else:
            text = (ROOT / path).read_bytes() if Path(path).suffix in PICTURES else shown(path)
        files.append(File.generated(config, place(path), content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads every link of a page to its place in the site."""
    if page.file.src_uri.startswith("source/"):
        return markdown
    here = origin(page.file.src_uri)

    def led(found: re.Match[str]) -> str:
        path = target(here, found[2])
        if path is None:
            return found[0]
        return found[1] + os.path.relpath(place(path), os.path.dirname(page.file.src_uri) or ".") + found[3]

    return LINK.sub(led, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Shows a name of a docstring without its markup and its path."""
    return ROLE.sub(r"<code>\1</code>", html)
