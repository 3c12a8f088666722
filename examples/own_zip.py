"""Your own Stable-Baselines3 DQN becomes a spiking agent that decides in one timestep.

    python examples/own_zip.py --zip my_dqn.zip --env CartPole-v1     # straight at T=1
    python examples/own_zip.py --start 5                              # trains a small DQN first, then from T=5 down

``snn_rl.train`` does what ``python -m snn_rl.train`` does. It converts the zip, trains the spiking agent until it is as good
as its ANN, plays every agent, and writes agents and a report into ``--out``. The recipe ``envs/ENV.toml`` holds the number of
gradient steps; a recipe of yours, in a folder ``envs`` where you are, comes before the package's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stable_baselines3 import DQN

from snn_rl import load_agent, train


def small_dqn(env: str, steps: int, path: Path) -> Path:
    """Trains a stock DQN as one would without this package."""
    model = DQN("MlpPolicy", env, learning_rate=1e-3, learning_starts=500, target_update_interval=250, train_freq=2, seed=0)
    model.learn(steps)
    model.save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zip", type=Path, help="what DQN.save wrote (default: a small DQN is trained)")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps of the small DQN")
    parser.add_argument("--start", type=int, help="T of the first stage (default: straight at T=1)")
    parser.add_argument("--out", type=Path, default=Path("runs/own_zip"))
    args = parser.parse_args()
    ann = args.zip or small_dqn(args.env, args.steps, Path("my_dqn.zip"))
    options = ["--env", args.env, "--ann", ann, "--T", 1, "--device", "cpu", "--out", args.out]
    options += [] if args.start is None else ["--start", args.start]
    train.main([str(option) for option in options])
    agent = load_agent(args.out / "T1")
    thresholds = [round(lif.v_th.item(), 2) for lif in agent.network.lifs]
    print(f"{agent.label}: T={agent.network.T}, thresholds of its layers {thresholds}")


if __name__ == "__main__":
    main()
