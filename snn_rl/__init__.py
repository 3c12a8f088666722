"""Spiking deep Q-networks for Stable-Baselines3 that decide in 1 to 5 timesteps and remember in their membranes."""

import sys
from importlib import import_module
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from snn_rl.agents import load as load_agent
    from snn_rl.dqn import SpikingDQN
    from snn_rl.policy import SpikingCnnPolicy, SpikingMlpPolicy
    from snn_rl.sb3_export import to_sb3

__all__ = ["SpikingCnnPolicy", "SpikingDQN", "SpikingMlpPolicy", "__version__", "load_agent", "to_sb3"]

_HOMES = {
    "SpikingDQN": ("snn_rl.dqn", "SpikingDQN"),
    "SpikingCnnPolicy": ("snn_rl.policy", "SpikingCnnPolicy"),
    "SpikingMlpPolicy": ("snn_rl.policy", "SpikingMlpPolicy"),
    "load_agent": ("snn_rl.agents", "load"),
    "to_sb3": ("snn_rl.sb3_export", "to_sb3"),
}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are asked for: the report reads files and should not wait for torch."""
    if name == "__version__":
        return version("snn_rl")
    if name not in _HOMES:
        raise AttributeError(f"module 'snn_rl' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def _early(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while a command still imports torch: a sentence, as later on."""
    if issubclass(kind, KeyboardInterrupt):
        print("snn_rl: interrupted before it began", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # what Python puts there while it imports the package of `python -m snn_rl.STAGE`
    sys.excepthook = _early
