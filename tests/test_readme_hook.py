"""The README on a package index: no link leads nowhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def alone(text: str) -> str:
    spec = importlib.util.spec_from_file_location("readme_hook", ROOT / "tools" / "readme_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.alone(text))


def test_links_into_the_repository_become_words_and_others_stay() -> None:
    assert alone("see [docs/a.md](docs/a.md#b).") == "see docs/a.md."
    assert alone("see [`envs/`](envs/) and [the words](docs/words.md)") == "see `envs/` and the words (`docs/words.md`)"
    assert alone("[SB3](https://github.com/x) [above](#words)") == "[SB3](https://github.com/x) [above](#words)"
    assert alone("![A picture](docs/a.png)") == "*A picture*"


def test_the_readme_keeps_its_text_and_loses_every_relative_link() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    left = re.findall(r"\]\((?!https?:|#)", alone(text))
    assert not left
    assert len(alone(text)) > 0.95 * len(text)
