"""``python -m snn_rl.memory``: the older name of :mod:`snn_rl.probe`."""

from snn_rl.console import run
from snn_rl.probe import main

if __name__ == "__main__":
    run(main)
