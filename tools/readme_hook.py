"""For hatchling: the README of the package's metadata, whose links do not need the repository around it.

A package index shows README.md alone. A link into the repository becomes its words, followed by the path where there are none
yet; a picture becomes its description. Links to elsewhere and to headings stay.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


def alone(text: str) -> str:
    """A README without links into the repository."""
    text = re.sub(r"!\[([^\]]*)\]\((?!https?:)[^)]*\)", r"*\1*", text)

    def words(link: re.Match[str]) -> str:
        said, path = link[1], link[2]
        return said if path in said.replace("`", "") else f"{said} (`{path}`)"

    return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#]*)[^)]*\)", words, text)


class ReadmeHook(MetadataHookInterface):
    """Puts it into the metadata."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": alone(text)}
