"""Agents of integers by strangers, and states of others: one sentence, by both engines; nothing is read beyond its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import conv_spec, lively, mlp_spec, posix
from safetensors.numpy import load_file, save_file

from snn_rl import load_agent
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.engine.program import Program
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import quantise
from snn_rl.engine.semantics import Integers
from snn_rl.store import agents
from snn_rl.store.agents import CARD, WEIGHTS, Agent

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spec = mlp_spec(4, 6, 2)
    spec[1] = {"type": "LIF", "recurrent": 6}
    integers = quantise(lively(QNetwork(spec, T=2), decay=0.7), observed=6)
    agent = Agent("CartPole-v1", "T2-int8", IntegerNetwork(integers), (4,), integer=integers.form)
    return agents.save(agent, tmp_path / "agent")


def spoilt(folder: Path, card: dict[str, Any] | None = None, **arrays: Any) -> Path:
    """The agent with other values in its card (those of ``integer`` under their own names) and other arrays."""
    own = json.loads((folder / CARD).read_text())
    for key, value in (card or {}).items():
        (own["integer"] if key in own["integer"] else own)[key] = value
    (folder / CARD).write_text(json.dumps({key: value for key, value in own.items() if key not in ("files", "sha256")}))
    save_file(load_file(folder / WEIGHTS) | {key.replace("__", "."): value for key, value in arrays.items()}, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("engine", ["torch", "event"])
@pytest.mark.parametrize(
    ("card", "arrays", "said"),
    [
        ({"T": 0}, {}, "T and q_scale above 0"),
        ({"q_scale": 0}, {}, "T and q_scale above 0"),
        ({"q_scale": 10**400}, {}, "integer.q_scale must be finite"),
        ({"v_th": [9.0]}, {}, "v_th[0] in card.json is not that of weights.safetensors"),
        ({"decay": [0.1]}, {}, "decay[0] in card.json is not that of weights.safetensors"),
        ({"decay": []}, {}, "decay has 0 layers in card.json"),
        ({}, {"neurons__0__log_v_th": np.array(1000.0, np.float32)}, "math range error"),
        ({}, {"neurons__0__log_v_th": np.array(np.nan, np.float32)}, "v_th must be a finite number above 0"),
        ({}, {"neurons__0__log_v_th": np.ones(2, np.float32)}, "can be converted to Python scalars"),
        ({}, {"more": np.ones(3, np.int8)}, "'more' is not in the network"),
        (
            {},
            {"neurons__0__shift": np.full(6, 99, np.int32)},
            "a shift of layer 1 does not lie in [0, 23]; quantize the agent anew (python -m snn_rl.quantize)",
        ),
        ({}, {"recurrent__0__weight": np.zeros((6, 5), np.int8)}, "'recurrent.0.weight' is int8(6, 5)"),
    ],
)
def test_what_is_no_agent_of_integers_is_told_in_a_sentence(
    folder: Path, card: dict[str, Any], arrays: dict[str, Any], said: str, engine: str
) -> None:
    with pytest.raises(UserError) as error:
        load_agent(spoilt(folder, card, **arrays), engine=engine)
    assert said in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_state_of_another_network_is_refused(folder: Path) -> None:
    seen = np.ones((3, 4), np.float32)
    slow, fast = load_agent(folder), load_agent(folder, engine="event")
    _, state = slow.predict(seen)
    for n, wrong in ((0, state[0][:, :1]), (1, state[1][:, :1]), (0, state[0].float())):
        with pytest.raises(UserError, match="the state "):
            slow.predict(seen, tuple(wrong if k == n else v for k, v in enumerate(state)))
    _, own = fast.predict(seen)
    assert [one.shape[0] for one in own] == [3]  # membranes, last spikes and the last observation in one row each
    for n, one in enumerate(own):
        for wrong in (one[:, :-1], np.concatenate([one, one], 1), one.astype(np.float64), one.tolist()):
            with pytest.raises(
                UserError, match=r"the state is .* (where the network's is int32\(3, \d+\)|of this engine); pass on"
            ):
                fast.predict(seen, tuple(wrong if k == n else v for k, v in enumerate(own)))
    with pytest.raises(UserError, match="the state is not of this engine"):
        fast.predict(seen, (*own, *own))
    with pytest.raises(UserError, match="the state is not of this engine"):
        fast.predict(seen, state)


@pytest.mark.parametrize("value", [3e38, -1e19, np.nan, np.inf])
def test_both_engines_refuse_the_same_observations(folder: Path, value: float) -> None:
    for engine in ("torch", "event"):
        agent = load_agent(folder, engine=engine)
        _, state = agent.predict(np.zeros((1, 4), np.float32))
        with pytest.raises(UserError, match=r"NaN or infinity, or a number beyond 1e\+18; mend the environment, or leave"):
            agent.predict(np.full((1, 4), value, np.float32), state)


def large(side: int, kernel: int) -> Integers:
    """One convolution, a pool over a half of what it gives in each direction, and a readout."""
    conv = {**conv_spec()[0], "out_channels": 1, "kernel_size": kernel, "stride": 1, "padding": 0}
    half = (side - kernel + 1) // 2
    pool = {"type": "AvgPool2d", "kernel_size": half, "stride": half, "padding": 0}
    readout = {"type": "Linear", "in_features": 4, "out_features": 2, "bias": False}
    spec = [conv, {"type": "LIF"}, pool, {"type": "Flatten"}, readout]
    return quantise(QNetwork(spec, T=1, input_scale=1 / 255), readout_bits=2)


@posix
def test_an_agent_of_large_images_is_read_without_a_play(tmp_path: Path) -> None:
    """A play of it takes 3 GB."""
    integers = large(1000, 20)
    agent = Agent("CartPole-v1", "T1-int8", IntegerNetwork(integers), (1, 1000, 1000), integer=integers.form)
    folder = agents.save(agent, tmp_path / "agent")
    script = (  # in a process of its own, of which the memory of the tests' process is no part
        "import sys; from pathlib import Path; from snn_rl import load_agent\n"
        "from attack import attempt; from hostile import Case\n"
        "print(*attempt(Case('', lambda: load_agent(sys.argv[1])), Path(sys.argv[1] + '.log')))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TOOLS), str(TOOLS.parent)])}
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    code, _, size = done.stdout.split()
    assert code == "0"
    assert float(size) < 1e9


@pytest.mark.parametrize(("side", "kernel"), [(1000, 20), (9000, 1)])
def test_tables_that_would_fill_the_memory_are_refused(side: int, kernel: int) -> None:
    integers = large(side, kernel)
    with pytest.raises(UserError, match=f"its tables would have {(side - kernel + 1) ** 2 * kernel**2:,} places"):
        Program(integers, (1, side, side))
