"""An agent as a NIR graph of NIR's own neurons, LIF and IF. They reset to 0 where ours subtract their threshold: another
network. What that changes is measured on the golden traces, and the file says it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch as th
from torch import nn

from snn_rl.exports import nir
from snn_rl.exports.traces import Traces, traces
from snn_rl.store.agents import Agent

OTHER = (
    "NOT the agent's: NIR's LIF resets to 0, the agent's neurons subtract their threshold. On the golden observations in this "
    "file {spikes:.2%} of the spikes differ and {actions:.2%} of the actions"
)


def write(agent: Agent, out: Path) -> str:
    """Writes the graph, the traces of the agent (not of the graph), and the mismatch in the graph's metadata.

    Raises:
        UserError: as :func:`snn_rl.exports.nir.write`.
    """
    nir.check(agent)
    golden = traces(agent)
    by_layer, actions = mismatch(agent, golden)
    different = sum(count for count, _ in by_layer.values()) / max(1, sum(either for _, either in by_layer.values()))
    made = nir.graph(agent, lif=True)
    made.metadata |= {"dynamics": OTHER.format(spikes=different, actions=actions)}
    made.metadata |= {"different_spikes": different, "different_actions": actions}
    nir.save(made, golden, out)
    return f"{out}: NIR with LIF neurons, {made.metadata['dynamics']} ({golden.decisions} decisions)"


def mismatch(agent: Agent, golden: Traces) -> tuple[dict[str, tuple[int, int]], float]:
    """What the golden observations make of neurons that reset to 0.

    Returns:
        By layer: spikes that only one of the two networks has, and those that at least one has. And the share of decisions
        with another action.
    """
    network, T = agent.network, agent.network.T
    recurrent = dict(network.recurrent.items())
    v, z = [th.zeros(())] * len(network.lifs), [th.zeros(())] * len(network.lifs)
    counts = dict.fromkeys(golden.spikes, (0, 0))
    other, q = 0, th.zeros(())
    with th.no_grad():
        for t, observation in enumerate(th.from_numpy(golden.observations)):
            x = observation[None].float() * network.input_scale
            begins = t % T == 0
            if begins:
                q = th.zeros(())
                if not network.carry:
                    v, z = [th.zeros(())] * len(v), [th.zeros(())] * len(z)
            for n, (name, lif) in enumerate(zip(golden.spikes, network.lifs, strict=True)):
                i = network.synapses[n](x)
                if str(n) in recurrent and z[n].dim():
                    i = i + cast(nn.Linear, recurrent[str(n)])(z[n])
                charged = lif.decay * v[n] + i
                z[n] = x = (charged > lif.v_th).float()
                v[n] = charged * (1 - x)
                wanted = th.from_numpy(golden.spikes[name][t])[None]
                only, either = int((wanted != x.bool()).sum()), int((wanted | x.bool()).sum())
                counts[name] = counts[name][0] + only, counts[name][1] + either
            q = q + network.synapses[-1](x) / T
            if (t + 1) % T == 0:
                other += int(q.argmax()) != int(golden.q[t - T + 1 : t + 1].mean(0).argmax())
    return counts, other / golden.decisions
