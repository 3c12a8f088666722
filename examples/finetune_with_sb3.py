"""A shipped agent goes on learning as a Stable-Baselines3 model, is saved as a zip and read again as an agent.

python examples/finetune_with_sb3.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from snn_rl import load_agent, to_sb3


def score(player: Any, env: VecEnv) -> float:
    """Mean return of three episodes. A model and an agent have the same ``predict``, membranes in and out."""
    mean, _ = evaluate_policy(player, env, n_eval_episodes=3)
    return float(np.mean(mean))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--agent", default="CartPole-v1/T2", help="folder or shipped name")
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps")
    parser.add_argument("--out", type=Path, default=Path("finetuned.zip"))
    args = parser.parse_args()
    model = to_sb3(args.agent, make_vec_env(args.env, n_envs=4, seed=0), learning_rate=1e-4, n_steps=3, seed=0, device="cpu")
    held_out = make_vec_env(args.env, seed=1_000)
    print("before", score(model, held_out))
    callback = EvalCallback(held_out, n_eval_episodes=3, eval_freq=max(args.steps // 8, 1), verbose=0)  # or any other
    model.learn(args.steps, callback=callback)
    model.save(args.out)
    agent = load_agent(args.out, args.env)  # reads the zip without unpickling it
    print("after", score(agent, held_out))
    print(f"{args.out}: {agent.label}")


if __name__ == "__main__":
    main()
