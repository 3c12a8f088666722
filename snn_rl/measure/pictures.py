"""Plots as files: PNG, SVG and PDF, the same bytes for the same plot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

from snn_rl.core.errors import UserError

FORMATS = ("png", "svg", "pdf")
_UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def picture(figure: Figure, kind: str = "png") -> bytes:
    """A plot as the content of a file of a kind in ``FORMATS``."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name with a dollar sign is no formula
    with mpl.rc_context({"svg.hashsalt": "snn_rl"}):
        figure.savefig(buffer := io.BytesIO(), format=kind, metadata=_UNDATED.get(kind))
    return buffer.getvalue()


def suffix(path: str | Path) -> str:
    """The kind of picture that a name asks for.

    Raises:
        UserError: if it is none of ``FORMATS``.
    """
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise UserError(f"cannot write the picture '{path}': give the name of a file that ends in {', '.join(FORMATS)}")
    return kind
