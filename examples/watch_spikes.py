"""Watch a shipped agent think: how many neurons of each layer spike in each decision, printed and drawn.

python examples/watch_spikes.py
python examples/watch_spikes.py PongNoFrameskip-v4/T1-frames1 --decisions 60
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from snn_rl import load_agent
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.rollout import make_envs, play, starts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agent", nargs="?", default="CartPoleNoVel-v1/T1", help="folder or shipped name")
    parser.add_argument("--decisions", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("spikes.png"))
    args = parser.parse_args()
    agent = load_agent(args.agent)
    recipe = load_recipe(agent.env)
    names = agent.network.layer_names[:-1]  # the readout does not spike
    envs = make_envs(recipe, 1, frames=agent.frames)
    spiked = []
    print("decision  action  " + "  ".join(f"{name:>6}" for name in names))
    for n, decision in enumerate(islice(play(agent.network, envs, starts(recipe, 1, seed=0)), args.decisions)):
        spiked.append([float(layer.sum()) for layer in decision.layers])  # each layer: (T, environments, *neurons), of 0 and 1
        print(f"{n:8}  {decision.action[0]:6}  " + "  ".join(f"{count:6.0f}" for count in spiked[-1]))
    figure = Figure(figsize=(8, 3), layout="constrained")
    plot = figure.subplots()
    for name, counts in zip(names, np.array(spiked).T, strict=True):
        plot.plot(counts, label=name)
    plot.set(title=agent.label, xlabel="decision", ylabel="spikes in the layer")
    plot.legend()
    figure.savefig(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
