"""An agent as the zip of a :class:`~snn_rl.sb3.dqn.SpikingDQN`, which ``SpikingDQN.load`` and ``load_agent`` read."""

from __future__ import annotations

from pathlib import Path

from snn_rl.sb3.learner import to_sb3
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole
from snn_rl.tasks.environments import load_recipe, make_vec_env


def write(agent: Agent, out: Path) -> str:
    """Writes the zip.

    Raises:
        UserError: if the agent's values are logits, or it is one of integers.
    """
    env = make_vec_env(load_recipe(agent.env, agent.frames, agent.module), 1, seed=0, frames=agent.frames)
    try:
        model = to_sb3(agent, env)
        with whole(out) as temporary, temporary.open("wb") as handle:
            model.save(handle)
    finally:
        env.close()
    return f"{out}: read it with snn_rl.SpikingDQN.load, or with snn_rl.load_agent('{out}', '{agent.env}')"
