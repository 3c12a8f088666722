"""The C of an agent of integers: the spikes, membranes and sums of the reference, without a warning and without a fault."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import mlp_spec
from random_networks import random_network, random_play, spiking_much

from snn_rl import export, load_agent
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.engine.event import EventNetwork
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import quantise
from snn_rl.exports.c import texts
from snn_rl.exports.compiled import FLAGS, Compiled, compile_c
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.tasks.recipes import Recipe
from snn_rl.training.integers import to_integers

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")

PLAYER = """\
#include <stdio.h>
#include "agent.h"
static agent_state s;
static agent_input observation[AGENT_INPUTS];
int main(void)
{
    while (fread(observation, sizeof observation, 1, stdin) == 1) {
        uint32_t action;
        if (getchar()) agent_reset(&s);
        action = agent_decide(&s, observation);
        fwrite(&action, sizeof action, 1, stdout);
        fwrite(s.membrane, sizeof s.membrane, 1, stdout);
    }
    return 0;
}
"""


def random_agent(seed: int) -> tuple[Agent, np.random.Generator, bool]:
    """An agent of integers, and whether it sees pixels."""
    rng = np.random.default_rng(seed)
    network, shape, observed = random_network(rng)
    integers = quantise(network, bits=int(rng.integers(3, 9)), observed=observed)
    return Agent("X-v0", "T-int", IntegerNetwork(integers), shape, integer=integers.form), rng, observed is None


def same_play(agent: Agent, compiled: Compiled, play: np.ndarray, starts: np.ndarray) -> None:
    """Compares decision after decision of one environment."""
    assert isinstance(agent.network, IntegerNetwork)
    layout, state = EventNetwork(agent.network.integers, agent.observation_shape), None
    for seen, fresh in zip(play, starts, strict=True):
        if fresh:
            compiled.reset()
        spikes: list[th.Tensor] = []
        q, state = agent.network.unroll(th.from_numpy(seen[None, None]), state, th.tensor([[bool(fresh)]]), spikes)
        assert compiled.decide(seen) == int(q.argmax())
        assert q[0, 0].tolist() == [one * agent.network.integers.form.q_scale for one in compiled.q.tolist()]
        membranes = layout.by_layer(th.from_numpy(compiled.membrane.copy())[None])
        fired = layout.by_layer(th.from_numpy(compiled.fired.copy())[None, :, None])
        assert all(th.equal(*pair) for pair in zip(state, membranes, strict=False))
        assert all(th.equal(wanted, own.float()) for wanted, own in zip(spikes, fired, strict=True))


@pytest.mark.parametrize("seed", range(100, 116))
def test_every_spike_and_every_membrane_is_that_of_the_reference(seed: int) -> None:
    agent, rng, pixels = random_agent(seed)
    play = random_play(rng, agent.observation_shape, pixels, steps=10, batch=1)[:, 0]
    compiled = Compiled(agent, record=True, flags=(*STRICT, "-O1", "-fPIC", "-shared"))
    same_play(agent, compiled, play, rng.random(10) < 0.2)


@pytest.mark.parametrize("carry", [True, False])
def test_noise_goes_the_dense_way(carry: bool) -> None:
    conv = {"type": "Conv2d", "in_channels": 2, "out_channels": 6, "kernel_size": [4, 7], "stride": [3, 2], "bias": True,
            "padding": [3, 2], "dilation": [2, 2], "groups": 2}  # fmt: skip
    readout = {"type": "Linear", "in_features": 6 * 7 * 6, "out_features": 3, "bias": True}
    network = QNetwork([conv, {"type": "ReLU"}, {"type": "Flatten"}, readout], T=2, input_scale=1 / 255, carry=carry)
    integers = quantise(network)
    agent = Agent("X-v0", "T-int", IntegerNetwork(integers), (2, 20, 20), integer=integers.form)
    assert "whole(s);" in texts(agent)[0]["agent.c"]
    noise = np.random.default_rng(0).integers(0, 256, (4, 2, 20, 20)).astype(np.uint8)
    same_play(agent, Compiled(agent, record=True, flags=(*STRICT, "-O2", "-fPIC", "-shared")), noise, np.array([1, 0, 0, 0]))


@pytest.mark.parametrize("padding", [0, 2])
def test_many_spikes_go_output_by_output(padding: int) -> None:
    integers = spiking_much(padding, groups=1)
    agent = Agent("X-v0", "T-int", IntegerNetwork(integers), (1, 14, 14), integer=integers.form)
    assert "gather_1(s, count, s->sums);" in texts(agent)[0]["agent.c"]
    noise = np.random.default_rng(0).integers(0, 256, (4, 1, 14, 14)).astype(np.uint8)
    compiled = Compiled(agent, record=True, flags=(*STRICT, "-O1", "-fPIC", "-shared"))
    same_play(agent, compiled, noise, np.array([1, 0, 0, 0]))
    assert Compiled(agent, flags=(*FLAGS, "-O0")).bytes == texts(agent)[1].ram


@pytest.mark.parametrize("seed", [100, 103, 107])
def test_sanitizers_find_nothing(tmp_path: Path, seed: int) -> None:
    agent, rng, pixels = random_agent(seed)
    network = agent.network
    assert isinstance(network, IntegerNetwork)
    play = random_play(rng, agent.observation_shape, pixels, steps=10, batch=1)[:, 0]
    play[5:] = rng.choice([0, 255] if pixels else [-1e9, 1e9], play[5:].shape)
    for name, text in (texts(agent)[0] | {"play.c": PLAYER}).items():
        (tmp_path / name).write_text(text)
    checks = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    subprocess.run(["gcc", *STRICT, *checks, "-o", "play", "agent.c", "play.c"], cwd=tmp_path, check=True)
    kind = np.uint8 if pixels else np.int16
    sent = b"".join(network.integers.seen(seen).astype(kind).tobytes() + bytes([n == 0]) for n, seen in enumerate(play))
    done = subprocess.run([str(tmp_path / "play")], input=sent, capture_output=True, check=True)
    q, _ = network.unroll(th.from_numpy(play[:, None]))
    found = np.frombuffer(done.stdout, np.int32).reshape(10, -1)
    assert found[:, 0].tolist() == q.argmax(-1)[:, 0].tolist()


def test_a_shipped_agent_plays_in_c(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = to_integers(load_agent("CartPole-v1/T1"), recipe)
    agents.save(agent, tmp_path / "T1-int8")
    assert export.main([str(tmp_path / "T1-int8"), "--to", "c", "--out", str(tmp_path / "c")]) == 0
    assert "updates of neurons" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"agent.h", "agent.c"}
    compiled, rng = compile_c(agent), np.random.default_rng(0)
    observations, state = rng.normal(size=(200, 4)).astype(np.float32) * 0.2, None
    for n, seen in enumerate(observations):
        action, state = agent.predict(seen, state, np.array([n == 0]))
        assert compiled.decide(seen) == action
    saturated = np.array([-32768, 32767, 0, 0], np.int16)  # the least is beyond what the proof allows
    compiled.reset()
    action = compiled.decide_integers(saturated)
    compiled.reset()
    assert action == compiled.decide_integers(np.array([-32767, 32767, 0, 0], np.int16))


def test_the_header_says_what_it_costs() -> None:
    agent, _, _ = random_agent(101)
    files, source = texts(agent)
    assert Compiled(agent, flags=(*FLAGS, "-O0")).bytes == source.ram
    assert f"RAM: {source.ram} bytes" in files["agent.h"]
    assert not re.search(r"\b(float|double|malloc|memcpy)\b", re.sub(r"/\*.*?\*/", "", "".join(files.values()), flags=re.S))
    arrays = re.findall(r"static const u?int(\d+)_t \w+\[(\d+)\]", files["agent.c"])
    assert sum(int(bits) // 8 * int(size) for bits, size in arrays) == source.flash
    integers = quantise(QNetwork(mlp_spec(3, 5, 2), T=3), observed=9)
    _, source = texts(Agent("X-v0", "T3-int8", IntegerNetwork(integers), (3,), integer=integers.form))
    assert (source.macs, source.acs, source.updates) == (3 * 5, 3 * 5 * 2, 3 * 5)


def test_a_name_does_not_get_out_of_its_comment() -> None:
    agent, _, _ = random_agent(100)
    agent.name = "*/ int x; /*\n#error ??/ \\"
    for text in texts(agent)[0].values():
        assert text.startswith("/* X-v0/_/ int x_ /___error __/ _: a spiking agent")


def test_a_float_agent_is_told_to_quantize(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"CartPole-v1/T1' is an agent of float numbers; python -m snn_rl.quantize makes one"):
        export.main(["CartPole-v1/T1", "--to", "c", "--out", str(tmp_path / "c")])
    assert not (tmp_path / "c").exists()


def test_without_a_compiler_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="there is no C compiler; install gcc or clang"):
        Compiled(random_agent(100)[0])
