"""JSON objects as dataclasses: every field is checked once, when it is read, and written back as it was read."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Within:
    """Bounds of a number, both included: ``Annotated[int, Within(1)]``."""

    low: float
    high: float = math.inf


Count = Annotated[int, Within(0)]
Amount = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]
Table = dict[str, Any]  # an object without a schema of its own


@dataclass(frozen=True, kw_only=True)
class Record:
    """An object in a JSON file. Fields with a default may be missing there; ``metadata={"key": ...}`` gives a field another
    name in JSON.

    ``more`` holds the keys that this version does not know: they are kept, so that a newer version's file loses nothing
    when an older version stores a score in it. ``nulls`` names the optional keys that are written as null; other optional
    keys without a value are left out.
    """

    more: Table = field(default_factory=dict, repr=False)
    nulls: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    @classmethod
    def from_json(cls, value: object, where: str = "") -> Self:
        """Reads what ``json.load`` returned.

        Args:
            value: of the whole object.
            where: its place in the file, for messages: ``made.from.``.

        Raises:
            ValueError: where a field is missing, has another type, or holds a number that cannot be. It names the field.
        """
        if not isinstance(value, dict):
            raise ValueError(f"{where.removesuffix('.') or 'it'} must be an object, got {_shown(value)}")
        known: Table = {}
        nulls = set()
        schema = _schema(cls)
        for key, (name, kind, required) in schema.items():
            if value.get(key) is not None:
                known[name] = _read(kind, value[key], where + key)
            elif required:
                raise ValueError(f"{where}{key} is missing")
            elif key in value:
                nulls.add(key)
        try:
            record = cls(**known, more={key: value[key] for key in value if key not in schema})
        except ValueError as error:
            raise ValueError(f"{where}{error}") from error
        object.__setattr__(record, "nulls", frozenset(nulls))
        return record

    def to_json(self) -> Table:
        """What ``json.dump`` takes: the object that was read."""
        out: Table = {}
        for key, (name, _, _) in _schema(type(self)).items():
            value = getattr(self, name)
            if value is not None or key in self.nulls:
                out[key] = _plain(value)
        return out | self.more


def _schema(cls: type[Record]) -> dict[str, tuple[str, Any, bool]]:
    """Of each key in JSON the field's name, its type without None, and whether it is required."""
    hints = get_type_hints(cls, include_extras=True)
    own = [part for part in fields(cls) if part.name not in ("more", "nulls")]
    required = {part.name: part.default is part.default_factory for part in own}  # both are MISSING
    return {part.metadata.get("key", part.name): (part.name, hints[part.name], required[part.name]) for part in own}


def _read(kind: Any, value: object, where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _bounded(_read(args[0], value, where), args[1], where)
    if origin in (Union, UnionType):
        options = [option for option in args if option is not NoneType]
        lists = [option for option in options if get_origin(option) is list]
        return _read(lists[0] if lists and isinstance(value, list) else options[0], value, where)
    if origin is list:
        items = _checked(list, "a list", value, where)
        return [_read(args[0], item, f"{where}[{n}]") for n, item in enumerate(items)]
    if origin is tuple:
        items = _checked(list, f"a list of {len(args)}", value, where)
        if len(items) != len(args):
            raise ValueError(f"{where} must be a list of {len(args)}, got {_shown(value)}")
        return tuple(_read(one, item, f"{where}[{n}]") for n, (one, item) in enumerate(zip(args, items, strict=True)))
    if origin is dict:
        items = _checked(dict, "an object", value, where)
        return {key: _read(args[1], item, f"{where}[{key!r}]") for key, item in items.items()}
    return _leaf(kind, value, where)


def _leaf(kind: Any, value: object, where: str) -> Any:
    if kind is Any:
        _finite(value, where)
        return value
    if reader := getattr(kind, "from_json", None):
        return reader(value, f"{where}.")
    if kind is float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{where} must be a number, got {_shown(value)}")
        if abs(value) > sys.float_info.max or math.isnan(value):  # also a whole number that no float holds
            raise ValueError(f"{where} must be finite, got {str(value)[:40]}")
        return value
    return _checked(kind, {int: "a whole number", str: "text", bool: "true or false"}[kind], value, where)


def _checked(kind: type, words: str, value: object, where: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{where} must be {words}, got {_shown(value)}")
    return value


def _bounded(value: float, bounds: Within, where: str) -> float:
    if not bounds.low <= value <= bounds.high:
        words = f"at least {bounds.low:g}" if math.isinf(bounds.high) else f"between {bounds.low:g} and {bounds.high:g}"
        raise ValueError(f"{where} must be {words}, got {value}")
    return value


def _finite(value: object, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be finite, got {value}")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _finite(item, where)


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _plain(value: Any) -> Any:
    if writer := getattr(value, "to_json", None):
        write: Callable[[], Any] = writer
        return write()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
