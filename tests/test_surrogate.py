"""The surrogate gradient reaches every training from wherever it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch as th
from stable_baselines3 import DQN

from snn_rl import SpikingDQN, SpikingMlpPolicy
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.sb3.learner import to_sb3
from snn_rl.tasks.recipe_files import read_recipe
from snn_rl.training import td
from snn_rl.training.options import Options
from snn_rl.training.run import plan_for

TAKEN = ("arctan", 0.5)


def surrogates(network: QNetwork) -> set[tuple[str, float]]:
    return {tuple(lif.surrogate) for lif in network.lifs}


def test_a_learner_takes_it_keeps_it_in_its_zip_and_learns_by_it(tmp_path: Path) -> None:
    settings = {"buffer_size": 200, "learning_starts": 20, "batch_size": 4, "seed": 0}
    model = SpikingDQN("MlpPolicy", "CartPole-v1", surrogate="arctan:0.5", **settings)
    assert surrogates(model.policy.q_net.network) == {TAKEN}
    model.save(tmp_path / "model.zip")
    for trust in (False, True):
        again = SpikingDQN.load(tmp_path / "model.zip", trust=trust)
        assert surrogates(again.policy.q_net.network) == {TAKEN}
    assert surrogates(to_sb3("CartPole-v1/T1", "CartPole-v1", surrogate="arctan:0.5").policy.q_net.network) == {TAKEN}
    stock = DQN(SpikingMlpPolicy, "CartPole-v1", policy_kwargs={"T": 1, "surrogate": "arctan:0.5"}, buffer_size=100)
    assert surrogates(stock.policy.q_net.network) == {TAKEN}
    usual = SpikingDQN("MlpPolicy", "CartPole-v1", **settings)
    assert surrogates(usual.policy.q_net.network) == {("triangle", 0.3)}
    for learner in (model, usual):
        learner.learn(40)
    first, second = (next(learner.policy.q_net.parameters()) for learner in (model, usual))
    assert not th.equal(first, second)
    with pytest.raises(UserError, match="with a shape of triangle"):
        SpikingDQN("MlpPolicy", "CartPole-v1", surrogate="step")


@pytest.mark.parametrize("objective", ["distill", "td"])
def test_a_training_takes_it_from_its_option(objective: str) -> None:
    plan = plan_for(Options("CartPole-v1", objective=objective, surrogate="arctan:0.5"))
    assert all(agent.recipe.stage(objective)["surrogate"] == "arctan:0.5" for agent in plan.agents if agent.T)
    model = td.build(plan.recipe, 1, seed=0, frames=1, carry=True, device=th.device("cpu"))
    assert surrogates(model.policy.q_net.network) == {TAKEN}


def test_a_recipe_says_it(tmp_path: Path) -> None:
    path = tmp_path / "CartPole-v1.toml"
    path.write_text('id = "CartPole-v1"\n[prune]\nsurrogate = "sigmoid:1"\n')
    assert read_recipe(path).prune.surrogate == "sigmoid:1"
    path.write_text('id = "CartPole-v1"\n[prune]\nsurrogate = "step"\n')
    with pytest.raises(UserError, match=r"CartPole-v1\.toml.*the surrogate gradient is SHAPE"):
        read_recipe(path)


def test_who_has_no_spikes_is_told() -> None:
    with pytest.raises(UserError, match="--surrogate is for spiking agents"):
        plan_for(Options("CartPole-v1", T=0, surrogate="arctan:0.5"))
