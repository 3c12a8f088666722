"""Agents such as strangers bring: trained by Stable-Baselines3 with the settings of rl-baselines3-zoo, saved as zips: of
each training the network that was best in evaluation, as the zoo keeps it.

    python tools/zoo.py dqn CartPole-v1 --out zips

The numbers are those of rl-baselines3-zoo's ``hyperparams/*.yml`` (version 2.7), but for fewer quantiles of QR-DQN in
LunarLander (50, not 170) for the time that they take; ``--timesteps`` ends earlier. The zoo has none for RecurrentPPO in
CartPole-v1: there they are those of CartPoleNoVel-v1. Where the zoo normalises observations, the statistics of
``VecNormalize`` are kept beside the zip.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from snn_rl.tasks.catalogue import register

register()


def falling(initial: float) -> Callable[[float], float]:
    """The zoo's ``lin_x``: from x to 0 over training."""
    return lambda remaining: initial * remaining


WIDE = {"net_arch": [256, 256]}
RECURRENT = {
    "n_timesteps": 100_000, "n_envs": 8, "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20,
    "ent_coef": 0.0, "lin": {"learning_rate": 1e-3, "clip_range": 0.2},
}  # fmt: skip
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "dqn": {
        "CartPole-v1": {
            "n_timesteps": 50_000, "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000,
            "learning_starts": 1_000, "gamma": 0.99, "target_update_interval": 10, "train_freq": 256,
            "gradient_steps": 128, "exploration_fraction": 0.16, "exploration_final_eps": 0.04, "policy_kwargs": WIDE,
        },
        "MountainCar-v0": {
            "n_timesteps": 120_000, "learning_rate": 4e-3, "batch_size": 128, "buffer_size": 10_000,
            "learning_starts": 1_000, "gamma": 0.98, "target_update_interval": 600, "train_freq": 16,
            "gradient_steps": 8, "exploration_fraction": 0.2, "exploration_final_eps": 0.07, "policy_kwargs": WIDE,
        },
        "LunarLander-v3": {
            "n_timesteps": 100_000, "learning_rate": 6.3e-4, "batch_size": 128, "buffer_size": 50_000,
            "learning_starts": 0, "gamma": 0.99, "target_update_interval": 250, "train_freq": 4,
            "gradient_steps": -1, "exploration_fraction": 0.12, "exploration_final_eps": 0.1, "policy_kwargs": WIDE,
        },
        "Acrobot-v1": {
            "n_timesteps": 100_000, "learning_rate": 6.3e-4, "batch_size": 128, "buffer_size": 50_000,
            "learning_starts": 0, "gamma": 0.99, "target_update_interval": 250, "train_freq": 4,
            "gradient_steps": -1, "exploration_fraction": 0.12, "exploration_final_eps": 0.1, "policy_kwargs": WIDE,
        },
    },
    "qrdqn": {
        "CartPole-v1": {
            "n_timesteps": 50_000, "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000,
            "learning_starts": 1_000, "gamma": 0.99, "target_update_interval": 10, "train_freq": 256,
            "gradient_steps": 128, "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
            "policy_kwargs": {**WIDE, "n_quantiles": 10},
        },
        "LunarLander-v3": {
            "n_timesteps": 100_000, "lin": {"learning_rate": 1.5e-3}, "batch_size": 128, "buffer_size": 100_000,
            "learning_starts": 10_000, "gamma": 0.995, "target_update_interval": 1, "train_freq": 256,
            "gradient_steps": -1, "exploration_fraction": 0.24, "exploration_final_eps": 0.18,
            "policy_kwargs": {**WIDE, "n_quantiles": 50},
        },
        "Acrobot-v1": {
            "n_timesteps": 100_000, "learning_rate": 6.3e-4, "batch_size": 128, "buffer_size": 50_000,
            "learning_starts": 0, "gamma": 0.99, "target_update_interval": 250, "train_freq": 4,
            "gradient_steps": -1, "exploration_fraction": 0.12, "exploration_final_eps": 0.1,
            "policy_kwargs": {**WIDE, "n_quantiles": 25},
        },
    },
    "ppo": {
        "CartPole-v1": {
            "n_timesteps": 100_000, "n_envs": 8, "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98,
            "n_epochs": 20, "ent_coef": 0.0, "lin": {"learning_rate": 1e-3, "clip_range": 0.2},
        },
        "Acrobot-v1": {
            "normalize": True, "n_timesteps": 1_000_000, "n_envs": 16, "n_steps": 256, "gae_lambda": 0.94, "gamma": 0.99,
            "n_epochs": 4, "ent_coef": 0.0,
        },
        "LunarLander-v3": {
            "n_timesteps": 1_000_000, "n_envs": 16, "n_steps": 1024, "batch_size": 64, "gae_lambda": 0.98, "gamma": 0.999,
            "n_epochs": 4, "ent_coef": 0.01,
        },
    },
    "a2c": {
        "CartPole-v1": {"n_timesteps": 500_000, "n_envs": 8, "ent_coef": 0.0},
        "Acrobot-v1": {"normalize": True, "n_timesteps": 500_000, "n_envs": 16, "ent_coef": 0.0},
        "LunarLander-v3": {
            "n_timesteps": 200_000, "n_envs": 8, "gamma": 0.995, "n_steps": 5, "lin": {"learning_rate": 8.3e-4},
            "ent_coef": 1e-5,
        },
    },
    "recurrent_ppo": {
        "CartPoleNoVel-v1": RECURRENT,
        "CartPole-v1": RECURRENT,  # the zoo has none: those of the harder task
    },
}  # fmt: skip


