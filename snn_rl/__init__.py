"""Spiking deep Q-networks for Stable-Baselines3 that decide in 1 to 5 timesteps and remember in their membranes."""

from snn_rl.dqn import SpikingDQN
from snn_rl.policy import SpikingCnnPolicy, SpikingMlpPolicy

__all__ = ["SpikingCnnPolicy", "SpikingDQN", "SpikingMlpPolicy"]
