"""What a Stable-Baselines3 zip says of the network in it, without unpickling anything."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple, cast

from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.hints import Hints
from snn_rl.sb3.layouts import Layout, check_actions, layout_of

SPIKING = "q_net.network."  # what the tensors of our own policies begin with
ACTIVATIONS: dict[str, type[nn.Module]] = {"ReLU": nn.ReLU, "Tanh": nn.Tanh}
_NATURE = [
    f"{layer}.{kind}" for layer in ("cnn.0", "cnn.2", "cnn.4", "linear.0") for kind in ("weight", "bias")
]  # NatureCNN's
_KNOWN = ("stable_baselines3", "sb3_contrib", "snn_rl")  # packages whose policies have the usual activations


class Zip(NamedTuple):
    """What is read from a zip; nothing in it was unpickled."""

    path: Path
    data: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def spiking(self) -> bool:
        """Whether it is of one of our own policies."""
        return any(key.startswith(SPIKING) for key in self.tensors)

    @property
    def policy_kwargs(self) -> dict[str, Any]:
        """Those that were written as JSON, or as the text of what was not."""
        return plain(self.data.get("policy_kwargs"))

    @property
    def layout(self) -> Layout:
        """Which of the tensors decide.

        Raises:
            UserError: if it is of an algorithm that cannot be read.
        """
        return layout_of(self.tensors, self.path)

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with it, under the rest of their names."""
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def damaged(self) -> UserError:
        """What is said of tensors that are no network."""
        return UserError(f"'{self.path}' is damaged: its tensors are no network that decides; copy or save it anew")

    @property
    def policy_module(self) -> str:
        """The module of the policy's class; "" where the zip does not tell."""
        return str(plain(self.data.get("policy_class")).get("__module__", ""))


def plain(value: object) -> dict[str, Any]:
    """A dictionary, empty where a file holds something else in its place."""
    return value if isinstance(value, dict) else {}


def check_algorithm(source: Zip) -> None:
    """Refuses zips of algorithms, and of actions that no agent here can have.

    Raises:
        UserError: naming what cannot be read.
    """
    if source.spiking:
        return
    actions = str(plain(source.data.get("action_space")).get(":type:", ""))
    who = f"'{source.path}'"
    if ".maskable." in source.policy_module:
        raise UserError(
            f"{who} is of MaskablePPO, whose masks of actions no agent here sees; let the environment end or punish what is "
            "not allowed, and train it anew with PPO or DQN"
        )
    layout_of(source.tensors, source.path)
    check_actions(who, actions.rstrip("'>").rsplit(".", 1)[-1])


def activation_of(source: Zip, layout: Layout, hints: Hints) -> type[nn.Module]:
    """What is between the dense layers: as the zip says, as the user says, or as it is by default.

    Raises:
        UserError: if the zip says another than the user, or a policy class of its own may have another than usual.
        UnconvertibleError: if it has no spiking counterpart.
    """
    named, written = hints.activation, source.policy_kwargs.get("activation_fn")
    name = str(written).rstrip("'>").rsplit(".", 1)[-1]  # was written "<class 'torch.nn.modules.activation.ReLU'>"
    if named is not None:
        if named not in ACTIVATIONS or (name in ACTIVATIONS and name != named):
            says = f"'{source.path}' says {name}" if named in ACTIVATIONS else f"choose from {', '.join(ACTIVATIONS)}"
            raise UserError(f"--activation {named}: {says}; leave it out or mend it")
        return ACTIVATIONS[named]
    module = source.policy_module
    if written is None and module and module.partition(".")[0] not in _KNOWN:
        raise UserError(
            f"'{source.path}' has a policy class of its own (in {module}), whose activation a zip does not tell without "
            f"running its pickle; name it with --activation {' or '.join(ACTIVATIONS)}"
        )
    name = layout.activation if written is None else name
    if name not in ACTIVATIONS:
        raise UnconvertibleError(
            f"cannot convert '{source.path}': its activation {name} has no spiking counterpart; if it is a "
            f"{' or a '.join(ACTIVATIONS)} under another name, say so with --activation"
        )
    return ACTIVATIONS[name]


def image_key(body: Collection[str]) -> str | None:
    """The key of a Dict's image, where the tensors are those of a ``CombinedExtractor`` for it; None for others."""
    key = next(iter(body), "").removeprefix("extractors.").partition(".")[0]
    return key if [*body] == [f"extractors.{key}.{name}" for name in _NATURE] else None


def extractor_of(source: Zip, body: dict[str, Tensor], named: str | None) -> type[BaseFeaturesExtractor]:
    """The class of the feature extractor: the one that is named, or the one of SB3's own that the tensors show.

    Args:
        source: the zip.
        body: the extractor's tensors; of a spiking policy all of them.
        named: ``module:Class``.

    Raises:
        UserError: if the class has to be named, or is not there.
    """
    if named is not None:
        module, _, name = named.partition(":")
        try:
            return cast(type[BaseFeaturesExtractor], getattr(importlib.import_module(module), name))
        except Exception as error:  # whatever is wrong in the user's module
            raise UserError(f"--extractor {named}: {type(error).__name__}: {error}; write it as module:Class") from error
    kwargs = source.policy_kwargs
    if source.spiking:  # the extractor was taken apart
        standard = "features_extractor_class" not in kwargs
    else:
        standard = [*body] in ([], _NATURE)
        if image_key(body) is not None:
            return CombinedExtractor
        if len({key.split(".")[1] for key in body if key.startswith("extractors.")}) > 1:
            raise UnconvertibleError(
                f"cannot convert '{source.path}': it sees several images, and a network here sees one; stack them along their "
                "channels and train it anew"
            )
    kernels = [value.shape[-1] for value in body.values() if value.dim() == 4]
    if standard and kernels in ([], [8, 4, 3]):
        return NatureCNN if kernels else FlattenExtractor
    written = kwargs.get("features_extractor_class", "a class of its own")
    raise UserError(
        f"'{source.path}' has a custom feature extractor ({written}), whose strides a zip does not tell without running its "
        "pickle; name the class with --extractor module:Class"
    )
