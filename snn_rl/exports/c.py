"""An agent of integers in C99: ``agent.h`` and ``agent.c``, for microcontrollers and whatever else has a C compiler.

It computes what docs/integers.md says, by events as the event-driven engine does: changed inputs, then spikes.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from snn_rl.core.errors import UserError
from snn_rl.engine.program import Program
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.exports.c_network import Source
from snn_rl.store.agents import Agent
from snn_rl.store.files import whole_folder
from snn_rl.store.provenance import versions


def write(agent: Agent, out: Path) -> str:
    """Writes a folder with ``agent.h`` and ``agent.c``.

    Raises:
        UserError: if the agent is not one of integers.
    """
    files, source = texts(agent)
    with whole_folder(out) as new:
        for name, text in files.items():
            (new / name).write_bytes(text.encode())
    return (
        f"{out}: agent.h and agent.c. Flash {source.flash:,} bytes and the code, RAM {source.ram:,} bytes; a decision takes "
        f"at most {source.macs:,} multiply-accumulates, {source.acs:,} additions and {source.updates:,} updates of neurons"
    )


def texts(agent: Agent) -> tuple[dict[str, str], Source]:
    """What each file says, and the numbers in it.

    Raises:
        UserError: if the agent is not one of integers.
    """
    network = agent.network
    if not isinstance(network, IntegerNetwork):
        raise UserError(
            f"'{agent.label}' is an agent of float numbers; python -m snn_rl.quantize makes one of integers from it, and that "
            "becomes C"
        )
    source = Source(Program(network.integers, agent.observation_shape))
    form, shape = network.integers.form, "x".join(map(str, agent.observation_shape))
    observation = f"{shape} numbers, channels first. Whatever lies beyond AGENT_INPUT_MIN and AGENT_INPUT_MAX saturates."
    if form.input_bits or form.input_range[0]:
        observation += (
            f"\n *     A number o is given as round(o * {2**form.input_bits}), half to even, saturating: in fixed point with "
            f"{form.input_bits} fraction bits."
        )
    score = agent.scores.get("greedy")
    played = ""
    if score is not None and score.energy is not None and score.energy.acs is not None:
        played = f" *     As it plays {_plain(agent.env)}, on average: {round(score.energy.acs):,} additions.\n"
    carried = "Membranes are kept between decisions." if network.carry else "Membranes are zeroed before every decision."
    more = {"observation": observation, "played": played, "carried": carried, "version": versions()["snn-rl"]}
    title = _plain(f"{agent.label}: a spiking agent of integers")
    pair = {"agent.h": source.header(**more), "agent.c": source.text()}
    return {name: Template(text).substitute(title=title) for name, text in pair.items()}, source


def _plain(text: str) -> str:
    """Text that can stand in a comment."""
    return re.sub(r"[^A-Za-z0-9 .,:_/-]", "_", text)
