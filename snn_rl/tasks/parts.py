"""Observations in parts (a Dict, a Tuple, numbers) as one vector, in the order in which Stable-Baselines3 joins them. An image
among them comes first, as its pixels, channels first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import Annotated, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_SIZE
from snn_rl.store.schema import Record, Within

Size = Annotated[int, Within(1, MAX_SIZE)]


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    """A part of an observation.

    ``path``: the keys that lead to it, outermost first; none where it is the whole observation. ``shape``: of one, as the
    environment shows it; of an image with channels first. ``numbers``: it holds whole numbers, so many each, which are seen
    one-hot. ``lowest``: of them, if they do not begin at 0. ``image``: it is an image.
    """

    path: list[str]
    shape: list[Size]
    numbers: list[Size] | None = None
    lowest: list[int] | None = None
    image: bool | None = None

    def __post_init__(self) -> None:
        numbers = self.numbers
        if numbers is not None and (len(numbers) != prod(self.shape) or len(self.lowest or numbers) != len(numbers)):
            raise ValueError(f"numbers has {len(numbers)}, the part has {prod(self.shape)}")
        if self.image and (len(self.shape) != 3 or numbers is not None):
            raise ValueError(f"shape of an image has three sizes, got {self.shape}")

    @property
    def size(self) -> int:
        """Numbers that it is in the vector."""
        return prod(self.shape) if self.numbers is None else sum(self.numbers)

    def of(self, observation: Any) -> NDArray[Any]:
        """The part in an observation, or in a batch of them: ``(size,)`` or ``(n, size)``. An image may have its channels
        last.

        Raises:
            UserError: if it is not there, or has another shape.
        """
        for key in self.path:
            try:
                observation = observation[key if isinstance(observation, Mapping) else int(key)]
            except (LookupError, TypeError, ValueError) as error:
                raise UserError(f"the observation lacks the part '{'.'.join(self.path)}'") from error
        value, shape = np.asarray(observation), tuple(self.shape)
        if self.image and value.shape[-3:] == (*shape[1:], shape[0]) != shape:
            value = np.moveaxis(value, -1, -3)
        lead = value.shape[: value.ndim - len(shape)]
        if len(lead) > 1 or value.shape[len(lead) :] != shape:
            raise UserError(f"the part '{'.'.join(self.path)}' has shape {shape}, got {value.shape}")
        flat = value.reshape(*lead, prod(shape))
        return flat if self.numbers is None else self._one_hot(flat)

    def _one_hot(self, values: NDArray[Any]) -> NDArray[np.float32]:
        assert self.numbers is not None
        at = values.astype(np.int64) - np.array(self.lowest or 0)
        if ((at < 0) | (at >= np.array(self.numbers))).any():
            raise UserError(f"the part '{'.'.join(self.path)}' holds {values.tolist()}, beyond its {self.numbers} numbers")
        seen = np.zeros((*at.shape[:-1], self.size), np.float32)
        np.put_along_axis(seen, at + np.cumsum([0, *self.numbers[:-1]]), 1, -1)
        return seen

    def bounds(self, space: spaces.Space[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lowest and highest values, flat; ``space``: of the whole observation."""
        for key in self.path:
            space = space[key] if isinstance(space, spaces.Dict) else space[int(key)]  # type: ignore[index]  # a Tuple
        if self.numbers is None and isinstance(space, spaces.Box):
            return space.low.reshape(-1), space.high.reshape(-1)
        return np.zeros(self.size, np.float32), np.ones(self.size, np.float32)


@dataclass(frozen=True)
class Parts:
    """All parts of an observation, in the order in which the environment names them."""

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if sum(bool(part.image) for part in self.parts) > 1:
            raise ValueError("an observation has one image")

    @property
    def image(self) -> Part | None:
        """The one that is an image."""
        return next((part for part in self.parts if part.image), None)

    @property
    def pixels(self) -> int:
        """Numbers in the vector that are the image's."""
        return 0 if self.image is None else self.image.size

    @property
    def laid(self) -> list[Part]:
        """The parts as they lie in the vector: an image first."""
        return sorted(self.parts, key=lambda part: not part.image)

    @property
    def slices(self) -> list[slice]:
        """Where each part lies in the vector."""
        return [slice(*pair) for pair in pairwise(accumulate((part.size for part in self.laid), initial=0))]

    @property
    def size(self) -> int:
        """Numbers in the vector."""
        return sum(part.size for part in self.parts)

    @property
    def whole(self) -> bool:
        """Whether an observation is one part: numbers, no Dict and no Tuple."""
        return not self.parts[0].path

    def join(self, observation: Any) -> NDArray[Any]:
        """One vector of an observation, ``(size,)``, or of a batch of them, ``(n, size)``; float32, or uint8 where all parts
        are.

        Raises:
            UserError: if a part is missing, or has another shape.
        """
        rows = [part.of(observation) for part in self.laid]
        joined = np.concatenate(rows, -1)
        return joined if joined.dtype == np.uint8 else joined.astype(np.float32)

    def seen(self, observation: Any) -> Any:
        """An observation as :meth:`join` shows it, where it is in parts; a vector that is joined already stays."""
        if isinstance(observation, Mapping):
            return self.join(observation)
        if isinstance(observation, tuple):
            keys = {part.path[0] for part in self.parts if part.path}
            return self.join(observation) if keys == set(map(str, range(len(observation)))) else observation
        return self.join(observation) if self.whole and not self._joined(np.asarray(observation)) else observation

    def _joined(self, seen: NDArray[Any]) -> bool:
        """Whether numbers, or an array, are a vector already."""
        part = self.parts[0]
        if seen.shape[-1:] != (self.size,) or tuple(part.shape) == seen.shape[-len(part.shape) :] != (self.size,):
            return False
        if part.numbers is None or seen.dtype.kind == "f":
            return True
        return bool(((seen.sum(-1) == len(part.numbers)) & (seen.max(-1) == 1)).all())

    def stacked(self, frames: int) -> Parts:
        """The parts of that many stacked frames; numbers are one-hot in them."""
        if frames == 1:
            return self
        shapes = [[frames * part.shape[0], *part.shape[1:]] if part.image else [frames * part.size] for part in self.parts]
        return Parts(
            tuple(Part(path=part.path, shape=one, image=part.image) for part, one in zip(self.parts, shapes, strict=True))
        )

    def in_stack(self, stack: NDArray[Any]) -> NDArray[Any]:
        """One vector of the vectors of several frames, ``(frames, size)``: the frames of each part follow one another, as
        ``VecFrameStack`` stacks them."""
        return np.concatenate([stack[:, where].reshape(-1) for where in self.slices])

    def as_dict(self) -> spaces.Dict:
        """The space of a Dict with an image for which a ``CombinedExtractor`` is built: ``part0``, ``part1``, ... in order."""
        boxes = [
            spaces.Box(0, 255, part.shape, np.uint8) if part.image else spaces.Box(-1, 1, (part.size,)) for part in self.parts
        ]
        return spaces.Dict([(f"part{n}", box) for n, box in enumerate(boxes)])

    def to_json(self) -> list[dict[str, Any]]:
        """The parts as JSON."""
        return [part.to_json() for part in self.parts]

    @classmethod
    def from_json(cls, written: object) -> Parts:
        """The parts as JSON holds them.

        Raises:
            ValueError: if it holds none.
        """
        if not isinstance(written, list) or not written:
            raise ValueError("parts must be a list")
        return cls(tuple(Part.from_json(part, f"parts[{n}].") for n, part in enumerate(written)))


