"""Classifiers on disk: a folder with ``network.json`` and ``weights.safetensors``, there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import nn

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.outline import filled, outline
from snn_rl.store.bounded import MAX_JSON, content, parse_json
from snn_rl.store.files import whole_folder

NETWORK, WEIGHTS = "network.json", "weights.safetensors"
MAX_WEIGHTS = 1 << 30  # bytes


def keep(folder: Path, network: QNetwork, shape: tuple[int, ...], record: dict[str, Any]) -> None:
    """Writes a classifier's folder.

    Args:
        folder: which does not exist.
        network: without batch norm.
        shape: of an image.
        record: what was measured of it.

    Raises:
        OSError: if it cannot be written.
    """
    described = {
        "network": network.spec,
        "T": network.T,
        "input_scale": network.input_scale,
        "image_shape": list(shape),
        "record": record,
    }
    with whole_folder(folder) as new:
        (new / NETWORK).write_text(json.dumps(described, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (new / WEIGHTS).write_bytes(save({key: value.cpu().contiguous() for key, value in network.state_dict().items()}))


def kept(folder: Path) -> tuple[QNetwork, dict[str, Any]]:
    """A classifier and what was measured of it.

    Raises:
        UserError: if it is damaged.
        OSError: if it cannot be read.
    """
    try:
        described = parse_json(content(folder / NETWORK, MAX_JSON))
        shape = tuple(described["image_shape"])
        plan = outline(described["network"], described["T"], described["input_scale"], False, shape)
        network = filled(plan, load(content(folder / WEIGHTS, MAX_WEIGHTS)))
        return _finite(network).eval(), dict(described["record"])
    except UserError:
        raise
    except OSError:
        raise
    except Exception as error:  # what damaged files raise is of many kinds
        raise UserError(f"'{folder}' is damaged ({str(error)[:100]}); remove it and add --resume to make it anew") from error


def _finite(network: QNetwork) -> QNetwork:
    if not all(bool(value.isfinite().all()) for value in nn.Module.state_dict(network).values()):
        raise ValueError("its weights are not finite")
    return network
