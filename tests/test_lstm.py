"""ANNs with an LSTM, as RecurrentPPO makes them: they play as sb3-contrib plays them, and teach."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import PIXELS, Pixels, mlp_spec
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import VecNormalize
from test_zips import rewrite, zipped
from torch import nn

import snn_rl
from snn_rl import SpikingDQN, export, load_agent, prune, quantize, to_sb3, train
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError, analog, spiking
from snn_rl.core.synops import dense_macs
from snn_rl.measure.scores import Protocol, evaluate
from snn_rl.store import agents
from snn_rl.store.agents import Agent, fingerprint
from snn_rl.tasks.catalogue import register
from snn_rl.tasks.environments import load_recipe, make_vec_env
from snn_rl.tasks.recipes import PruneRecipe, Recipe
from snn_rl.tasks.view import View
from snn_rl.training import pruning, run
from snn_rl.training.distill import Distiller

pytestmark = pytest.mark.usefixtures("pixels")

CARTPOLE = "CartPole-v1"
SMALL: dict[str, Any] = {"net_arch": [7], "lstm_hidden_size": 6}


def teacher(env: Any = CARTPOLE, policy: str = "MlpLstmPolicy", **policy_kwargs: Any) -> Any:
    """A model whose layers have weights of an ordinary size."""
    model = RecurrentPPO(policy, env, n_steps=4, policy_kwargs={**SMALL, **policy_kwargs}, seed=0, device="cpu")
    for name, weight in model.policy.named_parameters():
        if name.startswith(("action_net", "lstm_actor")):
            nn.init.normal_(weight, std=0.5)
    return model


def theirs(model: Any, observations: th.Tensor, starts: th.Tensor) -> th.Tensor:
    """Logits ``(steps, envs, actions)`` as sb3-contrib computes them, step by step."""
    lstm, found = model.policy.lstm_actor, []
    state = (th.zeros(lstm.num_layers, observations.shape[1], lstm.hidden_size),) * 2
    for seen, start in zip(observations, starts, strict=True):
        with th.no_grad():
            given, state = model.policy.get_distribution(seen, state, start.float())
        found.append(given.distribution.logits)
    return th.stack(found)


def watched(model: Any, steps: int = 20, envs: int = 3) -> tuple[th.Tensor, th.Tensor]:
    """Random observations, and where episodes begin: at the first step, and somewhere later."""
    space = model.observation_space
    box = space if space.dtype == np.uint8 else spaces.Box(-3, 3, space.shape, np.float32)
    box.seed(0)
    observations = th.as_tensor(np.stack([[box.sample() for _ in range(envs)] for _ in range(steps)]))
    starts = th.rand(steps, envs) < 0.2
    starts[0] = True
    return observations, starts


def assert_same(model: Any, network: QNetwork) -> None:
    """The logits of a sequence, all at once and step by step."""
    observations, starts = watched(model)
    wanted = theirs(model, observations, starts)
    with th.no_grad():
        at_once, last = network.unroll(observations, None, starts)
        state, found = None, []
        for seen, start in zip(observations, starts, strict=True):
            values, state = network(seen, state, start)
            found.append(values)
    assert state is not None
    assert all(th.allclose(a, b, atol=1e-5) for a, b in zip(last, state, strict=True))
    for ours in (at_once, th.stack(found)):
        assert th.allclose(ours.log_softmax(-1), wanted, rtol=1e-5, atol=1e-5)
    assert wanted.std() > 1e-2
    with th.no_grad():
        forgetful = network.unroll(observations, None, th.ones_like(starts))[0].log_softmax(-1)
    assert (forgetful - wanted).abs().max() > 1e-3  # its memory matters


# The same play


@pytest.mark.parametrize(
    "policy_kwargs",
    [
        {},
        {"net_arch": []},
        {"net_arch": {"pi": [5, 4], "vf": [3]}, "activation_fn": nn.ReLU},
        {"shared_lstm": True, "enable_critic_lstm": False},
        {"enable_critic_lstm": False},
        {"n_lstm_layers": 2},
        {"share_features_extractor": False},
        {"lstm_kwargs": {"bias": False}},
    ],
)
def test_a_recurrent_policy_is_read_with_its_memory(tmp_path: Path, policy_kwargs: dict[str, Any]) -> None:
    model = teacher(**policy_kwargs)
    agent = load_agent(zipped(model, tmp_path), CARTPOLE)
    assert_same(model, agent.network)
    assert fingerprint(load_agent(model, CARTPOLE).network) == fingerprint(agent.network)
    assert agent.made.logits is True
    assert agent.network.remembers
    back = agents.load(agents.save(agent, tmp_path / "ann"))
    assert fingerprint(back.network) == fingerprint(agent.network)
    assert_same(model, back.network)


def test_a_recurrent_policy_of_images_is_read(tmp_path: Path) -> None:
    model = teacher(env_util.make_vec_env(Pixels, 1), "CnnLstmPolicy", net_arch=[])
    agent = load_agent(zipped(model, tmp_path), PIXELS)
    assert agent.network.input_scale == 1 / 255
    assert_same(model, agent.network)
    assert fingerprint(load_agent(model, PIXELS).network) == fingerprint(agent.network)


def test_an_episode_is_that_of_recurrent_ppo() -> None:
    model = teacher()
    agent = load_agent(model, CARTPOLE)
    env = model.get_env()
    env.seed(0)
    observation, state, own, start = env.reset(), None, None, np.ones(1, dtype=bool)
    for _ in range(60):
        action, state = model.predict(observation, state, start, deterministic=True)
        ours, own = agent.predict(observation, own, start)
        assert ours[0] == action[0]
        observation, _, start, _ = env.step(action)


def test_statistics_of_observations_go_into_the_gates(tmp_path: Path) -> None:
    normalize = VecNormalize(env_util.make_vec_env(CARTPOLE, 2), clip_obs=1e6)
    model = teacher(normalize)
    model.learn(40)
    agent = load_agent(zipped(model, tmp_path), CARTPOLE, vecnormalize=normalize)
    observations, starts = watched(model)
    shown = th.as_tensor(normalize.normalize_obs(observations.numpy()))
    with th.no_grad():
        ours = agent.network.unroll(observations, None, starts)[0].log_softmax(-1)
    assert th.allclose(ours, theirs(model, shown, starts), atol=1e-4)


def test_what_is_no_lstm_here_is_refused(tmp_path: Path) -> None:
    for settings in ({"bidirectional": True}, {"proj_size": 3}):
        model = teacher()
        model.policy.lstm_actor = nn.LSTM(4, 6, **settings)
        for where in (model, zipped(model, tmp_path)):
            with pytest.raises(UnconvertibleError, match="LSTM runs in both directions or projects what it sends"):
                load_agent(where, CARTPOLE)
    with pytest.raises(UserError, match="takes 4 inputs but 'Acrobot-v1' gives 6"):
        load_agent(zipped(teacher(), tmp_path), "Acrobot-v1")

    def cut(key: str, change: Any) -> Any:
        def changed(content: bytes) -> bytes:
            found = th.load(io.BytesIO(content), weights_only=True)
            found[key] = change(found[key])
            written = io.BytesIO()
            th.save(found, written)
            return written.getvalue()

        return changed

    for key, change in (
        ("lstm_actor.weight_hh_l0", lambda weight: weight[:-1]),
        ("lstm_actor.bias_ih_l0", lambda bias: bias[:, None]),
        ("mlp_extractor.policy_net.0.weight", lambda weight: weight[:, :-1]),
    ):
        with pytest.raises(UserError, match="is damaged: its tensors are no network that decides"):
            load_agent(rewrite(zipped(teacher(), tmp_path), "policy.pth", cut(key, change)), CARTPOLE)


def difference(cells: int = 64) -> Any:
    """A RecurrentPPO by hand that balances the pole without seeing velocities: half of its cells hold what is seen, half hold
    what the others sent before, and the difference of the two is the velocity."""
    register()
    small: dict[str, Any] = {"net_arch": [], "lstm_hidden_size": cells, "enable_critic_lstm": False}
    model = RecurrentPPO("MlpLstmPolicy", "CartPoleNoVel-v1", n_steps=4, policy_kwargs=small, device="cpu")
    lstm, readout, half = model.policy.lstm_actor, model.policy.action_net, cells // 2
    seen = th.randn(half, 2, generator=th.Generator().manual_seed(0)) * th.tensor([0.05, 0.4])  # position, angle
    position, velocity, seconds = th.tensor([0.3, 3.0]), th.tensor([0.6, 1.2]), 0.02  # what pushes to the right
    with th.no_grad():
        for weight in [*lstm.parameters(), *readout.parameters()]:
            weight.zero_()
        for gate, value in zip(lstm.bias_ih_l0.chunk(4), (30.0, -30.0, 0.0, 30.0), strict=True):
            gate.fill_(value)  # writes, forgets, ..., shows
        lstm.weight_ih_l0[2 * cells : 2 * cells + half] = seen
        lstm.weight_hh_l0[2 * cells + half : 3 * cells, :half] = th.eye(half)
        now, before = position + velocity / seconds, -velocity / seconds
        readout.weight[1] = th.cat([now, before]) @ th.block_diag(*[th.linalg.pinv(seen)] * 2)
    return model


def test_the_state_is_carried_in_evaluation_and_is_what_plays(tmp_path: Path) -> None:
    agent = load_agent(difference(), "CartPoleNoVel-v1")
    recipe = load_recipe(agent.env)
    carried = evaluate(agent, recipe, Protocol(episodes=2)).score
    assert carried.returns.min == 500
    zeroed = evaluate(agent, recipe, Protocol(episodes=2, zeroed=True)).score
    assert zeroed.returns.max < 60
    folder = agents.save(agent, tmp_path / "ann")
    assert snn_rl.evaluate.main([str(folder), "--no-carry", "--episodes", "1"]) == 0  # an ANN that remembers can forget


# As a network


def lstm_spec(wide: int, cells: int, actions: int) -> list[dict[str, Any]]:
    gates, _, readout = mlp_spec(wide, 4 * cells, actions)
    return [gates, {"type": "LSTM", "recurrent": cells}, {**readout, "in_features": cells}]


def test_a_cell_by_hand() -> None:
    network = QNetwork(lstm_spec(1, 1, 1), T=0)
    with th.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.synapses[0][0].bias.copy_(th.tensor([30.0, -30.0, 30.0, 30.0]))  # writes 1, forgets what was, shows all
        network.synapses[1][0].weight.fill_(2.0)
        q, state = network(th.zeros(1, 1))
        assert float(q) == pytest.approx(2 * np.tanh(1))
        network.synapses[0][0].bias.copy_(th.tensor([-30.0, 30.0, 0.0, 0.0]))  # writes nothing, keeps, shows half
        q, state = network(th.zeros(1, 1), state)
        assert float(q) == pytest.approx(np.tanh(1))
        assert float(state[0]) == pytest.approx(1)
        assert float(network(th.zeros(1, 1), state, th.ones(1, dtype=th.bool))[0]) == 0
    forgetful = QNetwork(network.spec, 0, carry=False)
    forgetful.load_state_dict(network.state_dict())
    assert not forgetful.remembers
    with th.no_grad():
        assert float(forgetful(th.zeros(1, 1), state)[0]) == 0


def test_the_state_of_two_lstms_is_their_cells_then_what_they_sent() -> None:
    first, second = lstm_spec(3, 5, 7), lstm_spec(7, 4, 2)
    network = QNetwork([*first, {"type": "ReLU"}, *second], T=0)
    assert network.keeping == [0, 2]
    assert network.shapes((3,)) == [(5,), (7,), (4,)]
    assert [tuple(v.shape) for v in network.initial_state(6, (3,))] == [(6, 5), (6, 4), (6, 5), (6, 4)]
    _, state = network(th.randn(6, 3))
    by_layer = network.state_by_layer(state)
    assert by_layer[1] == ()
    assert by_layer[2] is not None
    assert [th.equal(a, b) for a, b in zip(by_layer[2], (state[1], state[3]), strict=True)] == [True, True]
    with pytest.raises(UserError, match=r"the state has 2 tensors where this network's has 4"):
        network(th.randn(6, 3), state[:2])
    with pytest.raises(UserError, match=r"the state is \(6, 3\) where the layer is \(6, 5\)"):
        network(th.randn(6, 3), (state[0][:, :3], *state[1:]))


def test_a_lif_layer_of_as_many_neurons_takes_the_place_of_an_lstm() -> None:
    spec = lstm_spec(3, 5, 2)
    twin = spiking(spec, decays=True)
    assert twin == [
        {"type": "Linear", "in_features": 3, "out_features": 5, "bias": True},
        {"type": "LIF", "recurrent": 5, "decays": 5},
        {"type": "Linear", "in_features": 5, "out_features": 2, "bias": True},
    ]
    assert analog(spec) == spec
    assert [layer["type"] for layer in analog(twin)] == ["Linear", "ReLU", "Linear"]
    for damaged in ({"type": "LSTM"}, {"type": "LSTM", "recurrent": 6}):
        with pytest.raises(UnconvertibleError, match="an LSTM comes behind a Linear with four outputs for each of its cells"):
            QNetwork([spec[0], damaged, spec[2]], T=0)


def test_both_matrices_of_an_lstm_are_counted() -> None:
    spec = lstm_spec(3, 5, 2)
    assert dense_macs(spec, (3,)) == [4 * 5 * (3 + 5), 5 * 2]
    agent = Agent(CARTPOLE, "ann", QNetwork(lstm_spec(4, 5, 2), T=0), (4,))
    energy = evaluate(agent, load_recipe(CARTPOLE), Protocol(episodes=2)).score.energy
    assert energy is not None
    assert (energy.macs, energy.effective_macs) == (4 * 5 * (4 + 5) + 10,) * 2  # nothing in it is ever 0
    assert energy.change_macs is None
    assert "which always changes" in (energy.opponents_missing or {})["changes"]


# As a teacher


@pytest.fixture
def lstm_zip(tmp_path: Path) -> Path:
    return zipped(teacher(), tmp_path)


def test_what_replaces_it_starts_from_data_with_its_candidates(lstm_zip: Path) -> None:
    ann, agent = load_agent(lstm_zip, CARTPOLE), snn_rl.convert(lstm_zip, CARTPOLE, T=2)
    assert [layer["type"] for layer in agent.network.spec if layer["type"] != "Flatten"] == ["Linear", "LIF"] * 2 + ["Linear"]
    assert [tuple(lif.decay.shape) for lif in agent.network.lifs] == [(6,), (7,)]  # neurons that forget at different speeds
    assert (agent.made.how or "").startswith("weights of CartPole-v1/ann, whose neurons are Tanhs and LSTMs: a start for")
    candidate = ann.network.synapses[0][-1].weight.chunk(4)[2]
    direction = agent.network.synapses[0][-1].weight / candidate
    assert th.allclose(direction, direction[:, :1].expand_as(direction), rtol=1e-3)  # but for the size of its currents
    assert agent.made.logits is True


def test_a_recurrent_teacher_teaches(lstm_zip: Path, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "load_recipe", lambda *_: recipe)
    out = tmp_path / "run"
    options = ["--env", CARTPOLE, "--ann", str(lstm_zip), "--start", "1", "--out", str(out), "--device", "cpu"]
    assert train.main(options) == 0
    student, ann = agents.load(out / "T1"), agents.load(out / "ann")
    assert student.made.teacher == agents.source(ann)
    assert ann.network.remembers
    assert ann.scores["greedy"].returns.mean > 0
    pruned = ["--agent", str(out / "T1"), "--ann", str(lstm_zip), "--T", "1", "--out", str(tmp_path / "more")]
    monkeypatch.setattr(pruning, "load_recipe", lambda *_: recipe)
    assert prune.main([*pruned, "--env", CARTPOLE, "--device", "cpu"]) == 0
    for taught in (student, agents.load(tmp_path / "more" / "T1")):
        numbers = taught.made.recipe or {}
        assert (numbers["train_decays"], numbers["sequence_length"], numbers["burn_in"]) == (True, 24, 8)


def test_labels_are_those_of_a_teacher_that_saw_what_the_student_saw() -> None:
    network, student = load_agent(teacher(), CARTPOLE).network, QNetwork(spiking(mlp_spec(4, 8, 2)), T=1)
    numbers = PruneRecipe(n_envs=2, learning_starts=100, buffer_size=400)
    venv = make_vec_env(load_recipe(CARTPOLE), 2, seed=0, frames=1)
    learner = Distiller(student, network, venv, numbers, View(1), seed=0, temperature=1.0)
    assert student.lifs[0].raw_decay.requires_grad  # where its teacher remembers, memory serves
    for _ in range(60):
        learner._collect()
    buffer = learner.buffer
    observations, labels = (th.as_tensor(ring[:, :60]).transpose(0, 1) for ring in (buffer.frames, buffer.labels))
    starts = th.as_tensor(buffer.age[:, :60] == 0).T
    assert starts.sum() > 4
    with th.no_grad():
        wanted, _ = network.unroll(observations, None, starts)
    assert th.allclose(labels, wanted, atol=1e-5)


def test_an_ann_that_remembers_may_play_where_something_is_hidden(tmp_path: Path) -> None:
    hidden = "CartPoleNoVel-v1"
    register()
    blind = zipped(teacher(hidden), tmp_path)
    plan = run.plan_for(train.options_of(["--env", hidden, "--ann", str(blind)]))
    assert plan.ann is not None
    assert (plan.ann.env, plan.view.teacher_sees_more) == (hidden, False)
    assert plan.recipe.prune == load_recipe(hidden).prune  # which is made for memory already
    seeing = zipped(teacher(), tmp_path)
    plan = run.plan_for(train.options_of(["--env", hidden, "--ann", str(seeing)]))
    assert plan.ann is not None
    assert (plan.ann.env, plan.view.teacher_sees_more) == (CARTPOLE, True)
    agent = snn_rl.convert(seeing, hidden)
    assert agent.observation_shape == (2,)


def test_numbers_for_memory_are_the_defaults_and_the_user_has_the_last_word(lstm_zip: Path) -> None:
    options = ["--env", CARTPOLE, "--ann", str(lstm_zip), "--recipe-set", "prune.burn_in=5"]
    recipe = run.plan_for(train.options_of(options)).recipe
    assert (recipe.prune.train_decays, recipe.prune.sequence_length, recipe.prune.burn_in) == (True, 24, 5)
    assert recipe.convert.decay == (0.05, 0.98)
    plain = run.plan_for(train.options_of(["--env", CARTPOLE])).recipe
    assert (plain.prune.train_decays, plain.convert.decay) == (None, None)


# What does not take it


def test_what_takes_no_lstm_says_what_does(lstm_zip: Path, tmp_path: Path) -> None:
    folder = agents.save(load_agent(lstm_zip, CARTPOLE), tmp_path / "ann")
    for kind in ("onnx", "zip", "nir", "js"):
        with pytest.raises(UserError):
            export.main([str(folder), "--to", kind, "--out", str(tmp_path / kind)])
    said = r"takes no ANN with an LSTM: let it teach \(python -m snn_rl.train --ann\)"
    with pytest.raises(UserError, match=f"ONNX {said}"):
        export.main([str(folder), "--to", "onnx", "--out", str(tmp_path / "x.onnx")])
    with pytest.raises(UserError, match=f"a SpikingDQN {said}"):
        to_sb3(folder, CARTPOLE, data_init=True)
    with pytest.raises(UserError, match="an ANN has no spikes; only a spiking agent becomes integers"):
        quantize.main([str(folder), "--out", str(tmp_path / "int8")])
    with pytest.raises(UserError, match="has an LSTM, which teaches spiking agents: give --T 1, or leave out --objective"):
        train.main(["--env", CARTPOLE, "--ann", str(folder), "--T", "0", "--objective", "distill", "--spike-penalty", "1"])


def test_from_sb3_is_its_conversion_as_a_learner(lstm_zip: Path) -> None:
    learner = SpikingDQN.from_sb3(lstm_zip, CARTPOLE, data_init=True, buffer_size=500, learning_starts=20, seed=0)
    network = learner.policy.q_net.network
    assert [tuple(lif.decay.shape) for lif in network.lifs] == [(6,), (7,)]
    assert [*network.recurrent] == ["0"]
    learner.learn(60)
