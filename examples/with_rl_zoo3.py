"""rl-baselines3-zoo trains, plays and films spiking agents: its own commands, with ``snn_dqn`` among its algorithms.

    python examples/with_rl_zoo3.py train --algo snn_dqn --env CartPole-v1 -conf examples/with_rl_zoo3.yml -f runs/zoo
    python examples/with_rl_zoo3.py enjoy --algo snn_dqn --env CartPole-v1 -f runs/zoo --no-render
    python examples/with_rl_zoo3.py record_video --algo snn_dqn --env CartPole-v1 -f runs/zoo -n 500

Needs ``pip install 'snn-rl[zoo]'``. What else to pass, and what the zoo does not know: docs/exports.md.
"""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    """Hands over to the zoo."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    import rl_zoo3

    from snn_rl import SpikingDQN

    rl_zoo3.ALGOS["snn_dqn"] = SpikingDQN
    runpy.run_module(f"rl_zoo3.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