class Joined(spaces.Box):
    """The space of the vectors that :meth:`Parts.join` makes.

    Args:
        parts: of the observations.
        low: lowest values, ``(size,)``.
        high: highest values.
    """

    def __init__(self, parts: Parts, low: NDArray[Any], high: NDArray[Any]) -> None:
        super().__init__(low, high, (parts.size,), low.dtype.type)
        self.parts = parts

    @classmethod
    def of(cls, space: spaces.Space[Any], transposed: bool = False) -> Joined:
        """The space of a Dict, a Tuple or of numbers, as one vector.

        Args:
            space: of the observations.
            transposed: Stable-Baselines3 has brought the channels of images to the front already.

        Raises:
            UserError: if it has a part that is neither a vector nor an image nor whole numbers, or several images.
        """
        found = _parts(space, (), transposed)
        images = [f"'{'.'.join(part.path)}'" for part in found if part.image]
        if len(images) > 1:
            raise UserError(
                f"the parts {' and '.join(images)} are images, and a network sees one: let the environment stack them along "
                "their channels, gymnasium.wrappers.TransformObservation(env, function, space), or show one of them"
            )
        parts = Parts(tuple(found))
        low, high = (np.concatenate(ends) for ends in zip(*(part.bounds(space) for part in parts.laid), strict=True))
        kind = np.uint8 if low.dtype == np.uint8 else np.float32
        return cls(parts, low.astype(kind), high.astype(kind))


def in_parts(space: spaces.Space[Any]) -> bool:
    """Whether observations are joined before a network sees them: all but vectors and images."""
    if isinstance(space, spaces.Box):
        return len(space.shape) not in (1, 3)
    return isinstance(space, spaces.Dict | spaces.Tuple | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def stacked(space: spaces.Space[Any], frames: int) -> int:
    """Frames that lie one behind the other in an observation: of joined ones, whose frames lie part by part, there is one."""
    return 1 if isinstance(space, Joined) else frames


def image_in(space: spaces.Space[Any]) -> tuple[int, ...] | None:
    """Size of the image among the parts of observations, ``(channels, height, width)``; None without one."""
    parts = space.parts if isinstance(space, Joined) else Joined.of(space).parts if in_parts(space) else None
    return None if parts is None or parts.image is None else tuple(parts.image.shape)


def sees_image(space: spaces.Space[Any]) -> bool:
    """Whether observations are images, or hold one."""
    return len(space.shape or ()) == 3 or image_in(space) is not None


def _parts(space: spaces.Space[Any], path: Sequence[str], transposed: bool) -> list[Part]:
    match space:
        case spaces.Dict() | spaces.Tuple():
            inner = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
            return [part for key, one in inner for part in _parts(one, (*path, str(key)), transposed)]
        case spaces.Discrete():
            lowest = [int(space.start)] if space.start else None
            return [Part(path=[*path], shape=[], numbers=[int(space.n)], lowest=lowest)]
        case spaces.MultiDiscrete():
            start = space.start.reshape(-1).tolist()
            lowest = start if any(start) else None
            return [Part(path=[*path], shape=[*space.shape], numbers=space.nvec.reshape(-1).tolist(), lowest=lowest)]
        case spaces.Box() if is_image_space(space):
            high, wide, channels = space.shape
            first = transposed or is_image_space_channels_first(space)
            return [Part(path=[*path], shape=[*space.shape] if first else [channels, high, wide], image=True)]
        case spaces.Box() | spaces.MultiBinary():
            return [Part(path=[*path], shape=[*space.shape])]
    where = f"the part '{'.'.join(path)}'" if path else "the observation"
    raise UserError(f"{where} is a {type(space).__name__}; a network sees vectors, images and whole numbers")
