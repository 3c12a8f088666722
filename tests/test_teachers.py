"""Any Stable-Baselines3 agent as teacher: what is made of it, by the commands and in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import PIXELS, Pixels
from gymnasium import spaces
from sb3_contrib import QRDQN
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize
from test_zips import zipped
from test_zips_others import CARTPOLE, LOGITS, teacher
from test_zips_others_refused import Several
from torch import nn

import snn_rl
from snn_rl import SpikingDQN, load_agent, prune, to_sb3, train
from snn_rl.core.errors import UserError
from snn_rl.measure import panel
from snn_rl.measure.scores import Protocol, evaluate
from snn_rl.store import agents
from snn_rl.store.agents import fingerprint
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.recipes import Recipe
from snn_rl.training import conversion, run

pytestmark = pytest.mark.usefixtures("pixels")

WIDTHS = {"net_arch": [24, 16]}


@pytest.fixture
def ppo_zip(tmp_path: Path) -> Path:
    """A PPO with two small layers of Tanhs."""
    return zipped(teacher(PPO, **WIDTHS), tmp_path)


# Conversion


def test_a_tanh_ann_gives_the_start_of_a_training(ppo_zip: Path) -> None:
    agent = snn_rl.convert(ppo_zip, CARTPOLE, T=2)
    ann = load_agent(ppo_zip, CARTPOLE)
    assert [layer["type"] for layer in agent.network.spec if layer["type"] in ("LIF", "Tanh")] == ["LIF", "LIF"]
    assert [lif.v_th.item() for lif in agent.network.lifs] == [1, 1]
    assert (agent.made.how or "").startswith("weights of CartPole-v1/ann, whose neurons are Tanhs: a start for training")
    assert agent.made.logits is True
    play = conversion.record_play(ann, load_recipe(CARTPOLE), 250, seed=0).observations.flatten(0, 1)
    with th.no_grad():
        currents = agent.network.synapses[0](play)
    assert currents.mean().abs() < 0.3
    assert 0.5 < currents.std() < 2
    rates = (agent.made.conversion or {})["T=2"].spike_rate
    assert all(0.02 < rate < 0.6 for rate in rates.values())  # neither silent nor always on


def test_convert_is_the_command_in_python(tmp_path: Path) -> None:
    model = teacher(DQN, **WIDTHS)
    agent = snn_rl.convert(model, CARTPOLE, T=1, seed=3)
    assert (agent.label, agent.network.T, agent.network.carry) == (f"{CARTPOLE}/converted-T1", 1, True)
    again = snn_rl.convert(zipped(model, tmp_path), CARTPOLE, seed=3, carry=False)
    assert again.network.carry is False
    same = zip(agent.network.state_dict().values(), again.network.state_dict().values(), strict=True)
    assert all(th.equal(a, b) for a, b in same)
    ann = load_agent(model, CARTPOLE)
    assert fingerprint(snn_rl.convert(ann, seed=3).network) == fingerprint(agent.network)  # an agent knows its environment
    assert snn_rl.convert("CartPole-v1/ann", T=2).network.T == 2
    with pytest.raises(UserError, match=r"is a spiking agent; --ann wants the ANN \(T = 0\)"):
        snn_rl.convert(agent)
    with pytest.raises(UserError, match="a live model does not say its environment"):
        snn_rl.convert(model)
    with pytest.raises(UserError, match="plays CartPole-v1, not Acrobot-v1"):
        snn_rl.convert(ann, "Acrobot-v1")
    command = tmp_path / "T1"
    assert snn_rl.convert.main(["--ann", str(tmp_path / "model.zip"), "--env", CARTPOLE, "--T", "1", "--seed", "3",
                                "--out", str(command)]) == 0  # fmt: skip
    assert fingerprint(agents.load(command).network) == fingerprint(agent.network)


def test_the_command_says_that_a_tanh_ann_gives_only_a_start(
    ppo_zip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "T1"
    assert snn_rl.convert.main(["--ann", str(ppo_zip), "--env", CARTPOLE, "--T", "1", "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "no spikes stand for: this is only a start for training" in printed
    assert "logit error" in printed
    assert agents.load(out).made.logits is True


def test_a_folded_qr_dqn_is_converted_like_a_dqn(tmp_path: Path) -> None:
    agent = snn_rl.convert(zipped(teacher(QRDQN, **WIDTHS), tmp_path), CARTPOLE, T=5)
    assert (agent.made.how or "").startswith("converted from CartPole-v1/ann: percentile")
    assert (agent.made.conversion or {})["T=5"].agreement > 0.6
    assert agent.made.logits is None


# Learning on


def test_from_sb3_is_the_conversion_as_a_learner(tmp_path: Path) -> None:
    model = teacher(DQN, **WIDTHS)
    path = zipped(model, tmp_path)
    settings: dict[str, Any] = {"seed": 1, "buffer_size": 500, "learning_starts": 20}
    learner = SpikingDQN.from_sb3(path, CARTPOLE, T=2, **settings)
    assert isinstance(learner, SpikingDQN)
    assert (learner.T, learner.carry, learner.warm_up_eps) == (2, True, 0.05)
    again = SpikingDQN.from_sb3(model, model.get_env(), 2, **settings)
    weights = [m.policy.q_net.network.synapses[0].state_dict() for m in (learner, again)]
    assert all(th.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert th.equal(weights[0]["1.weight"], model.q_net.q_net[0].weight)
    assert th.equal(learner.policy.q_net_target.network.lifs[0].v_th, learner.policy.q_net.network.lifs[0].v_th)
    learner.learn(60)
    zeroed = SpikingDQN.from_sb3(model, CARTPOLE, carry=False, buffer_size=500)
    assert (zeroed.T, zeroed.carry) == (1, False)


def test_from_sb3_takes_images_and_normalised_observations() -> None:
    model = teacher(QRDQN, make_vec_env(Pixels, 1), "CnnPolicy", n_quantiles=4)
    assert SpikingDQN.from_sb3(model, make_vec_env(Pixels, 2), buffer_size=100).T == 1
    normalised = DQN("MlpPolicy", VecNormalize(make_vec_env(CARTPOLE)), buffer_size=10, device="cpu")
    assert SpikingDQN.from_sb3(normalised, normalised.get_env(), buffer_size=100).T == 1
    assert SpikingDQN.from_sb3(normalised, CARTPOLE, buffer_size=100).T == 1  # the statistics go into the first layer


def test_what_from_sb3_cannot_take_is_told(tmp_path: Path) -> None:
    model = teacher(DQN, **WIDTHS)
    path = zipped(model, tmp_path)
    with pytest.raises(UserError, match="T must be at least 1, got 0"):
        SpikingDQN.from_sb3(model, CARTPOLE, T=0)
    for where in (model, path):
        with pytest.raises(UserError, match=r"the environment gives \(?6"):
            SpikingDQN.from_sb3(where, "Acrobot-v1")
    with pytest.raises(UserError, match="has 2 actions but the environment has 3"):
        SpikingDQN.from_sb3(path, Several(spaces.Discrete(3)))
    with pytest.raises(UserError, match=r"the environment has actions Box.* a DQN chooses one of several"):
        SpikingDQN.from_sb3(model, "Pendulum-v1")
    spiking = SpikingDQN("MlpPolicy", CARTPOLE, buffer_size=100)
    for where in (spiking, zipped(spiking, tmp_path)):
        with pytest.raises(UserError, match=r"is spiking already: load it with SpikingDQN\.load, or with to_sb3"):
            SpikingDQN.from_sb3(where, CARTPOLE)


def test_logits_are_no_q_values_to_go_on_from(ppo_zip: Path) -> None:
    with pytest.raises(UserError, match=r"the model gives logits of a policy.*data_init=True"):
        SpikingDQN.from_sb3(ppo_zip, CARTPOLE)
    agent = snn_rl.convert(ppo_zip, CARTPOLE)
    with pytest.raises(UserError, match=r"CartPole-v1/converted-T1 gives logits of a policy"):
        to_sb3(agent, CARTPOLE)
    learner = to_sb3(agent, CARTPOLE, data_init=True, learning_starts=40, buffer_size=500, seed=0)
    learner.learn(60)
    with th.no_grad():
        q = learner.policy.q_net.network(th.zeros(1, 4))[0]
    assert q.max() > 10  # begun at the mean return, where logits lay around 0


def test_td_does_not_go_on_from_logits(ppo_zip: Path, tmp_path: Path) -> None:
    run_td = ["--env", CARTPOLE, "--ann", str(ppo_zip), "--objective", "td", "--out", str(tmp_path / "run")]
    with pytest.raises(UserError, match=r"gives logits of a policy, and td goes on from Q-values.*--objective distill"):
        train.main(run_td)
    folder = agents.save(snn_rl.convert(ppo_zip, CARTPOLE, T=2), tmp_path / "T2")
    with pytest.raises(UserError, match="gives logits of a policy"):
        prune.main(["--agent", str(folder), "--T", "1", "--out", str(tmp_path / "pruned")])
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "pruned").exists()


# Training


@pytest.mark.parametrize("kind", [PPO, A2C, QRDQN])
def test_train_plans_with_such_a_zip(kind: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = zipped(teacher(kind), tmp_path)
    assert train.main(["--env", CARTPOLE, "--ann", str(path), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert f"copy of {path}" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_zip_that_does_not_say_its_activation_is_planned_with_one(tmp_path: Path) -> None:
    path = zipped(teacher(PPO, activation_fn=type("Own", (nn.ReLU,), {})), tmp_path)
    command = ["--env", CARTPOLE, "--ann", str(path), "--dry-run"]
    with pytest.raises(UserError, match="its activation Own has no spiking counterpart"):
        train.main(command)
    assert train.main([*command, "--activation", "ReLU"]) == 0
    for option, value in (("--activation", "ReLU"), ("--extractor", "x:Y")):
        with pytest.raises(UserError, match=f"{option} is for an SB3 zip; give one with --ann"):
            train.main(["--env", CARTPOLE, option, value, "--dry-run"])
        with pytest.raises(UserError, match=f"{option} is for an SB3 zip; neither --agent nor --ann is one"):
            prune.main(["--agent", "CartPole-v1/T2", "--T", "1", "--out", "x", option, value])


def test_a_ppo_teaches_a_spiking_agent(ppo_zip: Path, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "load_recipe", lambda *_: recipe)
    out = tmp_path / "run"
    assert train.main(["--env", CARTPOLE, "--ann", str(ppo_zip), "--start", "1", "--out", str(out), "--device", "cpu"]) == 0
    student, ann = agents.load(out / "T1"), agents.load(out / "ann")
    assert student.made.logits is True  # like its teacher
    assert student.made.teacher == agents.source(ann)
    assert student.scores
    assert ann.made.how == f"read from the Stable-Baselines3 file {ppo_zip.name}{LOGITS}"


# What is shown


def test_a_tanh_ann_never_rests(ppo_zip: Path, recipe: Recipe) -> None:
    energy = evaluate(load_agent(ppo_zip, CARTPOLE), recipe, Protocol(episodes=2)).score.energy
    assert energy is not None
    assert energy.effective_macs == energy.macs


def test_a_video_says_logits(ppo_zip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(panel, "write", lambda _, text, *args, **kwargs: written.append(text))
    for agent in (load_agent(ppo_zip, CARTPOLE), load_agent("CartPole-v1/ann")):
        drawn = object.__new__(panel.Panel)
        drawn.agent, drawn.layout, drawn.colour = agent, panel.lay_out(400, 600, [8, 8]), (0, 0, 0)
        drawn._background()
    assert ("logits" in written, "Q-values" in written) == (True, True)
    assert written.index("logits") < written.index("Q-values")


def test_pixels_are_taken_by_convert(tmp_path: Path) -> None:
    model = teacher(PPO, make_vec_env(Pixels, 1), "CnnPolicy", net_arch=[5])
    agent = snn_rl.convert(zipped(model, tmp_path), PIXELS)
    action, _ = agent.predict(np.zeros((1, 1, 36, 36), np.uint8))
    assert action.shape == (1,)
