"""What ``import snn_rl`` offers."""

from __future__ import annotations

import importlib
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import snn_rl
from snn_rl import load_agent, to_sb3


def test_the_public_names_and_nothing_else_are_shown() -> None:
    assert dir(snn_rl) == sorted(snn_rl.__all__)
    assert set(dir(snn_rl)) == {
        "Checkpoints", "Resumable", "SpikingCnnPolicy", "SpikingDQN", "SpikingMlpPolicy", "UserError", "__version__",
        "convert", "evaluate", "list_agents", "load_agent", "load_recipe", "make_env", "play", "raster", "record", "to_sb3",
        "traces",
    }  # fmt: skip
    for name in dir(snn_rl):
        assert getattr(snn_rl, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'SpikingPPO'"):
        importlib.import_module("snn_rl").SpikingPPO  # noqa: B018


def test_looking_at_the_package_loads_nothing() -> None:
    script = "import sys, snn_rl; dir(snn_rl); print(*sys.modules)"
    environment = {"PYTHONPATH": str(Path(snn_rl.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert not {"torch", "numpy", "stable_baselines3", "gymnasium"} & set(done.stdout.split())


def test_loading_an_agent_leaves_the_compiler_of_pytorch_alone() -> None:
    """To import it takes as long as to load the rest."""
    script = "import sys, snn_rl; snn_rl.load_agent('PongNoFrameskip-v4/T1'); print(*sys.modules)"
    environment = {"PYTHONPATH": str(Path(snn_rl.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert "torch._dynamo" not in loaded


def test_help_shows_an_example_that_runs() -> None:
    shown = pydoc.render_doc(snn_rl, renderer=pydoc.plaintext)
    for line in ('SpikingDQN("MlpPolicy", "CartPole-v1", T=1)', 'load_agent("CartPole-v1/T1")', "agent.predict(observation"):
        assert line in shown
    model = snn_rl.SpikingDQN("MlpPolicy", "CartPole-v1", T=1, buffer_size=1_000)
    agent = load_agent(model, "CartPole-v1")
    assert to_sb3(agent, "CartPole-v1", buffer_size=1_000).T == 1
