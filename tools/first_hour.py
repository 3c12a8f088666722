"""Plays the first hour of four new users against a fresh wheel in a fresh environment, and prints what each step took.

python tools/first_hour.py            # downloads what the wheel depends on
python tools/first_hour.py --borrow   # takes that from the environment that runs this; only the wheel is new
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Step:
    """What a user types: Python code, or a command with ``snn_rl.`` before it; and the words that have to be in the answer."""

    user: str
    typed: str
    answer: str = ""
    code: int = 0  # exit code; 2 is an error that a sentence explains

    def arguments(self, python: Path) -> list[str]:
        """The process that it starts."""
        if self.typed.startswith("snn_rl."):
            return [str(python), "-m", *self.typed.split()]
        return [str(python), "-c", self.typed]


SB3, ATARI, NEURO, STUDENT = "an SB3 user", "an Atari user", "a neuromorphic researcher", "a student in a notebook"
DQN = "from stable_baselines3 import DQN; DQN('{policy}', {env!r}, learning_starts=100, seed=0).learn({steps}).save({path!r})"
MODULE = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Goals(gym.Env):
    observation_space = spaces.Dict({"goal": spaces.Discrete(4), "place": spaces.Box(-1, 1, (2,), np.float32)})
    action_space = spaces.Discrete(4)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def _see(self):
        self.goal = int(self.np_random.integers(4))
        return {"goal": self.goal, "place": self.np_random.uniform(-1, 1, 2).astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return self._see(), {}

    def step(self, action):
        self.clock += 1
        reward = float(action == self.goal)
        return self._see(), reward, False, self.clock == 20, {}


gym.register("Goals-v0", Goals)
"""
GOALS = "--env mine:Goals-v0"
STEPS = (
    Step(SB3, DQN.format(policy="MlpPolicy", env="CartPole-v1", steps=2_000, path="cart.zip")),
    Step(SB3, "snn_rl.evaluate cart.zip --env CartPole-v1 --episodes 5", "return"),
    Step(SB3, "snn_rl.convert --ann cart.zip --env CartPole-v1 --T 5 --out cart-T5", "wrote cart-T5"),
    Step(SB3, "snn_rl.train --env CartPole-v1 --T 1 --ann cart.zip --surrogate arctan:0.5 --dry-run", "converted-T1"),
    Step(SB3, "from snn_rl import SpikingDQN; SpikingDQN('MlpPolicy', 'CartPole-v1', T=1).learn(500).save('spiking.zip')"),
    Step(SB3, "snn_rl.evaluate spiking.zip --env CartPole-v1 --episodes 5", "T1"),
    Step(SB3, DQN.format(policy="MlpPolicy", env="FrozenLake-v1", steps=500, path="lake.zip")),
    Step(SB3, "snn_rl.evaluate lake.zip --env FrozenLake-v1 --episodes 5", "FrozenLake-v1"),
    Step(SB3, f"open('mine.py', 'w').write({MODULE!r})"),
    Step(SB3, DQN.format(policy="MultiInputPolicy", env="mine:Goals-v0", steps=3_000, path="goals.zip")),
    Step(SB3, f"snn_rl.train {GOALS} --ann goals.zip --T 1 --out goals", "goals/report/report.md"),
    Step(SB3, "from snn_rl import SpikingDQN; SpikingDQN('MultiInputPolicy', 'mine:Goals-v0').learn(300).save('own.zip')"),
    Step(SB3, f"snn_rl.evaluate own.zip {GOALS} --episodes 2", "Goals-v0/T1"),
    Step(
        SB3,
        "from stable_baselines3 import DQN; from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize; "
        "import gymnasium; env = VecNormalize(DummyVecEnv([lambda: gymnasium.make('CartPole-v1')])); "
        "DQN('MlpPolicy', env, learning_starts=100).learn(300).save('norm.zip'); env.save('norm.pkl')",
    ),
    Step(
        SB3,
        "snn_rl.convert --ann norm.zip --env CartPole-v1 --vecnormalize norm.pkl --trust-pickle --T 1 --out norm-T1",
        "wrote norm-T1",
    ),
    Step(SB3, "snn_rl.convert --ann norm.zip --env CartPole-v1 --vecnormalize norm.pkl --out x", "is a pickle", 2),
    Step(SB3, "snn_rl.evaluate cart.zip", "an SB3 zip does not say its environment", 2),
    Step(ATARI, "snn_rl.list Pong", "PongNoFrameskip-v4/T1-frames1"),
    Step(ATARI, "snn_rl.train --env ALE/Pong-v5 --dry-run", "copy of PongNoFrameskip-v4/ann"),
    Step(ATARI, "snn_rl.evaluate ALE/Pong-v5/T1-frames1 --episodes 1", "sticky actions of 0.25"),
    Step(ATARI, "snn_rl.evaluate PongNoFrameskip-v4/T5 --episodes 1", "does not come with the installed package", 2),
    Step(
        NEURO,
        "from snn_rl import load_agent, raster, record, traces; recording = record(load_agent('CartPole-v1/T1')); "
        "print(recording); raster(recording, 'spikes.svg'); traces(recording, path='membranes.pdf')",
        "fc1 256",
    ),
    Step(NEURO, "snn_rl.evaluate CartPole-v1/T1 --episodes 3 --technology int8", "µJ per decision"),
    Step(NEURO, "snn_rl.quantize CartPole-v1/T1 --episodes 1 --out cart-int8", "stored in cart-int8"),
    Step(NEURO, "from snn_rl import record; print(record('cart-int8', decisions=50))", "50 decisions"),
    Step(NEURO, "snn_rl.report CartPole-v1 --out report --format svg", "energy_vs_T.svg"),
    Step(STUDENT, "import snn_rl; help(snn_rl)", "load_agent"),
    Step(STUDENT, "from snn_rl import list_agents; print(list_agents('CartPole-v1/'))", "CartPole-v1/T1"),
    Step(
        STUDENT,
        "from snn_rl import load_agent; print(load_agent('CartPole-v1/T1').play(steps=50)._repr_html_()[:40])",
        "<video",
    ),
    Step(STUDENT, "snn_rl.evaluate CartPole-v1/T1 --compare CartPole-v1/ann --episodes 3", "the same starts"),
    Step(STUDENT, "snn_rl.train --env Cartpole-v1", "did you mean 'CartPole-v1'", 2),
)


