"""``snn-rl STAGE ...`` is the same as ``python -m snn_rl.STAGE ...``."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import snn_rl
from snn_rl.console import run

STAGES = {
    "train": "an agent from nothing, from a shipped ANN or from an SB3 zip, down to T timesteps per decision",
    "convert": "an ANN into a spiking network",
    "vision": "a classifier of images, from nothing down to T timesteps per decision",
    "sweep": "many trainings, on this machine or on a cluster",
    "prune": "a spiking agent to fewer timesteps",
    "quantize": "a spiking agent as integers",
    "export": "an agent as a file for other tools",
    "package": "an agent as a folder for the Hugging Face hub",
    "evaluate": "an agent: reward, spikes, energy, video",
    "list": "the agents that come with the package",
    "report": "tables and plots of runs and agents",
    "probe": "what an agent's membranes remember",
    "memory": "the older name of probe",
    "benchmark": "decisions, gradient steps and neurons beside their rivals",
    "demo": "the shipped Pong agent beside its ANN: table, video, plot",
}


def main() -> NoReturn:
    """Entry point of the ``snn-rl`` command."""
    usage = "usage: snn-rl STAGE ... (STAGE --help tells more)\n\n" + "\n".join(
        f"  {stage:10}{what}" for stage, what in STAGES.items()
    )
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(usage)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    if sys.argv[1] == "--version":
        print(f"snn_rl {snn_rl.__version__}")
        sys.exit(0)
    stage = sys.argv.pop(1)
    if stage not in STAGES:
        print(f"snn_rl: unknown stage '{stage}'; choose from {', '.join(STAGES)}", file=sys.stderr)
        sys.exit(2)
    sys.argv[0] = f"snn-rl {stage}"
    if "" not in sys.path:  # modules of one's own are found as with python -m
        sys.path.insert(0, "")
    run(lambda argv: int(importlib.import_module(f"snn_rl.{stage}").main(argv)))


if __name__ == "__main__":
    main()
