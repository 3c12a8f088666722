"""The LSTM control of docs/memory.md: sb3-contrib's RecurrentPPO on a task that hides a part of the state.

    python -m pip install -c constraints.txt -e ".[control]"
    python tools/recurrent_ppo.py CartPoleNoVel-v1

Hyper-parameters are those of sb3-contrib's own test of this task (tests/test_lstm.py), for 100,000 environment steps. As
for the spiking agents, the network is chosen by evaluation on episodes that are not the reported ones; those are the 100
that every agent plays.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from snn_rl.measure.stats import summary
from snn_rl.tasks.catalogue import register

try:
    from sb3_contrib import RecurrentPPO
except ImportError as error:
    raise SystemExit("RecurrentPPO is sb3-contrib's: python -m pip install -c constraints.txt -e '.[control]'") from error

register()

TOTAL, SEEDS, EPISODES = 100_000, (0, 1, 2), 100


class _KeepStatistics(BaseCallback):
    """Stores what the observations of the best network were normalised with."""

    def __init__(self, env: VecNormalize, folder: Path) -> None:
        super().__init__()
        self.env, self.folder = env, folder

    def _on_step(self) -> bool:
        self.env.save(str(self.folder / "statistics.pkl"))
        return True


def train(env_id: str, seed: int, folder: Path) -> tuple[RecurrentPPO, VecNormalize]:
    """One training; the best network by evaluation, and what normalises its observations."""
    env = VecNormalize(make_vec_env(env_id, 8, seed=seed))
    held_out = VecNormalize(DummyVecEnv([lambda: Monitor(gym.make(env_id))]), training=False, norm_reward=False)
    held_out.seed(1_000_000 * (1 + seed))
    model = RecurrentPPO(
        "MlpLstmPolicy",
        env,
        n_steps=128,
        learning_rate=7e-4,
        batch_size=256,
        n_epochs=10,
        max_grad_norm=1,
        gae_lambda=0.98,
        policy_kwargs={"net_arch": {"vf": [64]}, "lstm_hidden_size": 64, "ortho_init": False, "enable_critic_lstm": True},
        seed=seed,
        device="cpu",
    )
    callback = EvalCallback(
        held_out,
        eval_freq=10_000 // 8,
        n_eval_episodes=20,
        best_model_save_path=str(folder),
        callback_on_new_best=_KeepStatistics(env, folder),
        verbose=0,
    )
    model.learn(TOTAL, callback=callback)
    best = VecNormalize.load(str(folder / "statistics.pkl"), DummyVecEnv([lambda: gym.make(env_id)]))
    return RecurrentPPO.load(folder / "best_model", device="cpu"), best


def play(model: RecurrentPPO, normalise: VecNormalize, env_id: str) -> list[dict[str, Any]]:
    """The episodes that every agent plays."""
    env, episodes = gym.make(env_id), []
    for seed in range(EPISODES):
        observation, _ = env.reset(seed=seed)
        state, total, length, start, done = None, 0.0, 0, np.ones(1, dtype=bool), False
        while not done:
            action, state = model.predict(normalise.normalize_obs(observation[None]), state, start, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(int(action[0]))
            total, length, start, done = total + float(reward), length + 1, np.zeros(1, dtype=bool), terminated or truncated
        episodes.append({"seed": seed, "return": total, "length": length})
    return episodes


def main() -> None:
    """Trains with every seed and writes docs/results/ENV/recurrent_ppo.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env", choices=("CartPoleNoVel-v1", "CartPoleFlicker-v1"))
    env_id = parser.parse_args().env
    th.set_num_threads(1)
    runs: list[dict[str, Any]] = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            runs.append({"training_seed": seed, "episodes": play(*train(env_id, seed, Path(folder)), env_id)})
        print(env_id, "seed", seed, "mean return", np.mean([e["return"] for e in runs[-1]["episodes"]]))
    returns = np.array([episode["return"] for one in runs for episode in one["episodes"]])
    packages = ("sb3-contrib", "stable-baselines3", "torch", "gymnasium")
    record = {
        "env": env_id,
        "agent": "RecurrentPPO (LSTM 64)",
        "total_timesteps": TOTAL,
        "return": summary(returns),
        "runs": runs,
        "versions": {name: version(name) for name in packages},
    }
    out = Path(__file__).parents[1] / "docs" / "results" / env_id / "recurrent_ppo.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
