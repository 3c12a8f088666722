"""Networks as text: what can be made spiking, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_SIZE
from snn_rl.core.lstm import GATES, LSTM

Spec = list[dict[str, Any]]
"""A network as text: ``[{"type": "Conv2d", "in_channels": 4, ...}, {"type": "LIF"}, ...]``.

A layer of neurons is called ``ReLU``, ``Tanh`` or ``LSTM`` in an ANN and ``LIF`` in a spiking network.
``{"type": "LIF", "decays": 32}`` is one whose 32 channels leak at speeds of their own, ``{"type": "LIF", "recurrent": 256}``
one of 256 neurons whose spikes reach each other at the next timestep. ``{"type": "LSTM", "recurrent": 64}`` is one of 64
cells, behind a Linear with an output for each of their four gates. Older texts call LIFs ``ReLU``. :func:`spiking` and
:func:`analog` turn the text of one kind of network into that of the other.

An observation may be one vector: an image, and numbers behind it. Then ``{"type": "Image", "size": [4, 84, 84]}`` comes first,
and the layers after it see the image alone. ``{"type": "Linear", ..., "beside": 5}`` sees the 5 numbers too, beside what is
sent to it, through weights of their own."""


class Image(nn.Module):
    """The image with which vectors ``(n, numbers)`` begin: ``(n, *size)``. What lies behind it is left out.

    Args:
        size: channels, height, width.
    """

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : prod(self.size)].unflatten(1, self.size)


NEURONS = ("ReLU", "Tanh", "LSTM", "LIF")
WEIGHTED = ("Conv2d", "Linear")
_FIELDS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    nn.Linear: ("in_features", "out_features"),
    nn.AvgPool2d: ("kernel_size", "stride", "padding"),
    nn.Flatten: (),
    nn.ReLU: (),
    nn.Tanh: (),
    LSTM: ("recurrent",),
    Image: ("size",),
}
_TYPES = {kind.__name__: kind for kind in _FIELDS}
_PAIRS = ("kernel_size", "stride", "padding", "dilation")  # height and width
BATCH_NORM = "BatchNorm2d"  # only in ANNs that are being trained: see :mod:`snn_rl.core.fold`


class UnconvertibleError(UserError):
    """A module that has no spiking counterpart; the message names it."""


def describe(modules: Iterable[tuple[str, nn.Module]], beside: Mapping[str, int] | None = None) -> Spec:
    """The spec of named layers, in the order in which they run; ``beside`` says, by name, how many numbers a Linear sees
    beside.

    Raises:
        UnconvertibleError: for a module other than Conv2d, Linear, AvgPool2d, Flatten, ReLU, Tanh (Identity is dropped), for
            a setting of theirs that has no exact counterpart, and for an order that cannot be made spiking.
    """
    spec: Spec = []
    for name, module in modules:
        if isinstance(module, nn.Identity):
            continue
        fields = _FIELDS.get(type(module))
        if fields is None:
            raise UnconvertibleError(
                f"cannot convert module '{name}' ({type(module).__name__}): "
                f"only {', '.join(sorted(_TYPES.keys() - {Image.__name__, LSTM.__name__}))} have a spiking counterpart"
            )
        if getattr(module, "padding_mode", "zeros") != "zeros" or getattr(module, "ceil_mode", False):
            raise UnconvertibleError(f"cannot convert module '{name}': use padding_mode='zeros' and ceil_mode=False")
        if getattr(module, "divisor_override", None) or not getattr(module, "count_include_pad", True):
            raise UnconvertibleError(f"cannot convert module '{name}': AvgPool2d must divide by its kernel's size")
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
            raise UnconvertibleError(f"cannot convert module '{name}': Flatten must flatten all but the batch")
        layer: dict[str, Any] = {"type": type(module).__name__}
        for field in fields:
            value = getattr(module, field)
            layer[field] = list(value) if isinstance(value, tuple) else value
        if "in_channels" in fields or "in_features" in fields:
            layer["bias"] = module.bias is not None
        layer |= {"beside": beside[name]} if beside and name in beside else {}
        if not (layer["type"] == "ReLU" and spec and spec[-1]["type"] == "ReLU"):  # ReLU twice is ReLU
            spec.append(layer)
    split_at_neurons(spec)
    return spec


def check_layers(spec: Spec) -> None:
    """Checks each value of a description by a stranger: what PyTorch would take for a device, a padding mode or a size of its
    own is refused by name.

    Raises:
        UnconvertibleError: naming the layer and the field.
    """
    for n, layer in enumerate(spec):
        kind = layer.get("type")
        if kind not in (*_TYPES, *NEURONS):
            raise UnconvertibleError(f"network[{n}] is no layer of a network: type {str(kind)[:40]!r}")
        known = ("decays", "recurrent") if kind in NEURONS else _FIELDS[_TYPES[kind]]
        known += ("bias",) * (kind in WEIGHTED) + ("beside",) * (kind == "Linear")
        for key, value in layer.items():
            if key != "type" and (key not in known or not _possible(kind, key, value)):
                raise UnconvertibleError(f"network[{n}] says what no {kind} says: {key[:40]} = {str(value)[:40]}")


def _possible(kind: str, key: str, value: object) -> bool:
    if key == "bias":
        return type(value) is bool
    if key == "padding" and kind == "Conv2d" and isinstance(value, str):
        return value in ("same", "valid")
    sizes = value if isinstance(value, list) and len(value) == (3 if key == "size" else 2 if key in _PAIRS else 0) else [value]
    return all(type(size) is int and (0 if key == "padding" else 1) <= size <= MAX_SIZE for size in sizes)


def split_at_neurons(spec: Spec) -> tuple[list[Spec], Spec]:
    """Splits a spec into its synapses, each a list of linear layers with at least one weight, and the neurons between them.

    Raises:
        UnconvertibleError: if a layer of neurons, or the end, has no weights before it, or neurons say what is not known.
    """
    groups: list[Spec] = [[]]
    neurons: Spec = []
    for layer in spec:
        if layer["type"] not in NEURONS:
            groups[-1].append(layer)
            continue
        if not layer.keys() <= {"type", "decays", "recurrent"}:
            raise UnconvertibleError(f"not a layer of neurons: {layer}")
        if layer["type"] == "LSTM" and not (groups[-1] and groups[-1][-1].get("out_features") == _gates(layer)):
            raise UnconvertibleError("an LSTM comes behind a Linear with four outputs for each of its cells")
        groups.append([])
        neurons.append(layer)
    for n, group in enumerate(groups):
        if not any(layer["type"] in WEIGHTED for layer in group):
            kinds = [layer["type"] for layer in neurons[: n + 1]] or ["ReLU"]
            number = kinds.count(kinds[-1])
            where = f"after the last {kinds[-1]}" if n == len(groups) - 1 else f"before {kinds[-1]} number {number}"
            raise UnconvertibleError(f"cannot convert the network: no Conv2d or Linear {where}")
    return groups, neurons


def _gates(layer: dict[str, Any]) -> int:
    """How many currents a layer of LSTM cells takes; 0 where it does not say how many cells it has."""
    return GATES * int(layer.get("recurrent", 0))


def has_lstm(spec: Spec) -> bool:
    """Whether an ANN has LSTMs, and so remembers."""
    return any(layer["type"] == "LSTM" for layer in spec)


def image_of(spec: Spec) -> tuple[int, ...] | None:
    """Size of the image with which its observations begin, ``(channels, height, width)``; None where they are one thing."""
    return tuple(spec[0]["size"]) if spec and spec[0]["type"] == "Image" else None


def numbers_beside(groups: Sequence[Spec]) -> dict[int, int]:
    """How many numbers each group of synapses sees beside what is sent to it; groups that see none are left out.

    Raises:
        UnconvertibleError: where an image is not at the beginning, or numbers are seen without one, or not by the last layer
            of a group, or not all of them.
    """
    found = {}
    for n, group in enumerate(groups):
        for k, layer in enumerate(group):
            if layer["type"] == "Image" and (n or k):
                raise UnconvertibleError("a network sees an image only at its beginning")
            if "beside" in layer:
                if image_of(groups[0]) is None or layer is not group[-1]:
                    raise UnconvertibleError(
                        "numbers are seen beside an image, by the last layer before neurons or the readout"
                    )
                found[n] = int(layer["beside"])
    if len({*found.values()}) > 1:
        raise UnconvertibleError("layers that see the numbers beside an image see all of them")
    return found


def check_undivided(spec: Spec, what: str) -> None:
    """Refuses networks that see numbers beside an image, where they are not defined.

    Raises:
        UnconvertibleError: saying what does take them.
    """
    if image_of(spec) is not None:
        raise UnconvertibleError(
            f"{what} takes agents that see one image or one vector, and this one sees an image with numbers beside it (a "
            "Dict): --to onnx and --to zip take such agents"
        )


def check_memoryless(spec: Spec, what: str) -> None:
    """Refuses ANNs with LSTMs, where they are not defined.

    Raises:
        UnconvertibleError: saying what to do with them.
    """
    if has_lstm(spec):
        raise UnconvertibleError(
            f"{what} takes no ANN with an LSTM: let it teach (python -m snn_rl.train --ann), and give the spiking agent"
        )


def analog(spec: Spec) -> Spec:
    """The spec of the ANN of the same shape: LIFs become ReLUs, without what only spiking neurons have; Tanhs and LSTMs
    stay."""
    own: dict[str, dict[str, Any]] = {"LIF": {"type": "ReLU"}, "ReLU": {"type": "ReLU"}, "Tanh": {"type": "Tanh"}}
    return [own.get(layer["type"], layer) for layer in spec]


def rectified(spec: Spec) -> bool:
    """Whether all neurons of an ANN are ReLUs, whose activations the spike rates of LIF neurons approximate."""
    return all(layer["type"] not in ("Tanh", "LSTM") for layer in spec)


def spiking(spec: Spec, *, decays: bool = False, recurrent: bool = False) -> Spec:
    """The spec of the spiking network of the same shape: ReLUs, Tanhs and LSTMs become LIFs; what neurons say of themselves
    stays. A LIF has one current where a cell of an LSTM has four, so the Linear before it has a quarter of the outputs.

    Args:
        spec: of an ANN or of a spiking network.
        decays: give every layer a decay per channel (in dense layers: per neuron) instead of one.
        recurrent: give every dense layer all-to-all synapses within it, with a delay of one timestep.

    Raises:
        UnconvertibleError: if the spec is not a network, or one with batch norm, which is folded first.
    """
    if any(layer["type"] == BATCH_NORM for layer in spec):
        raise UnconvertibleError("a spiking network has no batch norm: fold it into the weights before it first")
    groups, neurons = split_at_neurons(spec)
    layers: Spec = []
    for group, layer in zip(groups, neurons, strict=False):
        if layer["type"] == "LSTM":
            group[-1] = {**group[-1], "out_features": layer["recurrent"]}
        last = [other for other in group if other["type"] in WEIGHTED][-1]
        own = {**layer, "type": "LIF"}
        if decays:
            own["decays"] = last["out_features" if last["type"] == "Linear" else "out_channels"]
        if recurrent and last["type"] == "Linear":
            own["recurrent"] = last["out_features"]
        layers += [*group, own]
    return layers + groups[-1]


def decay_shape(group: Spec, neurons: dict[str, Any]) -> tuple[int, ...]:
    """Shape of the decay behind a group of synapses."""
    if "decays" not in neurons:
        return ()
    flat = any(layer["type"] in ("Linear", "Flatten") for layer in group)
    if flat and group[-1]["type"] != "Linear":
        raise UnconvertibleError("a decay per channel needs the neurons before their Flatten, not behind it")
    return (neurons["decays"],) if flat else (neurons["decays"], 1, 1)


def build(layer: dict[str, Any]) -> nn.Module:
    """The module that a layer of a spec describes; not for neurons."""
    own = {key: value for key, value in layer.items() if key not in ("type", "beside")}
    kwargs = {key: tuple(value) if isinstance(value, list) else value for key, value in own.items()}
    try:
        return (_TYPES | {BATCH_NORM: nn.BatchNorm2d})[layer["type"]](**kwargs)
    except (KeyError, TypeError) as error:
        raise UnconvertibleError(f"not a layer of a network: {layer}") from error