def installed(folder: Path, borrow: bool) -> Path:
    """Builds the wheel and installs it into a new environment, whose Python is returned."""
    began = time.perf_counter()
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run([*build, "--no-isolation"] if borrow else build, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    (wheel,) = folder.glob("*.whl")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if borrow:
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = subprocess.run([str(python), "-c", where], check=True, capture_output=True, text=True).stdout.strip()
        (Path(site) / "borrowed.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n", encoding="utf-8")
    subprocess.run([*pip, *(["--no-deps"] if borrow else ["-c", str(ROOT / "constraints.txt")]), str(wheel)], check=True)
    size = wheel.stat().st_size / 2**20
    print(f"{time.perf_counter() - began:6.1f} s  the wheel ({size:.0f} MB) and its environment", flush=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--borrow", action="store_true", help="download nothing")
    args = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        python = installed(Path(folder), args.borrow)
        desk = Path(folder) / "desk"
        desk.mkdir()
        alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONUTF8": "1"}
        for step in STEPS:
            began, command = time.perf_counter(), step.arguments(python)
            done = subprocess.run(command, cwd=desk, env=alone, capture_output=True, encoding="utf-8", check=False)
            said = done.stdout + done.stderr
            fine = done.returncode == step.code and step.answer in " ".join(said.split())
            wrong += not fine
            seconds, verdict = time.perf_counter() - began, "" if fine else "  WRONG"
            print(f"{seconds:6.1f} s  {step.user}: {step.typed[:100]}{verdict}", flush=True)
            if not fine:
                print(said[-2_000:])
    print("all went well" if not wrong else f"{wrong} steps went wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
