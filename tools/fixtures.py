"""Records what today's agents and files come to, so that later versions can be held to it. For maintainers, in a checkout.

    python tools/fixtures.py

``tests/fixtures/shipped.json`` says of every agent of the catalogue what it does on fixed observations.
``tests/fixtures/files`` holds one small file of each kind: agents (one of integers), a saved learner, its replay buffer.
Run it where agents were added or replaced. Where only code changed, a difference is a defect of the code.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from snn_rl import SpikingDQN, load_agent
from snn_rl.core.network import State
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import quantise
from snn_rl.store import agents
from snn_rl.store.agents import WEIGHTS, Agent
from snn_rl.store.integrity import digest

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
STEPS, ENVIRONMENTS = 4, 2


def machine() -> str:
    """What float numbers depend on, to the last bit."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"torch {th.__version__.partition('+')[0]}, {model}"


def replay(agent: Agent) -> dict[str, Any]:
    """What an agent does on fixed observations: its actions, spikes of each layer, first values, and all bits together."""
    th.set_num_threads(1)
    rng = np.random.default_rng(0)
    shape = (STEPS, ENVIRONMENTS, *agent.observation_shape)
    pixels = len(agent.observation_shape) == 3
    seen = rng.integers(0, 256, shape).astype(np.uint8) if pixels else rng.standard_normal(shape).astype(np.float32)
    bits, actions, record = hashlib.sha256(), "", list[th.Tensor]()
    state: State | None = None
    first: list[float] = []
    for own in seen:
        with th.no_grad():
            q, state = agent.network.unroll(th.from_numpy(own)[None], state, None, record)
        first = first or q[0, 0].tolist()
        actions += "".join(str(action) for action in q[0].argmax(1).tolist())
        for tensor in (q, *state):
            bits.update(tensor.contiguous().numpy().tobytes())
    layers = len(agent.network.neurons)
    counts = [sum(int(part.sum()) for part in record[n::layers]) for n in range(layers)] if agent.network.spiking else []
    return {"actions": actions, "spikes": counts, "values": first, "bits": bits.hexdigest()}


def shipped() -> dict[str, Any]:
    """The record of every agent of the catalogue."""
    found = {}
    for name in agents.shipped():
        agent = load_agent(name)
        assert agent.path is not None
        found[name] = {"weights": digest((agent.path / WEIGHTS).read_bytes()), **replay(agent)}
    return {"machine": machine(), "agents": found}


def decisions(agent: Agent) -> str:
    """A sum over what an agent of integers does on fixed vectors: the same on every machine."""
    seen, state, done = np.random.default_rng(0).standard_normal((50, 2, 4)).astype(np.float32), None, hashlib.sha256()
    for one in seen:
        action, state = agent.predict(one, state)
        done.update(bytes(action.tolist()))
    return done.hexdigest()


def files(folder: Path) -> None:
    """One small file of each kind."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = SpikingDQN(
        "MlpPolicy", "CartPole-v1", T=2, buffer_size=64, learning_starts=8, device="cpu", seed=0,
        policy_kwargs={"net_arch": [8]},
    )  # fmt: skip
    model.learn(32)
    model.save(folder / "learner.zip")
    model.save_replay_buffer(folder / "buffer.pkl")
    network = model.policy.q_net.network
    agents.save(Agent("CartPole-v1", "T2", network, (4,)), folder / "T2")
    integers = quantise(network, observed=8)
    agents.save(Agent("CartPole-v1", "T2-int8", IntegerNetwork(integers), (4,), integer=integers.form), folder / "T2-int8")


def main() -> int:
    """``python tools/fixtures.py``."""
    files(FIXTURES / "files")
    record = shipped() | {"integers": decisions(load_agent(FIXTURES / "files" / "T2-int8"))}
    (FIXTURES / "shipped.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
