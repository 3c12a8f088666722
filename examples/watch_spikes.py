"""Watch a shipped agent think: how many neurons of each layer spike in each decision, a raster of all spikes, and the
membranes of some neurons.

python examples/watch_spikes.py
python examples/watch_spikes.py PongNoFrameskip-v4/T1-frames1 --decisions 60
"""

from __future__ import annotations

import argparse
from pathlib import Path

from snn_rl import load_agent, raster, record, traces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agent", nargs="?", default="CartPoleNoVel-v1/T1", help="folder or shipped name")
    parser.add_argument("--decisions", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("spikes.png"), help="the raster, as .png, .svg or .pdf")
    args = parser.parse_args()
    recording = record(load_agent(args.agent), decisions=args.decisions)
    print("decision  action  " + "  ".join(f"{name:>6}" for name in recording.layers))
    for n, action in enumerate(recording.actions):
        spiked = [layer.spikes[n].sum() for layer in recording.layers.values()]  # of an array (decisions, T, *neurons)
        print(f"{n:8}  {action:6}  " + "  ".join(f"{count:6.0f}" for count in spiked))
    raster(recording, args.out)
    membranes = args.out.with_stem(f"{args.out.stem}-membranes")
    traces(recording, path=membranes)
    print(args.out, membranes)


if __name__ == "__main__":
    main()
