"""The older place of :mod:`snn_rl.sb3.policy`, which Stable-Baselines3's zips from then name."""

from snn_rl.sb3.policy import SpikingCnnPolicy as SpikingCnnPolicy
from snn_rl.sb3.policy import SpikingMlpPolicy as SpikingMlpPolicy
from snn_rl.sb3.policy import SpikingPolicy as SpikingPolicy