EVALUATIONS = 12  # of which the best network is kept
MOST = {"CartPole-v1": 500.0, "CartPoleNoVel-v1": 500.0}  # an episode gives no more: who always gets it cannot get better


class NewBest(BaseCallback):
    """Saves what ``VecNormalize`` has seen whenever a new best network is saved; ends the training if none can be better."""

    def __init__(self, path: Path, most: float) -> None:
        super().__init__()
        self.path, self.most = path, most

    def _on_step(self) -> bool:
        if (normalized := self.model.get_vec_normalize_env()) is not None:
            normalized.save(str(self.path))
        assert isinstance(self.parent, EvalCallback)
        return bool(self.parent.best_mean_reward < self.most)


def statistics(path: Path) -> Path:
    """Where the statistics of a zip are, if its observations were normalised."""
    return path.with_suffix("") / "vecnormalize.pkl"


def evaluated(path: Path, env_id: str) -> VecEnv:
    """An environment to evaluate a zip in, with the statistics that belong to it."""
    venv, kept = make_vec_env(env_id, 1, seed=10_000), statistics(path)
    if not kept.is_file():
        return venv
    normalized = VecNormalize.load(str(kept), venv)
    normalized.training = normalized.norm_reward = False
    return normalized


def train(algorithm: str, env_id: str, out: Path, seed: int = 0, timesteps: int | None = None) -> Path:
    """Trains an agent with the zoo's settings and saves its zip; an existing zip is kept.

    Args:
        algorithm: a key of ``SETTINGS``.
        env_id: Gymnasium id.
        out: folder.
        seed: of the training.
        timesteps: environment steps; the zoo's if None.
    """
    path = out / f"{algorithm}-{env_id}-seed{seed}.zip"
    if path.is_file():
        return path
    th.set_num_threads(1)
    settings = dict(SETTINGS[algorithm][env_id])
    total, envs, normalize = settings.pop("n_timesteps"), settings.pop("n_envs", 1), settings.pop("normalize", False)
    settings |= {name: falling(initial) for name, initial in settings.pop("lin", {}).items()}
    kinds: dict[str, type[BaseAlgorithm]] = {"dqn": DQN, "ppo": PPO, "a2c": A2C}
    if algorithm not in kinds:
        from sb3_contrib import QRDQN, RecurrentPPO

        kinds |= {"qrdqn": QRDQN, "recurrent_ppo": RecurrentPPO}
    venv, judging = make_vec_env(env_id, envs, seed=seed), make_vec_env(env_id, 1, seed=20_000)
    if normalize:  # evaluation gets the statistics of training from EvalCallback
        venv = VecNormalize(venv, gamma=settings.get("gamma", 0.99))
        judging = VecNormalize(judging, training=False, norm_reward=False)
    policy = "MlpLstmPolicy" if algorithm == "recurrent_ppo" else "MlpPolicy"
    model = kinds[algorithm](policy, venv, seed=seed, device="cpu", **settings)
    total, folder = timesteps or total, path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    best = EvalCallback(
        judging, n_eval_episodes=20, eval_freq=max(total // EVALUATIONS // envs, 1), verbose=0,
        best_model_save_path=str(folder),
        callback_on_new_best=NewBest(statistics(path), MOST.get(env_id, float("inf"))),
    )  # fmt: skip
    model.learn(total, callback=best)
    (folder / "best_model.zip").rename(path)
    model.set_parameters(str(path))
    mean, spread = evaluate_policy(model, evaluated(path, env_id), 100)
    print(f"{path.name}: return {mean:.1f} +- {spread:.1f} over 100 episodes")
    return path


def main() -> None:
    """Trains one agent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algorithm", choices=SETTINGS)
    parser.add_argument("env")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timesteps", type=int, help="environment steps (default: the zoo's)")
    args = parser.parse_args()
    train(args.algorithm, args.env, args.out, args.seed, args.timesteps)


if __name__ == "__main__":
    main()
