"""Our counts of operations beside those of NeuroBench and of SpikingJelly, on the same spikes of the same play.

    python tools/operation_counts.py [AGENT ...]

Each layer's synapses are run once more with what they received, timestep by timestep, under NeuroBench's hooks and under
SpikingJelly's counter. The counts go into docs/results/exports/counts.json; ``make results`` writes the table of
docs/exports.md from that file. NeuroBench skips weights that are exactly 0, so it counts twice: as they are, and with such
weights taken for others.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch as th
from torch import Tensor, nn

from snn_rl import load_agent
from snn_rl.console import run
from snn_rl.core.network import QNetwork
from snn_rl.core.synops import OperationCounter
from snn_rl.store.agents import Agent
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import Decision, play, starts

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "exports" / "counts.json"
AGENTS = (
    "CartPole-v1/ann", "CartPole-v1/T5", "CartPole-v1/T1", "CartPoleNoVel-v1/T1", "CartPoleFlicker-v1/T5",
    "PongNoFrameskip-v4/ann", "PongNoFrameskip-v4/T5", "PongNoFrameskip-v4/T1-frames1", "PongFlickerNoFrameskip-v4/T1",
)  # fmt: skip
DECISIONS = 40


class Replay(nn.Module):
    """Runs each layer's synapses with what they received in one decision."""

    def __init__(self, network: QNetwork) -> None:
        super().__init__()
        self.synapses, self.recurrent, self.scale = network.synapses, network.recurrent, network.input_scale

    def forward(self, observation: Tensor, layers: list[Tensor]) -> None:
        """Layers: what each layer of neurons sent, ``(T, batch, *neurons)``; of an ANN ``(1, batch, *neurons)``."""
        for n, synapses in enumerate(self.synapses):
            for arriving in [observation.float() * self.scale] if n == 0 else layers[n - 1]:
                synapses(arriving)
        for key, synapses in self.recurrent.items():
            for sent in layers[int(key)]:
                synapses(sent)


def with_neurobench(network: QNetwork, decisions: Sequence[Decision], *, zeros: bool) -> dict[str, int]:
    """NeuroBench's counts, summed over decisions; ``zeros``: weights that are 0 count as others do."""
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    network = copy.deepcopy(network)
    if zeros:
        with th.no_grad():
            for weight in network.parameters():
                weight[weight == 0] = 1
    replay = Replay(network)
    model, metric, total = TorchModel(replay), SynapticOperations(), {"MACs": 0, "ACs": 0, "dense": 0}
    model.register_hooks()
    for decision in decisions:
        model.reset_hooks()
        metric.reset()
        with th.no_grad():
            replay(th.as_tensor(decision.observation), decision.layers)
            found = metric(model, None, (th.as_tensor(decision.observation), None))
        for key, theirs in {"MACs": "Effective_MACs", "ACs": "Effective_ACs", "dense": "Dense"}.items():
            total[key] += round(float(found[theirs]))
    model.cleanup_hooks()
    return total


def with_spikingjelly(network: QNetwork, decisions: Sequence[Decision]) -> int:
    """SpikingJelly's synaptic operations, summed over decisions."""
    from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter

    counter, replay = SynOpCounter(), Replay(network)
    with th.no_grad(), DispatchCounterMode([counter]):
        for decision in decisions:
            replay(th.as_tensor(decision.observation), decision.layers)
    return int(counter.get_total())


def ours(agent: Agent, decisions: Sequence[Decision]) -> dict[str, int]:
    """Our counts, summed over decisions."""
    counter = OperationCounter(agent.network, agent.observation_shape)
    for decision in decisions:
        counter.update(decision.observation, decision.layers)
    counts, n = counter.counts(), counter.decisions
    macs = counts.first_layer_macs + counts.analog_macs if counts.spiking else counts.effective_macs
    return {"MACs": round(macs * n), "ACs": round(counts.acs * n), "ann_macs": round(counts.ann_macs * n)}


def compare(agent: Agent, most: int = DECISIONS) -> dict[str, Any]:
    """All counts of the first decisions of an episode."""
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    env = make_env(recipe, frames=agent.frames)
    decisions = list(islice(play(agent.network, [env], starts(recipe, 1, seed=0)), most))
    env.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, of what the two libraries use
        return {
            "agent": agent.label,
            "T": agent.network.T,
            "decisions": len(decisions),
            "zero_weights": sum(int((cast(Tensor, own) == 0).sum()) for own in agent.network.parameters() if own.dim() > 1),
            "ours": ours(agent, decisions),
            "neurobench": with_neurobench(agent.network, decisions, zeros=False),
            "neurobench_zeros": with_neurobench(agent.network, decisions, zeros=True),
            "spikingjelly_acs": with_spikingjelly(agent.network, decisions),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Counts for each agent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="*", default=AGENTS, metavar="AGENT")
    args = parser.parse_args(argv)
    rows = []
    for name in args.agents:
        rows.append(compare(load_agent(name)))
        print(rows[-1], flush=True)
    versions = {name: importlib.metadata.version(name) for name in ("neurobench", "spikingjelly")}
    write_json({"versions": versions, "rows": rows}, RESULTS)
    return 0


if __name__ == "__main__":
    run(main)
