"""SpikingDQN saved and loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Recall, counts, dqn, same
from stable_baselines3 import DQN
from stable_baselines3.common.save_util import save_to_pkl

from snn_rl import SpikingDQN, SpikingMlpPolicy
from snn_rl.core.errors import UserError
from snn_rl.sb3.replay import SequenceReplayBuffer


def test_a_loaded_model_predicts_the_same_keeps_its_settings_and_learns_on(tmp_path: Path) -> None:
    model = dqn(
        T=3,
        n_steps=2,
        double_q=False,
        advantage_alpha=0.5,
        sequence_length=4,
        burn_in=1,
        replay_buffer_kwargs={"frame_stack": 1},
    )
    model.learn(120)
    model.save(tmp_path / "model")
    env = counts(5, 7, 9)
    again = SpikingDQN.load(tmp_path / "model", env=env, device="cpu")
    for name in (
        "T",
        "carry",
        "n_steps",
        "double_q",
        "advantage_alpha",
        "sequence_length",
        "burn_in",
        "num_timesteps",
        "exploration_rate",
    ):
        assert getattr(again, name) == getattr(model, name)
    assert (again.policy.q_net.network.T, again.policy.q_net.network.carry) == (3, True)
    observation, state, state_again = env.reset(), None, None
    for _ in range(5):
        action, state = model.predict(observation, state, deterministic=True)
        action_again, state_again = again.predict(observation, state_again, deterministic=True)
        assert (action == action_again).all()
        assert same(state, state_again)
        observation = env.step(action)[0]
    updates = again._n_updates
    assert isinstance(again.replay_buffer, SequenceReplayBuffer)
    again.learn(60, reset_num_timesteps=False)
    assert again.num_timesteps == 180
    assert again._n_updates > updates


def test_recurrent_layers_with_decays_of_their_own_learn_and_are_saved(tmp_path: Path) -> None:
    kwargs = {"net_arch": [8, 8], "decay": (0.1, 0.9), "recurrent": True}
    model = dqn(Recall(delay=2), policy_kwargs=kwargs, n_steps=1)
    model.learn(300)
    network, target = (q.network for q in (model.policy.q_net, model.policy.q_net_target))
    assert all(float(synapses.weight.detach().abs().sum()) > 0 for synapses in network.recurrent.values())  # they began at 0
    assert network.lifs[0].decay.shape == (8,)
    polyak = dict(target.named_parameters())
    assert {"recurrent.0.weight", "recurrent.1.weight"} <= polyak.keys()
    model.save(tmp_path / "model.zip")
    loaded = SpikingDQN.load(tmp_path / "model.zip", env=model.get_env())
    observation = np.asarray(model.observation_space.sample())[None]
    state_a = state_b = None
    for start in (True, False, False):
        a, state_a = model.predict(observation, state_a, np.array([start]), deterministic=True)
        b, state_b = loaded.predict(observation, state_b, np.array([start]), deterministic=True)
        assert a == b
    assert state_a is not None
    assert len(state_a) == 4  # two membranes, then the last spikes of the two layers
    assert all(same(x, y) for x, y in zip(state_a, state_b, strict=True))


def test_a_stock_dqn_is_not_loaded_but_converted(tmp_path: Path) -> None:
    DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu").save(tmp_path / "stock.zip")
    with pytest.raises(UserError, match=r"own algorithms save is an agent: of an ANN SpikingDQN\.from_sb3"):
        SpikingDQN.load(tmp_path / "stock.zip")


def test_files_from_before_the_modules_moved_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stable-Baselines3 pickles classes by the name of their module; load_replay_buffer and the policy's load do too."""
    model = dqn(T=2, policy_kwargs={"net_arch": [16], "decay": (0.1, 0.9)})
    model.learn(60)
    for kind, place in ((SpikingMlpPolicy, "snn_rl.policy"), (SequenceReplayBuffer, "snn_rl.replay")):
        monkeypatch.setattr(kind, "__module__", place)
    del model.network_description
    model.save(tmp_path / "model")
    save_to_pkl(tmp_path / "buffer", model.replay_buffer)
    model.policy.save(str(tmp_path / "policy"))
    monkeypatch.undo()
    assert b"snn_rl.policy" in zipfile.ZipFile(tmp_path / "model.zip").read("data")
    again = SpikingDQN.load(tmp_path / "model", env=counts(5, 7, 9), device="cpu")
    assert type(again.policy) is SpikingMlpPolicy
    assert same(again.policy.state_dict().values(), model.policy.state_dict().values())
    with pytest.raises(UserError, match=r"is a pickle: it was not executed; .*trust=True"):
        again.load_replay_buffer(tmp_path / "buffer")
    again.load_replay_buffer(tmp_path / "buffer", trust=True)
    assert again.replay_buffer.size() == model.replay_buffer.size()
    again.learn(60)
    assert same(SpikingMlpPolicy.load(str(tmp_path / "policy")).state_dict().values(), model.policy.state_dict().values())


def test_without_carry_is_saved_too(tmp_path: Path) -> None:
    model = dqn(carry=False)
    model.save(tmp_path / "model")
    again = SpikingDQN.load(tmp_path / "model", env=counts(5, 7, 9), device="cpu")
    assert again.carry is False
    assert again.policy.q_net.network.carry is False
    assert (again.sequence_length, again.burn_in) == (1, 0)
    again.learn(60)


def test_a_model_saved_in_the_middle_of_learning_can_be_saved_with_its_membranes_alive(tmp_path: Path) -> None:
    model = dqn()
    model.learn(31)
    assert model._last_states is not None
    model.save(tmp_path / "model")
    assert SpikingDQN.load(tmp_path / "model", env=counts(5, 7, 9), device="cpu")._last_states is None


@pytest.mark.parametrize("change", [{"T": 1}, {"carry": False}])
def test_what_belongs_to_the_saved_network_is_not_changed_while_loading(tmp_path: Path, change: dict[str, Any]) -> None:
    dqn().save(tmp_path / "model")
    with pytest.raises(UserError, match="belong to the saved network"):
        SpikingDQN.load(tmp_path / "model", env=counts(5, 7, 9), device="cpu", **change)
    assert SpikingDQN.load(tmp_path / "model", env=counts(5, 7, 9), device="cpu", gamma=0.5).gamma == 0.5
