"""An environment of your own: registered here, trained by reward and played, without a line in the package.

    python examples/own_environment.py

The commands find it as ``MODULE:ID``; this file is the module. In this folder ``--env own_environment:Corridor-v0`` works on
the command line too. An environment needs a vector or an image as its observation, and discrete actions.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from snn_rl import train
from snn_rl.evaluate import main as evaluate

ENV = "Corridor-v0"
LENGTH = 9


class Corridor(gym.Env[NDArray[np.float32], int]):
    """A corridor with a lamp at one end, which shines only in the first step: walk there. Only who remembers finds it."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)  # where one is, and the lamp
        self.action_space: gym.spaces.Space[Any] = gym.spaces.Discrete(2)  # left, right
        self.place, self.lamp = 0, 1

    def _see(self, lamp: float) -> NDArray[np.float32]:
        return np.array([2 * self.place / (LENGTH - 1), lamp], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.lamp = 0, int(self.np_random.choice([-1, 1]))
        return self._see(self.lamp), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.place += 2 * int(action) - 1
        over = 2 * abs(self.place) == LENGTH - 1
        return self._see(0.0), float(over and self.place * self.lamp > 0), over, False, {}


if ENV not in gym.registry:  # this file is run and imported
    gym.register(ENV, "own_environment:Corridor", max_episode_steps=50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4_000, help="environment steps of training")
    parser.add_argument("--out", type=Path, default=Path("runs/own_environment"))
    args = parser.parse_args()
    out = args.out.resolve()
    os.chdir(Path(__file__).parent)  # where envs/Corridor-v0.toml lies: a recipe of your own, which you may leave out
    env = f"{Path(__file__).stem}:{ENV}"
    by_reward = ["--objective", "td", "--ann", "none", "--total-timesteps", str(args.steps)]
    train.main(["--env", env, "--T", "1", *by_reward, "--device", "cpu", "--out", str(out)])  # played zeroed too
    evaluate([str(out / "T1-td"), "--env", env, "--epsilon", "0.1"])  # and with 10 % random actions


if __name__ == "__main__":
    main()
