"""The neuron beside other libraries': forward and backward of T timesteps of a layer, as far as they are installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch as th
from torch import Tensor

from snn_rl.core.lif import LIF
from snn_rl.speed.timing import Task

NEURONS = (64, 32, 20, 20)  # a batch of the first layer of NatureCNN
V_TH, DECAY, T = 1.0, 0.5, 5
OURS = "LIF"
Layer = Callable[[Tensor], Tensor]


def ours(currents: Tensor, plain: bool = False) -> Tensor:
    """This package's neuron; ``plain``: the same equation in plain operations."""
    lif = LIF(v_th=V_TH, decay=DECAY)
    lif.plain = plain
    return lif.unroll(currents.unsqueeze(0), None, currents.new_ones(1, currents.shape[1]), len(currents))[0][0]


def snntorch_leaky() -> Layer:
    """``snntorch.Leaky``, its threshold and its decay trained."""
    import snntorch

    leaky = snntorch.Leaky(beta=DECAY, threshold=V_TH, reset_mechanism="subtract", learn_beta=True, learn_threshold=True)

    def run(currents: Tensor) -> Tensor:
        v, spikes = th.zeros_like(currents[0]), []
        for current in currents.unbind(0):
            z, v = leaky(current, v)
            spikes.append(z)
        return th.stack(spikes)

    return run


def spikingjelly_node() -> Layer:
    """SpikingJelly's ``LIFNode`` with its torch backend; neither threshold nor decay is trained."""
    from spikingjelly.activation_based import neuron

    tau = 1 / (1 - DECAY)
    node: Any = neuron.LIFNode(tau=tau, decay_input=False, v_threshold=V_TH, v_reset=None, detach_reset=True, step_mode="m")

    def run(currents: Tensor) -> Tensor:
        node.reset()
        spikes: Tensor = node(currents)
        return spikes

    return run


def norse_cell() -> Layer:
    """Norse's ``LIFBox``, a leaky integrator with one state, at a time constant that keeps as much; it resets to 0."""
    import norse.torch as norse

    cell: Any = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=th.tensor((1 - DECAY) / 1e-3), v_th=th.tensor(V_TH)))

    def run(currents: Tensor) -> Tensor:
        state, spikes = None, []
        for current in currents.unbind(0):
            z, state = cell(current, state)
            spikes.append(z)
        return th.stack(spikes)

    return run


def contestants() -> dict[str, Task | str]:
    """Forward and backward of each layer; a text says which library is missing."""
    tasks: dict[str, Task | str] = {OURS: learning(ours), "the same in plain operations": learning(partial(ours, plain=True))}
    peers = {"snnTorch Leaky": snntorch_leaky, "SpikingJelly LIFNode": spikingjelly_node, "Norse LIFBoxCell": norse_cell}
    for name, peer in peers.items():
        try:
            tasks[name] = learning(peer())
        except ImportError as error:
            tasks[name] = f"{error.name} is not installed: pip install 'snn-rl[compare]'"
    return tasks


def learning(layer: Layer) -> Task:
    """Forward and backward of a layer."""
    currents, gradient = th.randn(T, *NEURONS, requires_grad=True), th.randn(T, *NEURONS)

    def run() -> None:
        currents.grad = None
        layer(currents).backward(gradient)

    return run
