"""How many threads a training computes with: one, or those that a measurement at its start finds to pay."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch as th

from snn_rl.core import threads
from snn_rl.core.network import QNetwork, mixed_precision
from snn_rl.training.jobs import Job


def learnt_at_once(job: Job, carry: bool) -> tuple[int, int]:
    """Environment steps and sequences of a gradient step; a network that carries nothing learns from single steps."""
    if job.start is None:
        return 1, job.recipe.train.batch_size
    numbers = job.recipe.td if job.objective == "td" else job.recipe.prune
    if carry:
        return numbers.burn_in + numbers.sequence_length, numbers.batch_size
    return 1, numbers.batch_size * numbers.sequence_length


def trial(network: QNetwork, steps: int, sequences: int, shape: Sequence[int]) -> Callable[[], None]:
    """What takes the time of a gradient step on images: forwards and backwards through a copy of the network, on noise.

    The network, its optimiser and all random generators stay as they are.

    Args:
        network: that will learn.
        steps: environment steps of a sequence.
        sequences: in the batch.
        shape: of one observation.
    """
    device = next(network.parameters()).device
    twin, noise = copy.deepcopy(network), th.Generator().manual_seed(0)
    observations = th.randint(256, (steps, sequences, *shape), generator=noise, dtype=th.uint8).to(device)

    def step() -> None:
        with mixed_precision(device):
            q, _ = twin.unroll(observations)
        twin.zero_grad()
        q.float().square().mean().backward()

    return step


def chosen(job: Job, network: QNetwork, shape: Sequence[int]) -> tuple[int, str]:
    """Threads for a training, and a line that says why.

    Only images are worth the measurement: small networks lose by more than one thread.

    Args:
        job: the training.
        network: that will learn.
        shape: of one observation.
    """
    most = threads.most()
    if not _images(network, shape) or most == 1 or next(network.parameters()).device.type != "cpu":
        return 1, _said(1)
    step = trial(network, *learnt_at_once(job, network.carry), shape)
    seconds = threads.timed(step, most)
    times = ", ".join(f"{value:.2g} s with {n}" for n, value in seconds.items())
    n = threads.choice(seconds)
    return n, f"{_said(n)} (a gradient step took {times})"


def _images(network: QNetwork, shape: Sequence[int]) -> bool:
    """Whether it sees images, alone or with numbers beside them."""
    return len(shape) == 3 or network.image is not None


def given() -> tuple[int, str]:
    """The threads that torch computes with now, and a line that says so."""
    n = th.get_num_threads()
    return n, _said(n)


class Threads:
    """With how many threads a training computes: a part of its checkpoint, because another number can change the last bit of a
    sum, and a measurement does not always end in the same one.

    Attributes:
        n: threads.
        why: a line that says so.
        measured: whether :meth:`choose` has measured.
    """

    def __init__(self) -> None:
        self.n, self.why, self.measured = 1, _said(1), False

    def choose(self, job: Job, network: QNetwork, shape: Sequence[int], tune: bool) -> None:
        """Decides at the beginning of a training, see :func:`chosen` (``tune``) and :func:`given`."""
        self.measured = tune and _images(network, shape)
        self.n, self.why = chosen(job, network, shape) if tune else given()

    def state_dict(self) -> dict[str, Any]:
        """The number."""
        return {"n": self.n}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the number of a :meth:`state_dict`."""
        self.n = state["n"]
        self.why = f"{_said(self.n)}, as before"


def _said(n: int) -> str:
    return f"torch computes with {n} thread" + "s" * (n > 1)
