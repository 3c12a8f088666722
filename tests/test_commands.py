"""The commands as a user types them: help, bad input in one sentence, exit codes, nothing lost."""

import argparse
import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch as th
from conftest import posix
from stable_baselines3 import DQN, SAC

import snn_rl
from snn_rl import SpikingDQN, console, memory, probe
from snn_rl.__main__ import STAGES

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def call(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT, timeout=300, check=False
    )


def complains(*arguments: str, about: str, cwd: Path | None = None, code: int = 2, typed: bool = False) -> None:
    """The command ends with the code and one sentence that holds ``about``, and no traceback.

    ``typed``: in a process of its own, which takes seconds to begin; else in this one, where it ends in the same way.
    """
    if typed:
        done = call(*arguments, cwd=cwd)
        ended, said = done.returncode, done.stderr
    else:
        main, errors = importlib.import_module(arguments[0]).main, io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with contextlib.chdir(cwd or Path()), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as stopped:
                console.run(main, arguments[1:])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        ended, said = stopped.value.code, errors.getvalue()
    assert ended == code, said
    assert about in said.strip().splitlines()[-1]
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zips")
    model = DQN("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [8]}, seed=0)
    model.save(folder / "dqn.zip")
    SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, device="cpu").save(folder / "sac.zip")
    (folder / "cut.zip").write_bytes((folder / "dqn.zip").read_bytes()[:2000])
    with th.no_grad():
        next(model.q_net.parameters()).fill_(float("nan"))
    model.save(folder / "nan.zip")
    return folder


@pytest.mark.parametrize("stage", ["train", "convert", "prune", "quantize", "package", "evaluate", "report", "probe", "demo"])
def test_help_has_an_example(stage: str) -> None:
    done = call(f"snn_rl.{stage}", "--help")
    assert done.returncode == 0
    assert f"python -m snn_rl.{stage}" in done.stdout
    assert call("snn_rl", stage, "--help").stdout == done.stdout


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert snn_rl.__version__ == project["version"]
    assert call("snn_rl", "--version").stdout == f"snn_rl {project['version']}\n"


