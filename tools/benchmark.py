"""Speed of the neuron beside other libraries', and of gradient steps by T. For maintainers, in a checkout.

    python tools/benchmark.py [--env PongNoFrameskip-v4] [--rounds 5]

Everything is timed in turn, round after round, on one thread, in processor time; what is printed are medians of the rounds'
ratios, because the absolute numbers belong to the machine and to what else it does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import snntorch
import torch as th
from spikingjelly.activation_based import neuron
from torch import Tensor

from snn_rl.core.lif import LIF
from snn_rl.core.network import QNetwork
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe, make_vec_env
from snn_rl.tasks.view import View
from snn_rl.training.distill import Distiller

NEURONS = (64, 32, 20, 20)  # a batch of the first layer of NatureCNN
V_TH, DECAY, T = 1.0, 0.5, 5


def layers() -> dict[str, Callable[[Tensor], Tensor]]:
    """T timesteps of a layer by its name: currents ``(T, batch, *neurons)`` to spikes of the same shape."""
    lif = LIF(v_th=V_TH, decay=DECAY)
    leaky = snntorch.Leaky(beta=DECAY, threshold=V_TH, reset_mechanism="subtract", learn_beta=True, learn_threshold=True)
    node = neuron.LIFNode(
        tau=1 / (1 - DECAY), decay_input=False, v_threshold=V_TH, v_reset=None, detach_reset=True, step_mode="m"
    )

    def ours(i: Tensor, plain: bool = False) -> Tensor:
        lif.plain = plain
        return lif.unroll(i.unsqueeze(0), None, i.new_ones(1, i.shape[1]), len(i))[0][0]

    def snntorch_leaky(i: Tensor) -> Tensor:
        v, spikes = th.zeros_like(i[0]), []
        for current in i.unbind(0):
            z, v = leaky(current, v)
            spikes.append(z)
        return th.stack(spikes)

    def spikingjelly_node(i: Tensor) -> Tensor:
        node.reset()
        return node(i)

    return {
        "LIF.unroll": ours,
        "the same equation in plain operations": partial(ours, plain=True),
        "snnTorch Leaky": snntorch_leaky,
        "SpikingJelly LIFNode (torch backend; neither threshold nor decay trained)": spikingjelly_node,
    }


def learn(layer: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    """Forward and backward of a layer."""
    currents, gradient = th.randn(T, *NEURONS, requires_grad=True), th.randn(T, *NEURONS)

    def run() -> None:
        currents.grad = None
        layer(currents).backward(gradient)

    return run


def steps(env: str) -> dict[str, Callable[[], object]]:
    """A gradient step of distillation (with the play that belongs to it) at each T; the student is untrained."""
    recipe, teacher = load_recipe(env), agents.load(f"{env}/ann")
    found: dict[str, Callable[[], object]] = {}
    for timesteps in range(1, 6):
        student = QNetwork(teacher.network.spec, timesteps, teacher.network.input_scale)
        venv = make_vec_env(recipe, recipe.prune.n_envs, seed=0, frames=teacher.frames)
        distiller = Distiller(student, teacher.network, venv, recipe.prune, View(teacher.frames), 0, temperature=1.0)
        for _ in range(distiller.first_steps):
            distiller._collect()
        found[f"T={timesteps}"] = partial(distiller.update, 0.0)
    return found


def table(head: str, tasks: dict[str, Callable[[], object]], rounds: int, repeats: int) -> None:
    """Prints how many times as long as the first each takes."""
    took: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            begin = time.process_time()
            for _ in range(repeats):
                task()
            took[name].append(time.process_time() - begin)
    first = next(iter(took.values()))[1:]  # the first round warms up
    print(f"\n| {head} | times as long |\n| --- | ---: |")
    for name, times in took.items():
        ratios = [time / base for time, base in zip(times[1:], first, strict=True)]
        print(f"| {name} | {statistics.median(ratios):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="PongNoFrameskip-v4", help="whose shipped ANN and recipe are taken")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    th.set_num_threads(1)
    th.manual_seed(0)
    table(
        f"forward and backward, T={T}, {'x'.join(map(str, NEURONS))} neurons",
        {n: learn(f) for n, f in layers().items()},
        args.rounds,
        3,
    )
    table(f"gradient step of {args.env}", steps(args.env), args.rounds, 3)


if __name__ == "__main__":
    main()
