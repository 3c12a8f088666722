"""Spiking deep Q-networks for Stable-Baselines3 that decide in 1 to 5 timesteps and remember in their membranes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from snn_rl.sb3.dqn import SpikingDQN
    from snn_rl.sb3.learner import to_sb3
    from snn_rl.sb3.policy import SpikingCnnPolicy, SpikingMlpPolicy
    from snn_rl.sb3.zips import load_agent

__all__ = ["SpikingCnnPolicy", "SpikingDQN", "SpikingMlpPolicy", "__version__", "load_agent", "to_sb3"]

_HOMES = {
    "SpikingDQN": "snn_rl.sb3.dqn",
    "SpikingCnnPolicy": "snn_rl.sb3.policy",
    "SpikingMlpPolicy": "snn_rl.sb3.policy",
    "load_agent": "snn_rl.sb3.zips",
    "to_sb3": "snn_rl.sb3.learner",
}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are asked for: the report reads files and should not wait for torch."""
    if name == "__version__":
        from importlib.metadata import version  # takes longer than all else that a command imports first

        return version("snn_rl")
    if name not in _HOMES:
        raise AttributeError(f"module 'snn_rl' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
