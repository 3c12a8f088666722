"""Foreign text in pages and metadata: it shows as it is and is no markup of its own. Torch is not needed."""

from __future__ import annotations

import re

MOST = 2_000  # characters of a text that are shown
# Words, with an underscore inside one, and marks that mean nothing in Markdown.
PLAIN = re.compile(r"(?:[^\W_]|(?<=[^\W_])_(?=[^\W_])|[ ,.+()/%=:;'-])*")
LINKS = re.compile(r"//|\bwww\.", re.IGNORECASE)  # GitHub and the hub make links of these


def one_line(text: str) -> str:
    """The text in a line of at most 2,000 characters. What cannot be seen (control characters, marks that turn the direction
    of writing) becomes a replacement character."""
    line = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))
    return line if len(line) <= MOST else line[: MOST - 1] + "…"


def code(text: str) -> str:
    """The text as inline code, in which nothing is markup. Its fence is longer than any within."""
    line = one_line(text) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"


def plain(text: str) -> str:
    """The text as it is where none of it is markup, else as code."""
    line = one_line(text)
    return line if PLAIN.fullmatch(line) and not LINKS.search(line) else code(line)


def cell(text: str) -> str:
    """:func:`plain` for a cell of a table, which no bar ends."""
    return plain(text).replace("|", "\\|")


def yaml(text: str) -> str:
    """The text as a string of YAML (1.2, chapter 7.3.1), in ASCII."""
    return '"' + "".join(sign if " " <= sign <= "~" and sign not in '"\\' else _escaped(sign) for sign in one_line(text)) + '"'


def _escaped(sign: str) -> str:
    return f"\\{sign}" if sign in '"\\' else f"\\U{ord(sign):08X}"
