"""The C of an agent of integers, compiled on this machine and called from Python: for comparisons and for its speed."""

from __future__ import annotations

import copy
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.exports.c import texts
from snn_rl.store.agents import Agent

FLAGS = ("-std=c99", "-O3", "-march=native", "-fPIC", "-shared")
DOOR = """\
#include <stddef.h>
#include "agent.h"
size_t agent_bytes(void) { return sizeof(agent_state); }
size_t agent_offset(int field)
{
    return field == 0 ? offsetof(agent_state, q) : field == 1 ? offsetof(agent_state, membrane) : FIRED;
}
uint32_t agent_last(agent_state *state, const char *observations, size_t count, size_t bytes)
{
    uint32_t action = 0;
    for (size_t n = 0; n < count; n++)
        action = agent_decide(state, (const void *)(observations + n * bytes));
    return action;
}
"""


class Compiled:
    """An agent in C, for one environment: ``decide(observation)`` as the exported code does it.

    Args:
        agent: one of integers.
        record: whether ``fired`` is kept, which takes time.
        flags: of the compiler.

    Attributes:
        q, membrane, fired: of ``agent_state``; ``fired`` at each timestep.
        bytes: of ``agent_state``.

    Raises:
        UserError: if the agent is not one of integers, or there is no C compiler.
    """

    def __init__(self, agent: Agent, *, record: bool = False, flags: Sequence[str] = FLAGS) -> None:
        files, source = texts(agent)
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise UserError("there is no C compiler; install gcc or clang")
        assert isinstance(agent.network, IntegerNetwork)
        self.integers, program = agent.network.integers, source.program
        with tempfile.TemporaryDirectory() as folder:
            door = DOOR.replace("FIRED", "offsetof(agent_state, fired)" if record else "0")
            for name, text in (files | {"door.c": door}).items():
                (Path(folder) / name).write_bytes(text.encode())
            library = Path(folder) / "agent.so"
            define = ["-DAGENT_RECORD"] * record
            command = [
                compiler,
                *flags,
                *define,
                "-o",
                str(library),
                *(str(Path(folder) / one) for one in ("agent.c", "door.c")),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["it said nothing"]
                first = next((line for line in lines if "error" in line), lines[-1])
                raise UserError(f"the C compiler {compiler} failed: {first[:300]}; install another one")
            self._library = ctypes.CDLL(str(library))
        self._kind = np.dtype(np.int16 if program.wide else np.uint8)
        self._library.agent_bytes.restype = self._library.agent_offset.restype = ctypes.c_size_t
        self._library.agent_decide.restype = self._library.agent_last.restype = ctypes.c_uint32
        self.bytes, self._neurons, self._record = int(self._library.agent_bytes()), program.neurons, record
        self._place()

    def _place(self) -> None:
        """Takes memory for a state."""
        at, actions = self._library.agent_offset, len(self.integers.synapses[-1].bias)
        held = np.zeros(-(-self.bytes // 8), np.uint64).view(np.uint8)  # aligned as the widest field
        self.q: NDArray[np.int32] = held[at(0) : at(0) + 4 * actions].view(np.int32)
        self.membrane: NDArray[np.int32] = held[at(1) : at(1) + 4 * self._neurons].view(np.int32)
        spikes = self.integers.T * self._neurons if self._record else 0
        self.fired: NDArray[np.uint8] = held[at(2) : at(2) + spikes].reshape(-1, self._neurons)
        self._at = ctypes.c_void_p(held.ctypes.data)
        self.reset()

    def another(self) -> Compiled:
        """The same agent with a state of its own, for another environment."""
        other = copy.copy(self)
        other._place()
        return other

    def reset(self) -> None:
        """The state in which an episode begins."""
        self._library.agent_reset(self._at)

    def decide(self, observation: NDArray[Any]) -> int:
        """The action.

        Args:
            observation: as the agent takes it, of float numbers too.
        """
        return self.decide_integers(np.ascontiguousarray(self.integers.seen(observation).astype(self._kind)))

    def decide_integers(self, observation: NDArray[Any]) -> int:
        """The action for integers as the C code takes them: contiguous, uint8 for pixels, else int16."""
        return int(self._library.agent_decide(self._at, ctypes.c_void_p(observation.ctypes.data)))

    def last(self, observations: NDArray[Any]) -> int:
        """The last action of a series of observations ``(decisions, *observation)`` as :meth:`decide_integers` takes them. All
        are decided in C: what a decision takes without the way there from Python."""
        sizes = ctypes.c_size_t(len(observations)), ctypes.c_size_t(observations[0].nbytes)
        return int(self._library.agent_last(self._at, ctypes.c_void_p(observations.ctypes.data), *sizes))


def compile_c(agent: Agent) -> Compiled:
    """The agent's C, compiled for this machine with ``-O3``."""
    return Compiled(agent)
