"""Spiking deep Q-networks for Stable-Baselines3 that decide in 1 to 5 timesteps and remember in their membranes.

A learner is a ``DQN`` of Stable-Baselines3::

    from snn_rl import SpikingDQN

    model = SpikingDQN("MlpPolicy", "CartPole-v1", T=1)
    model.learn(20_000)
    model.save("model.zip")

An agent is a trained network: a shipped one, a folder of yours, a zip or a live model. Those of a ``SpikingDQN`` can be read,
and those of a DQN, QR-DQN, PPO, A2C or RecurrentPPO with discrete actions::

    from snn_rl import convert, load_agent, to_sb3

    agent = load_agent("CartPole-v1/T1")
    agent = load_agent("model.zip", "CartPole-v1")
    agent = load_agent(model, "CartPole-v1")
    agent = convert(model, "CartPole-v1", T=1)  # an ANN as a spiking agent, untrained; also from a zip
    action, state = agent.predict(observation, state, episode_start)  # the membranes go in and come out
    model = to_sb3(agent, "CartPole-v1")  # goes on learning
    model = SpikingDQN.from_sb3("dqn.zip", "CartPole-v1", T=1)  # both in one: the conversion goes on learning

What an agent does, and how well::

    from snn_rl import evaluate, list_agents, raster, record

    list_agents("Pong")  # those that come with the package
    print(evaluate("CartPole-v1/T1", episodes=10))  # return, spikes, energy
    agent.play(video="play.mp4")  # a notebook shows it
    raster(record(agent), "spikes.png")  # spikes and membranes of every layer and timestep

``python -m snn_rl`` lists the commands.
"""

from snn_rl import early as early  # before all else

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from snn_rl.convert import convert
    from snn_rl.core.errors import UserError
    from snn_rl.evaluate import evaluate
    from snn_rl.measure.film import play
    from snn_rl.measure.listing import list_agents
    from snn_rl.measure.raster import raster, traces
    from snn_rl.measure.recording import record
    from snn_rl.sb3.dqn import SpikingDQN
    from snn_rl.sb3.learner import to_sb3
    from snn_rl.sb3.policy import SpikingCnnPolicy, SpikingMlpPolicy
    from snn_rl.sb3.resumable import Checkpoints
    from snn_rl.sb3.zips import load_agent
    from snn_rl.tasks.environments import load_recipe, make_env
    from snn_rl.tasks.resuming import Resumable

__all__ = [
    "Checkpoints",
    "Resumable",
    "SpikingCnnPolicy",
    "SpikingDQN",
    "SpikingMlpPolicy",
    "UserError",
    "__version__",
    "convert",
    "evaluate",
    "list_agents",
    "load_agent",
    "load_recipe",
    "make_env",
    "play",
    "raster",
    "record",
    "to_sb3",
    "traces",
]

_HOMES = {
    "Checkpoints": "snn_rl.sb3.resumable",
    "Resumable": "snn_rl.tasks.resuming",
    "SpikingDQN": "snn_rl.sb3.dqn",
    "SpikingCnnPolicy": "snn_rl.sb3.policy",
    "SpikingMlpPolicy": "snn_rl.sb3.policy",
    "UserError": "snn_rl.core.errors",
    "list_agents": "snn_rl.measure.listing",
    "load_agent": "snn_rl.sb3.zips",
    "load_recipe": "snn_rl.tasks.environments",
    "make_env": "snn_rl.tasks.environments",
    "play": "snn_rl.measure.film",
    "raster": "snn_rl.measure.raster",
    "record": "snn_rl.measure.recording",
    "to_sb3": "snn_rl.sb3.learner",
    "traces": "snn_rl.measure.raster",
}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are asked for: the report reads files and should not wait for torch."""
    if name == "__version__":
        from importlib.metadata import version  # takes longer than all else that a command imports first

        return version("snn_rl")
    if name in ("convert", "evaluate"):
        return import_module(f"snn_rl.{name}")  # the command's module, which can be called
    if name not in _HOMES:
        raise AttributeError(f"module 'snn_rl' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return __all__
