"""The older place of :mod:`snn_rl.sb3.replay`, which Stable-Baselines3's zips from then name."""

from snn_rl.sb3.replay import SequenceReplayBuffer as SequenceReplayBuffer
