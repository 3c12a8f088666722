"""``weights.safetensors``: its header is compared with the network before any tensor is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load
from torch import Tensor

from snn_rl.core.network import QNetwork
from snn_rl.core.outline import check_shapes, filled
from snn_rl.store import bounded, integrity

WEIGHTS = "weights.safetensors"
MAX_HEADER = 1 << 20
FLOATS = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}  # bytes of the numbers that weights may be
INTEGERS = {"I8": 1, "I16": 2, "I32": 4, **FLOATS}  # of an agent that computes with integers


def read(folder: Path, sums: Mapping[str, str] | None) -> bytes:
    """The file of an agent's folder.

    Args:
        folder: of the agent.
        sums: what its card says of its files.

    Raises:
        UserError: if it is no file or too large.
        ValueError: if it is not as it was written or shipped.
        OSError: if it cannot be read.
    """
    content = bounded.content(folder / WEIGHTS, bounded.MAX_TENSORS)
    integrity.check_listed(folder, {WEIGHTS: content})
    integrity.check_files(sums or {}, {WEIGHTS: content})
    return content


def shapes(content: bytes, sizes: Mapping[str, int] = FLOATS) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors, from the header alone.

    Args:
        content: of the file.
        sizes: bytes of each type of number that is taken.

    Raises:
        ValueError: if the header is damaged, or does not account for every byte behind it.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(MAX_HEADER, len(content) - 8):
        raise ValueError(f"weights.safetensors has a header of {length:,} bytes; it is truncated or damaged")
    header = bounded.parse_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("weights.safetensors has no header")
    header.pop("__metadata__", None)
    found, held, numbers = {}, 0, 0
    for key, entry in header.items():
        match entry:
            case {"dtype": str(dtype), "shape": list(shape)} if all(type(n) is int and n >= 0 for n in shape):
                found[key] = tuple(shape)
            case _:
                raise ValueError(f"weights.safetensors: '{key[:80]}' has no shape")
        if dtype not in sizes:
            raise ValueError(f"weights.safetensors: '{key[:80]}' holds {dtype[:20]}; weights are {', '.join(sizes)}")
        numbers += math.prod(found[key])
        held += math.prod(found[key]) * sizes[dtype]
    if 4 * numbers > bounded.MAX_TENSORS:  # they become float32
        raise ValueError(f"weights.safetensors has {numbers:,} weights; more than {bounded.MAX_TENSORS // 4:,} are refused")
    if held != len(content) - 8 - length:
        raise ValueError(f"weights.safetensors says {held:,} bytes of tensors and has {len(content) - 8 - length:,}")
    return found


def fill(network: QNetwork, content: bytes) -> QNetwork:
    """The network of an outline, with a file's weights.

    Args:
        network: on the meta device, see :mod:`snn_rl.core.outline`.
        content: of the file.

    Raises:
        ValueError: if the file is damaged or of another network.
    """
    check_shapes(network, shapes(content))
    tensors: dict[str, Tensor] = load(content)
    return filled(network, {key: value.float() for key, value in tensors.items()})
