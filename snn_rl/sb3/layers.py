"""Reads the modules of a Stable-Baselines3 network as one flat list of layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.dqn.policies import QNetwork as SB3QNetwork
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import Image, Spec, UnconvertibleError, describe, spiking
from snn_rl.tasks.parts import Joined, image_in, in_parts


def leaves(name: str, module: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """The modules without children, with their dotted names, in the order of their definition. An empty Sequential does
    nothing and is none."""
    if module is None:
        return
    children = [(n, child) for n, child in module._modules.items() if child is not None]  # named_children drops repetitions
    if not children and not isinstance(module, nn.Sequential):
        yield name, module
    for child_name, child in children:
        yield from leaves(f"{name}.{child_name}", child)


Named = list[tuple[str, nn.Module]]


@dataclass(frozen=True)
class Layers:
    """Modules with their names, in the order in which they run.

    Attributes:
        named: the modules.
        beside: by the name of a Linear, what the numbers beside an image are multiplied by there.
        own: by the name of an LSTM, what it multiplies by that it sent itself.
    """

    named: Named
    beside: Mapping[str, nn.Linear] = field(default_factory=dict)
    own: Mapping[str, nn.Linear] = field(default_factory=dict)

    @classmethod
    def of(cls, extractor: BaseFeaturesExtractor, head: Named) -> Self:
        """A feature extractor with dense layers behind it. That of a ``MultiInputPolicy`` has no layers for vectors, which are
        joined already. Where it has some for an image, the first dense layer is two: one behind the image's layers, and one
        that sees the numbers beside.

        Raises:
            UnconvertibleError: for several images, and for one whose numbers are no bytes.
        """
        if type(extractor) is not CombinedExtractor:
            return cls([*leaves("features_extractor", extractor), *head])
        space = cast(spaces.Dict, extractor._observation_space)
        images = [key for key, own in extractor.extractors.items() if not isinstance(own, nn.Flatten)]
        if not images:
            return cls(head)
        if len(images) > 1 or not is_image_space(space[images[0]]):
            kinds = " and ".join(f"'{key}' ({type(extractor.extractors[key]).__name__})" for key in images)
            said = f"cannot convert the parts {kinds}: one may be an image, of bytes from 0 to 255"
            raise UnconvertibleError(f"{said}; stack them along their channels and train it anew")
        own = cast(NatureCNN, extractor.extractors[images[0]])
        widths = {key: own.features_dim if key in images else get_flattened_obs_dim(part) for key, part in space.items()}
        of_image = th.cat([th.full((width,), key in images) for key, width in widths.items()])
        (name, first), *rest = head
        if not isinstance(first, nn.Linear):
            raise UnconvertibleError(
                f"cannot convert module '{name}' ({type(first).__name__}): a Linear comes behind the parts"
            )
        image: nn.Module = Image(cast(tuple[int, ...], space[images[0]].shape))
        before = [("image", image), *leaves(f"features_extractor.extractors.{images[0]}", own)]
        if bool(of_image.all()):
            return cls([*before, *head])
        behind, beside = _columns(first, of_image, bias=True), _columns(first, ~of_image, bias=False)
        return cls([*before, (name, behind), *rest], {name: beside})


def _columns(layer: nn.Linear, which: Tensor, bias: bool) -> nn.Linear:
    """A Linear with some of the inputs of another, and with its bias or none; ``which``: a bool for each input."""
    part = nn.Linear(int(which.sum()), layer.out_features, bias=bias and layer.bias is not None)
    with th.no_grad():
        part.weight.copy_(layer.weight[:, which.to(layer.weight.device)])
        if bias and layer.bias is not None:
            part.bias.copy_(layer.bias)
    return part


def moved(probe: PyTorchObs, device: th.device) -> Any:
    """Observations on a device."""
    return {key: part.to(device) for key, part in probe.items()} if isinstance(probe, dict) else probe.to(device)


def read_layers(layers: Layers, T: int, input_scale: float, carry: bool = True, **neurons: bool) -> QNetwork:
    """A network of these layers, with their weights. With T >= 1 the ReLUs become LIF layers of threshold 1, with what
    ``neurons`` says: see :func:`~snn_rl.core.spec.spiking`.

    Raises:
        UnconvertibleError: naming the module that has no spiking counterpart; with T >= 1 a Tanh is one.
    """
    named, aside = layers.named, dict(layers.beside)
    for name, module in named if T else ():
        if isinstance(module, nn.Tanh):
            raise UnconvertibleError(f"cannot convert module '{name}' (Tanh): LIF neurons take the place of ReLUs; name ReLU")
    spec = describe(named, {name: module.in_features for name, module in aside.items()})
    network = QNetwork(spiking(spec, **neurons) if T else spec, T, input_scale, carry)
    modules = [*(module for _, module in named), *aside.values(), *layers.own.values()]
    source = [tensor for module in modules for tensor in module.parameters(recurse=False)]
    of_lstms = () if T else network.recurrent.parameters()
    own = [*network.synapses.parameters(), *network.beside.parameters(), *of_lstms]
    with th.no_grad():
        for ours, theirs in zip(own, source, strict=True):
            ours.copy_(theirs)
    return network


def build_network(spec: Spec, T: int, input_scale: float, carry: bool) -> QNetwork:
    """The network that a description stands for, with random weights.

    Raises:
        UserError: if it is none. (UnconvertibleError is one.)
    """
    try:
        return QNetwork(spec, T, input_scale, carry)
    except UserError:
        raise
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"spec does not describe a network ({type(error).__name__}: {error}); see snn_rl.core.spec") from error


def pixel_scale(space: spaces.Space[Any], normalize_images: bool) -> float:
    """The factor with which Stable-Baselines3 scales observations: 1/255 for images, 1 for vectors."""
    return 1 / 255 if normalize_images and (is_image_space(space) or image_in(space) is not None) else 1.0


@dataclass(frozen=True)
class Decider:
    """The layers by which a policy of Stable-Baselines3 decides.

    Attributes:
        layers: the modules.
        forward: what the policy computes by them: ``(batch, *observation)``, unscaled, to ``(batch, actions)``.
        space: of observations.
        normalize_images: whether the policy scales pixels.
        name: of what computes the features, for messages.
        logits: the values are logits of the policy, which are the same if a constant is added; else Q-values.
    """

    layers: Layers
    forward: Callable[[PyTorchObs], Tensor]
    space: spaces.Space[Any]
    normalize_images: bool
    name: str
    logits: bool = False

    def read(self, T: int = 0, carry: bool = True, **neurons: bool) -> QNetwork:
        """A network with these layers and their weights.

        Args:
            T: timesteps per decision; 0 for the ANN.
            carry: keep the membranes from one environment step to the next.
            neurons: see :func:`read_layers`.

        Raises:
            UnconvertibleError: naming the module that cannot be read as one flat list of layers.
        """
        scale = pixel_scale(self.space, self.normalize_images)
        network = read_layers(self.layers, T, scale, carry, **neurons)
        self._check_in_order(read_layers(self.layers, 0, scale))
        return network

    def _probe(self, scale: float) -> tuple[Tensor, PyTorchObs]:
        """Random observations as the layers see them, and as the policy is given them."""
        if in_parts(self.space):
            space = copy.deepcopy(self.space)
            space.seed(0)
            samples = [space.sample() for _ in range(8)]
            joined = np.stack([Joined.of(space, transposed=True).parts.join(one) for one in samples])
            if isinstance(space, spaces.Dict):
                return th.as_tensor(joined), {key: th.as_tensor(np.stack([one[key] for one in samples])) for key in space}
            return th.as_tensor(joined), th.as_tensor(np.stack(samples))
        shape = self.space.shape or ()
        probe = th.randn(8, *shape) if scale == 1 else th.rand(8, *shape) / scale
        return probe, probe

    def _check_in_order(self, ann: QNetwork) -> None:
        """Makes sure that the policy computes what its layers compute one after the other."""
        probe, raw = self._probe(ann.input_scale)
        try:
            with th.no_grad():
                ours, theirs = ann(probe)[0], self.forward(raw)
        except RuntimeError as error:
            raise UnconvertibleError(f"cannot convert '{self.name}': run as a list of layers it fails ({error})") from error
        if not bool(th.isfinite(theirs).all()):
            raise UnconvertibleError(
                f"cannot convert '{self.name}': its values are NaN or infinite; its weights are too large"
            )
        if self.logits:
            ours, theirs = ours.log_softmax(-1), theirs.log_softmax(-1)
        if ours.shape != theirs.shape or not th.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max())):
            raise UnconvertibleError(f"cannot convert '{self.name}': its forward does more than run its layers in order")


def decider_of(q_net: SB3QNetwork) -> Decider:
    """The layers of Stable-Baselines3's Q-network: feature extractor, then ``q_net``; they stay as they are."""
    device = next(q_net.parameters()).device
    return Decider(
        Layers.of(q_net.features_extractor, [*leaves("q_net", q_net.q_net)]),
        lambda probe: q_net(moved(probe, device)).cpu(),
        q_net.observation_space,
        q_net.normalize_images,
        type(q_net.features_extractor).__name__,
    )


def mean_over_quantiles(layer: nn.Linear, n_quantiles: int) -> nn.Linear:
    """The layer that gives the mean over the quantiles that a layer gives, which is linear as they are.

    Args:
        layer: whose outputs are the first quantile of every action, then the second of every action, and so on.
        n_quantiles: of each action.
    """
    with th.no_grad():
        weight, bias = (tensor.double().unflatten(0, (n_quantiles, -1)).mean(0).float() for tensor in layer.parameters())
        mean = nn.Linear(weight.shape[1], weight.shape[0])
        mean.weight.copy_(weight)
        mean.bias.copy_(bias)
    return mean
