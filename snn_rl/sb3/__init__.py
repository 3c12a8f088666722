"""The Stable-Baselines3 side: policy, replay, loss, the learner ``SpikingDQN``, and zips."""
