"""Learning to classify: an ANN from nothing, or a spiking network from the one before it; by cross-entropy or from the ANN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
import torch.nn.functional as F
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork, mixed_precision
from snn_rl.images.data import Images, Part
from snn_rl.training.watch import Watch

NEURON_RATE = 10.0  # of thresholds and decays, times the learning rate: they have to move by their own size
MAX_GRAD_NORM = 10.0
TEMPERATURE = 2.0  # of the distilled probabilities
ORDER, SHIFTS, DROPOUT = range(3)  # what is random
CHUNK_BYTES = 256 << 20  # of one layer's currents, while nothing is learnt


@dataclass(frozen=True)
class Numbers:
    """How a network learns.

    Attributes:
        epochs: passes over the training images.
        batch_size: images of a gradient step.
        learning_rate: of Adam at the beginning; it falls linearly to 0.
        dropout: part of the neurons that are silent for an image, at all its timesteps.
        objective: ``cross-entropy`` of the classes, or ``distill``: that, and as much of the divergence from the ANN.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    dropout: float
    objective: str = "cross-entropy"


def chunk(network: QNetwork, shape: tuple[int, ...]) -> int:
    """How many images may go through a network at a time, so that its largest layer stays small."""
    widest = max((math.prod(each) for each in network.shapes(shape)), default=1)
    return max(CHUNK_BYTES // (4 * widest * max(network.T, 1)), 1)


def logits_of(network: QNetwork, images: Tensor) -> Tensor:
    """The logits ``(n, classes)`` of images ``(n, channels, height, width)``, each seen from rest. Nothing is learnt."""
    device, size = next(network.parameters()).device, chunk(network, tuple(images.shape[1:]))
    network.eval()
    with th.no_grad():
        return th.cat([network.unroll(some.to(device).unsqueeze(0))[0][0].cpu() for some in images.split(size)])


def accuracy(network: QNetwork, part: Part) -> float:
    """Share of the images that a network classifies right."""
    return float((logits_of(network, part.images).argmax(-1) == part.labels).double().mean())


def merit(network: QNetwork, part: Part) -> float:
    """By what networks are selected: the accuracy; of equals, the one with the lower cross-entropy is ahead by less than an
    image."""
    logits = logits_of(network, part.images)
    right = float((logits.argmax(-1) == part.labels).double().mean())
    return right - min(float(F.cross_entropy(logits, part.labels)), 10.0) / (20 * len(part))


def varied(images: Tensor, shift: int, flips: bool, generator: th.Generator) -> Tensor:
    """Images ``(n, channels, height, width)``, each shifted by up to ``shift`` pixels each way (what comes in is black) and,
    if ``flips``, mirrored or not."""
    n, _, height, width = images.shape
    padded = F.pad(images, (shift,) * 4)
    down, right = th.randint(0, 2 * shift + 1, (2, n), generator=generator)
    across = th.arange(width).expand(n, width)
    if flips:
        across = th.where(th.rand(n, 1, generator=generator) < 0.5, across.flip(1), across)
    rows = (down[:, None] + th.arange(height))[:, :, None]
    columns = (right[:, None] + across)[:, None]
    return padded[th.arange(n)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)


class Classifier:
    """Trains a network; each :meth:`update` is a gradient step.

    What is random in a step follows from the seed and the number of the step, so that a training that was interrupted goes on
    as if it had not been.

    Args:
        network: trained in place.
        images: the data.
        numbers: how it learns.
        seed: of the order of images, of their shifts, and of dropout.
        teacher: the ANN, for ``distill``.
    """

    def __init__(
        self, network: QNetwork, images: Images, numbers: Numbers, seed: int, teacher: QNetwork | None = None
    ) -> None:
        self.network, self.images, self.numbers, self.seed, self.teacher = network, images, numbers, seed, teacher
        self.device = next(network.parameters()).device
        neurons = [parameter for lif in network.lifs for parameter in lif.parameters()]
        known = {id(parameter) for parameter in neurons}
        weights = [parameter for parameter in network.parameters() if id(parameter) not in known]
        self.optimizer = th.optim.Adam([{"params": weights}, {"params": neurons}], fused=True)
        network.dropout = numbers.dropout

    @property
    def steps_per_epoch(self) -> int:
        """Gradient steps of a pass over the images."""
        return math.ceil(len(self.images.train) / self.numbers.batch_size)

    @property
    def total(self) -> int:
        """Gradient steps of the training."""
        return self.numbers.epochs * self.steps_per_epoch

    def learn(self, watch: Watch) -> None:
        """Updates until ``watch`` says stop.

        Raises:
            UserError: if the loss is not finite any more.
        """
        going = watch.going and watch.update(watch.done)  # evaluates where that was interrupted
        while going:
            loss = self.update(watch.done)
            going = watch.update(watch.done + 1, loss=loss)

    def update(self, step: int) -> float:
        """One gradient step, the ``step``-th from 0; returns the loss.

        Raises:
            UserError: if it is not finite.
        """
        images, labels = self._batch(step)
        for group, factor in zip(self.optimizer.param_groups, (1.0, NEURON_RATE), strict=True):
            group["lr"] = self.numbers.learning_rate * factor * (1 - step / self.total)
        self.network.train()
        th.manual_seed(_seed(self.seed, DROPOUT, step))
        with mixed_precision(self.device, len(self.images.shape) == 3 and self.images.shape[1] > 16):
            logits = self.network.unroll(images.unsqueeze(0))[0][0].float()
        loss = F.cross_entropy(logits, labels)
        if self.teacher is not None:
            with th.no_grad():
                taught = self.teacher.unroll(images.unsqueeze(0))[0][0]
            student, teacher = ((values / TEMPERATURE).log_softmax(-1) for values in (logits, taught))
            loss = loss + TEMPERATURE**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(f"the loss is {value} after {step:,} gradient steps; give a lower --learning-rate")
        self.optimizer.zero_grad()
        loss.backward()
        th.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        return value

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The images and labels of a step."""
        part, (epoch, at) = self.images.train, divmod(step, self.steps_per_epoch)
        order = th.randperm(len(part), generator=th.Generator().manual_seed(_seed(self.seed, ORDER, epoch)))
        chosen = order[at * self.numbers.batch_size :][: self.numbers.batch_size]
        generator = th.Generator().manual_seed(_seed(self.seed, SHIFTS, step))
        images = varied(part.images[chosen], self.images.shift, self.images.flips, generator)
        return images.to(self.device), part.labels[chosen].to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """The network and its optimiser."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a :meth:`state_dict` back."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def _seed(seed: int, kind: int, n: int) -> int:
    """A seed for the ``n``-th draw of one kind of a training."""
    return int(np.random.SeedSequence((seed, kind, n)).generate_state(1, np.uint64)[0] >> 1)