def test_bad_options_are_one_sentence(zips: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    complains("snn_rl.train", "--env", "CartPole-v1", "--T", "-1", "--out", out, about="--T must be at least 1", typed=True)
    complains("snn_rl.train", "--env", "PongNoFrameskip-v5", "--out", out, about="did you mean 'PongNoFrameskip-v4'?")
    complains("snn_rl.train", "--env", "Pendulum-v1", "--out", out, about="needs Discrete actions")
    complains("snn_rl.train", "--env", "CartPole-v1", "--frames", "0", "--out", out, about="at least 1 frame")
    complains("snn_rl.train", "--env", "CartPole-v1", "--spike-penalty", "nan", "--out", out, about="finite number from 0 on")
    for options, about in {
        ("--T", "0", "--no-carry"): "--no-carry is for spiking agents",
        ("--T", "0", "--ablate"): "--ablate is for spiking agents",
        ("--T", "1", "-n", "5000"): "--total-timesteps is for training by reward",
        ("--T", "0", "-n", "1000"): "--total-timesteps 1,000 is too few: in the first 1,000",
        ("--T", "1", "--extractor", "a:B"): "--extractor is for an SB3 zip",
        ("--T", "1", "--ann", "nothing"): "no agent 'nothing'",
    }.items():
        complains("snn_rl.train", "--env", "CartPole-v1", *options, "--out", out, about=about)
    complains("snn_rl.evaluate", "CartPole-v1/ann", "--no-carry", about="has no membranes to zero; leave out --no-carry")
    dqn = str(zips / "dqn.zip")
    complains("snn_rl.convert", "--ann", dqn, "--env", "CartPole-v1", "--T", "0", "--out", out, about="--T must be at least 1")
    assert not (tmp_path / "out").exists()


def test_bad_agents_are_one_sentence(zips: Path, tmp_path: Path) -> None:
    for name, about in {
        "sac.zip": "SAC",
        "cut.zip": "damaged or truncated",
        "nan.zip": "not finite",
        "absent.zip": "no file",
    }.items():
        complains("snn_rl.evaluate", str(zips / name), "--env", "CartPole-v1", about=about)
    complains("snn_rl.evaluate", str(zips / "dqn.zip"), about="give --env")
    complains("snn_rl.evaluate", str(zips / "dqn.zip"), "--env", "Acrobot-v1", about="is this the right --env?")
    complains("snn_rl.evaluate", "CartPole-v1/T9", about="no agent 'CartPole-v1/T9'")
    complains("snn_rl.evaluate", "CartPole-v1/T1", "--technology", "fp16", about="no price list 'fp16'")


def test_convert_prune_and_evaluate_a_strangers_zip(zips: Path, tmp_path: Path) -> None:
    dqn = str(zips / "dqn.zip")
    done = call("snn_rl.convert", "--ann", dqn, "--env", "CartPole-v1", "--T", "2", "--out", "T2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "same action" in done.stdout
    complains("snn_rl.convert", "--ann", dqn, "--env", "CartPole-v1", "--out", "T2", about="exists already", cwd=tmp_path)
    options = ("--episodes", "2", "--technology", "int8", "--json", "r.json", "--video", "v.mp4")
    done = call("snn_rl.evaluate", "T2", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(45 nm INT8)" in done.stdout
    result = json.loads((tmp_path / "r.json").read_text())
    assert (result["T"], result["carry"], len(result["episodes"])) == (2, True, 2)
    assert (tmp_path / "v.mp4").stat().st_size > 1000
    complains("snn_rl.prune", "--agent", "T2", "--T", "3", "--out", "p", about="between 1 and the agent's 2", cwd=tmp_path)
    prune = ("snn_rl.prune", "--agent", "T2", "--T", "1", "--out", "p")
    complains(*prune, "--objective", "distill", about="'distill' needs the ANN: give --ann", cwd=tmp_path)
    complains(*prune, "--extractor", "a:B", about="neither --agent nor --ann is one", cwd=tmp_path)
    complains(*prune, "--ann", "Acrobot-v1/ann", about="no agent 'Acrobot-v1/ann'", cwd=tmp_path)
    assert not (tmp_path / "p").exists()


def test_evaluate_and_prune_a_spiking_dqn_from_its_zip(tmp_path: Path) -> None:
    SpikingDQN("MlpPolicy", "CartPole-v1", T=2, seed=0, policy_kwargs={"net_arch": [8]}).save(tmp_path / "mine.zip")
    complains("snn_rl.prune", "--agent", "mine.zip", "--T", "1", "--out", "p", about="give --env", cwd=tmp_path)
    arguments = ["snn_rl.evaluate", "mine.zip", "--env", "CartPole-v1"]
    none = "in an agent's folder; this agent has none for its environment: give it one with --out"
    complains(*arguments, "--save", about=none, cwd=tmp_path)
    protocol = "store scores by the recipe's protocol and in fp32: leave out --episodes, --seed and --technology"
    for option in (("--episodes", "3"), ("--technology", "int8")):
        complains(*arguments, "--out", "T2", *option, about=protocol, cwd=tmp_path)
    done = call(*arguments, "--out", "run/T2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "run" / "T2" / "card.json").read_text())
    assert (card["name"], card["T"], len(card["scores"]["greedy"]["spike_rate"])) == ("T2", 2, 1)
    complains(*arguments, "--out", "run/T2", about="exists already", cwd=tmp_path)
    done = call("snn_rl.report", "run", "--out", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "T2" in (tmp_path / "report" / "report.md").read_text()


OWN = """
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

class Plain(CartPoleEnv):
    def __init__(self):
        super().__init__()

class Extractor(BaseFeaturesExtractor):
    def __init__(self, space):
        super().__init__(space, features_dim=6)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU())

    def forward(self, observation):
        return self.layers(observation)

gym.register("Mine-v0", Plain, max_episode_steps=20)
"""


def test_environments_and_extractors_of_ones_own_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    make = "from own import Extractor\nfrom snn_rl import SpikingDQN\nfrom stable_baselines3 import DQN\n"
    make += "kwargs = {'net_arch': [4], 'features_extractor_class': Extractor}\n"
    make += "SpikingDQN('MlpPolicy', 'Mine-v0', seed=5, policy_kwargs=kwargs).save('mine.zip')\n"
    make += "DQN('MlpPolicy', 'Mine-v0', seed=5, policy_kwargs=kwargs).save('stock.zip')"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, env=ENVIRONMENT, check=True)
    complains("snn_rl.evaluate", "mine.zip", "--env", "Mine-v0", about="--env MODULE:ID", cwd=tmp_path)
    complains("snn_rl.evaluate", "mine.zip", "--env", "absent:Mine-v0", about="cannot import 'absent'", cwd=tmp_path)
    arguments = ["snn_rl.evaluate", "mine.zip", "--env", "own:Mine-v0"]
    (tmp_path / "broken.py").write_text("def")
    complains("snn_rl.evaluate", "mine.zip", "--env", "broken:Mine-v0", about="cannot import 'broken'", cwd=tmp_path)
    stock = ["snn_rl.evaluate", "stock.zip", "--env", "own:Mine-v0"]
    complains(*stock, "--extractor", "broken:Extractor", about="--extractor broken:Extractor: SyntaxError", cwd=tmp_path)
    complains(*stock, about="name the class with --extractor module:Class", cwd=tmp_path)
    done = call(*stock, "--extractor", "own:Extractor", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = call(*arguments, "--out", "run/T1", cwd=tmp_path)  # it describes its network itself
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "T1" / "card.json").read_text())["env"] == "Mine-v0"
    complains("snn_rl.evaluate", "run/T1", about="give --env own:Mine-v0", cwd=tmp_path, typed=True)
    done = call("snn_rl.evaluate", "run/T1", "--env", "own:Mine-v0", "--save", "--no-carry", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"greedy", "greedy, membrane zeroed"} == json.loads((tmp_path / "run" / "T1" / "card.json").read_text())[
        "scores"
    ].keys()


def test_an_unwritable_place_is_one_sentence(zips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "out")
    told = f"'{tmp_path / 'file'}' is a file, no folder that '{out}' could be written to; choose another place"
    complains("snn_rl.train", "--env", "CartPole-v1", "--out", out, about=told)


def test_a_device_that_is_not_there_is_an_error() -> None:
    assert console.device("cpu").type == "cpu"
    assert console.device("auto").type in ("cpu", "cuda")
    for name in ("tpu", "cuda:99"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"{name} is not available"):
            console.device(name)


def test_an_unknown_stage_is_one_sentence() -> None:
    complains("snn_rl", "trian", about="unknown stage 'trian'", typed=True)


def test_what_nobody_expected_is_said_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: object) -> int:
        raise RuntimeError("motor stalled")

    with pytest.raises(SystemExit) as ended:
        console.run(main, [])
    assert ended.value.code == 70
    assert f"unexpected RuntimeError: motor stalled ({__file__}, line " in capsys.readouterr().err


@posix
def test_ctrl_c_while_torch_is_being_imported_is_one_sentence() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "snn_rl.evaluate", "CartPole-v1/T1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not process.stderr.readline().rstrip().endswith(" torch._C"):  # a part of torch is there, torch is not yet
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said, printed = process.stderr.read(), process.stdout.read()
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "snn_rl: interrupted; nothing that was there before is lost"
    assert "Traceback" not in said
    assert not printed


SWALLOWS = """
import os, signal
try:
    signal.raise_signal(signal.SIGINT)
except BaseException:
    pass
print("there")
"""

IMPORTS = """
import time
from snn_rl.console import run

def main(argv):
    import pandas
    for _ in range(1000):
        time.sleep(0.01)

run(main)
"""


def test_ctrl_c_that_an_extension_would_swallow_waits_until_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text(SWALLOWS)
    (tmp_path / "command.py").write_text(IMPORTS)
    done = call("command", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (130, "there\n")
    assert done.stderr == "snn_rl: interrupted; nothing that was there before is lost\n"


@pytest.mark.parametrize("stage", ["", *STAGES])
def test_help_is_quick(stage: str) -> None:
    before = os.times()
    assert call("snn_rl", *stage.split(), "--help").returncode == 0
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.3


def test_memory_is_another_name_of_probe() -> None:
    assert memory.main is probe.main
    assert call("snn_rl.memory", "--help").stdout == call("snn_rl.probe", "--help").stdout


def test_numbers_in_options_are_checked() -> None:
    assert (console.seed("7"), console.frame_count("1"), console.penalty("0.2")) == (7, 1, 0.2)
    for read, text, rule in (
        (console.seed, "-1", "a seed must be a whole number"),
        (console.seed, "1.5", "a seed must be a whole number"),
        (console.frame_count, "one", "at least 1 frame, got one"),
        (console.penalty, "inf", "a finite number from 0 on, got inf"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=rule):
            read(text)
