"""Plays agents of integers, exported as C, on an emulated microcontroller (Cortex-M4), beside Python.

    python tools/mcu.py [--json FILE]          # make test-mcu

Needs arm-none-eabi-gcc and qemu-system-arm (Debian: gcc-arm-none-eabi, qemu-system-arm). The observations of real play are
recorded here and put into the board's memory; the board's actions must be those of Python. QEMU counts time in instructions
(-icount shift=0: one nanosecond each), and the board's SysTick, at 25 MHz, ticks once every 40: so what is printed are
instructions, not cycles. A loop of two million instructions checks the count.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from snn_rl import load_agent
from snn_rl.core.errors import UserError
from snn_rl.engine.program import is_wide
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.exports.c import texts
from snn_rl.store.agents import Agent
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import play, starts

HERE = Path(__file__).parent / "mcu"
AGENTS = {"CartPole-v1/T1-int8": 1000, "PongNoFrameskip-v4/T1-frames1-int8": 400}  # how many decisions
COMPILER, EMULATOR, SIZE = "arm-none-eabi-gcc", "qemu-system-arm", "arm-none-eabi-size"
FLAGS = ["-mcpu=cortex-m4", "-mthumb", "-std=c99", "-O3", "-ffreestanding", "-nostdlib", "-Wall", "-Wextra", "-Werror"]
MACHINE = ["-machine", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-semihosting", "-icount", "shift=0"]
PER_TICK, KNOWN = 40, 2_000_000


def record(agent: Agent, decisions: int) -> tuple[bytes, list[int]]:
    """Real play, one environment: what the board reads, and the actions of the event-driven engine."""
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    network = agent.network
    assert isinstance(network, IntegerNetwork)
    kind = np.int16 if is_wide(network.integers.form) else np.uint8
    env, parts, actions, before = make_env(recipe, frames=agent.frames), [], list[int](), -1
    for decision in play(network, [env], starts(recipe, 10, seed=0)):
        seen = network.integers.seen(decision.observation[0]).astype(kind).tobytes()
        parts.append(int(decision.episode[0] != before).to_bytes(4, "little") + seen + bytes(-len(seen) % 4))
        actions.append(int(decision.action[0]))
        before = decision.episode[0]
        if len(actions) == decisions:
            break
    env.close()
    return len(actions).to_bytes(4, "little") + b"".join(parts), actions


def on_board(agent: Agent, recorded: bytes, folder: Path) -> tuple[list[int], list[int], dict[str, int]]:
    """Actions, instructions of each decision, and bytes of flash and RAM.

    Raises:
        UserError: where the emulator's count of a known loop is not what it must be.
    """
    for name, text in texts(agent)[0].items():
        (folder / name).write_bytes(text.encode())
    (folder / "recorded.bin").write_bytes(recorded)
    elf = folder / "agent.elf"
    sources = [str(folder / "agent.c"), str(HERE / "main.c")]
    subprocess.run([COMPILER, *FLAGS, f"-I{folder}", "-T", str(HERE / "mps2.ld"), *sources, "-o", str(elf)], check=True)
    loader = f"loader,file={folder / 'recorded.bin'},addr=0x21000000,force-raw=on"
    done = subprocess.run(
        [EMULATOR, *MACHINE, "-kernel", str(elf), "-device", loader], capture_output=True, text=True, check=True, timeout=600
    )
    first, *lines = (done.stdout + done.stderr).split("\n")
    if abs(int(first) * PER_TICK - KNOWN) > KNOWN // 1000:
        raise UserError(f"the emulator counts {int(first) * PER_TICK:,} instructions in a loop of {KNOWN:,}")
    pairs = [line.split() for line in lines if line]
    sizes = subprocess.run([SIZE, str(elf)], capture_output=True, text=True, check=True).stdout.split("\n")[1].split()
    used = {"flash": int(sizes[0]) + int(sizes[1]), "ram": int(sizes[2])}
    return [int(action) for action, _ in pairs], [int(ticks) * PER_TICK for _, ticks in pairs], used


def version(tool: str) -> str:
    """What a tool says of itself."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[0]


def measure(name: str, decisions: int) -> dict[str, Any]:
    """One agent on the board.

    Raises:
        UserError: if an action is another than Python's.
    """
    agent = load_agent(name, engine="event")
    recorded, wanted = record(agent, decisions)
    with tempfile.TemporaryDirectory() as folder:
        found, took, used = on_board(agent, recorded, Path(folder))
    if found != wanted:
        raise UserError(f"{name}: the board's actions are not Python's")
    mean, most = round(float(np.mean(took[1:]))), max(took[1:])
    return {"agent": agent.label, "decisions": len(found), "instructions": mean, "most": most, "first": took[0], **used}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("agents", nargs="*", help=f"default: {' '.join(AGENTS)}")
    args = parser.parse_args()
    for tool, package in ((COMPILER, "gcc-arm-none-eabi"), (EMULATOR, "qemu-system-arm")):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing; on Debian: apt install {package}")
    rows = [measure(name, AGENTS.get(name, 400)) for name in args.agents or AGENTS]
    for row in rows:
        print(
            f"{row['agent']}: {row['decisions']} decisions, the actions of Python; {row['instructions']:,} instructions each "
            f"(at most {row['most']:,}, the first {row['first']:,}); flash {row['flash']:,} bytes, RAM {row['ram']:,}"
        )
    if args.json:
        write_json({"compiler": version(COMPILER), "emulator": version(EMULATOR), "agents": rows}, args.json)


if __name__ == "__main__":
    main()
