"""One game of a shipped agent for the site: its picture and the spikes of every layer, decision by decision, as a script.

Only what changes is kept. From one decision to the next some 50 of Pong's 7,056 pixels change, and few neurons spike.
"""

from __future__ import annotations

import base64
import json
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from snn_rl import load_agent, load_recipe, make_env
from snn_rl.tasks.rollout import play, starts


class Stream:
    """Lists of small numbers, one list for each decision, as two arrays in base64: where each list ends, and the numbers."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.numbers: list[NDArray[np.uint16]] = []

    def add(self, numbers: NDArray[np.integer]) -> None:
        """The list of the next decision; numbers below 65,536."""
        self.numbers.append(numbers.astype("<u2"))
        self.ends.append(len(numbers) + (self.ends[-1] if self.ends else 0))

    def described(self) -> dict[str, str]:
        """For JavaScript's ``Uint32Array`` and ``Uint16Array``."""
        ends = np.array(self.ends, "<u4").tobytes()
        numbers = np.concatenate(self.numbers).tobytes()
        return {"ends": base64.b64encode(ends).decode(), "numbers": base64.b64encode(numbers).decode()}


def game(name: str, decisions: int | None) -> str:
    """The first episode of an evaluation, or its first decisions, of an Atari agent that sees one frame.

    ``pixels`` are the indices of those that changed, ``values`` their brightness; of a layer, the indices of its neurons that
    spiked.
    """
    agent = load_agent(name)
    recipe = load_recipe(agent.env, agent.frames)
    env = make_env(recipe, frames=agent.frames)
    pixels, values, last = Stream(), Stream(), np.full(agent.observation_shape[-2:], -1)
    layers = {layer: Stream() for layer in agent.network.layer_names[:-1]}
    shapes: dict[str, list[int]] = {}
    actions, rewards = list[int](), list[float]()
    for decision in islice(play(agent.network, [env], starts(recipe, 1, seed=0)), decisions):
        frame = decision.observation[0, -1].astype(int)
        changed = np.flatnonzero(frame != last)
        pixels.add(changed)
        values.add(frame.flat[changed])
        last = frame
        for (layer, stream), spikes in zip(layers.items(), decision.layers, strict=True):
            shapes[layer] = list(spikes.shape[2:])
            stream.add(np.flatnonzero(spikes[:, 0].any(0)))
        actions.append(int(decision.action[0]))
        rewards.append(float(decision.reward[0]))
    meanings = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
    env.close()
    described = {
        "agent": agent.label,
        "shape": list(last.shape),
        "actions": actions,
        "rewards": rewards,
        "meanings": meanings,
        "pixels": pixels.described(),
        "values": values.described(),
        "layers": [{"name": layer, "shape": shapes[layer], **stream.described()} for layer, stream in layers.items()],
    }
    return f"const SNN_RL_GAME = {json.dumps(described)};\n"
