"""A Dict with an image: NatureCNN for the image, the numbers beside it into the layer behind, as in Stable-Baselines3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from pictures import (
    ID,
    NUMBERS,
    PIXELS,
    Boxes,
    Pictures,
    Shows,
    image_network,
    looks,
    short,
    stock,
    tiny,
    values,
)
from sb3_contrib import QRDQN
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack
from torch import Tensor

from snn_rl import SpikingDQN, load_agent, to_sb3
from snn_rl.core.errors import UserError
from snn_rl.core.initialise import initialize
from snn_rl.core.synops import OperationCounter, dense_macs
from snn_rl.sb3 import starting
from snn_rl.sb3.replay import SequenceReplayBuffer
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.parts import Joined, Parts
from snn_rl.tasks.recipes import ConvertRecipe
from snn_rl.training.conversion import convert


@pytest.mark.parametrize("kind", [DQN, PPO, QRDQN])
def test_the_network_that_is_read_gives_the_values_of_the_model(kind: type[BaseAlgorithm], tmp_path: Path) -> None:
    model = stock(kind, policy_kwargs={"net_arch": [] if kind is QRDQN else [24, 16]})
    model.save(tmp_path / "model.zip")
    env, seen = make_env(load_recipe(ID), frames=1), Pictures()
    for agent in (load_agent(model, ID), load_agent(tmp_path / "model.zip", ID)):
        assert (agent.observation_shape, agent.network.image, agent.network.aside) == ((PIXELS + NUMBERS,), (1, 36, 40), 5)
        differ = []
        for seed in range(10):
            joined, shown = env.reset(seed=seed)[0], seen.reset(seed=seed)[0]
            theirs, ours = values(model, shown), agent.network(th.as_tensor(joined)[None])[0]
            if kind is PPO:
                theirs, ours = theirs.log_softmax(-1), ours.log_softmax(-1)
            assert th.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
            assert int(agent.predict(shown)[0]) == int(agent.predict(joined)[0]) == int(theirs.argmax())
            differ.append(theirs)
        assert float(th.cat(differ).std(0).min()) > 1e-3  # values that depend on what is seen


def test_stacked_frames_are_those_of_vec_frame_stack(tmp_path: Path) -> None:
    venv = VecFrameStack(DummyVecEnv([Boxes]), 3)
    model = stock(env=venv)
    model.save(tmp_path / "model.zip")
    env_id = "SignsInBoxes-v0"
    agent, env = load_agent(tmp_path / "model.zip", env_id), make_env(load_recipe(env_id), frames=3)
    assert (agent.frames, agent.network.image) == (3, (3, 36, 40))
    venv.seed(4)
    theirs, (ours, _) = venv.reset(), env.reset(seed=4)
    for action in (0, 1, 1, 0):
        q = values(model, {key: part[0] for key, part in theirs.items()})  # type: ignore[union-attr]
        assert th.allclose(agent.network(th.as_tensor(ours)[None])[0], q, rtol=1e-5, atol=1e-6)
        theirs, (ours, *_) = venv.step(np.array([action]))[0], env.step(action)


def test_an_image_comes_first_in_the_vector_and_may_have_its_channels_last() -> None:
    space = spaces.Dict(
        {"a": spaces.Box(-1, 1, (1,)), "b": spaces.Box(0, 255, (36, 40, 3), np.uint8), "c": spaces.Discrete(2)}, seed=0
    )
    joined = Joined.of(space)
    one = space.sample()
    vector, first = joined.parts.join(one), np.moveaxis(one["b"], -1, 0)
    assert np.array_equal(vector[: 3 * PIXELS], first.reshape(-1))
    assert vector[3 * PIXELS :].tolist() == [one["a"][0], *np.eye(2)[one["c"]]]
    assert np.array_equal(joined.parts.join({**one, "b": first}), vector)
    assert joined.contains(vector)
    assert np.array_equal(joined.parts.join({key: np.stack([part, part]) for key, part in one.items()})[1], vector)
    assert Parts.from_json(joined.parts.to_json()) == joined.parts
    alone = spaces.Dict({"image": spaces.Box(0, 255, (36, 40, 1), np.uint8)})
    assert Joined.of(alone).dtype == np.uint8


def test_numbers_beside_an_image_add_to_the_current_and_are_not_scaled() -> None:
    seen = th.tensor([[51.0, 0.5, 0.25]])  # a fifth of 255
    ann = tiny(T=0)
    assert float(ann(seen)[0].detach()) == pytest.approx(3 * (0.2 + 0.5) + 2.5)
    spiking, state = tiny(T=2), None
    spiking.lifs[0].set(v_th=1.0, decay=1.0)
    for spikes, v in ((1, 0.4), (1, 0.8), (2, 0.2)):  # 0.7 at each of two timesteps
        q, state = spiking(seen, state)
        assert float(q.detach()) == pytest.approx(3 * spikes / 2 + 2.5)
        assert float(state[0].detach()) == pytest.approx(v, abs=1e-6)


def test_operations_of_numbers_beside_an_image_count_once_per_decision() -> None:
    seen = th.tensor([[51.0, 0.5, 0.0], [51.0, 0.5, 0.25]])
    assert dense_macs(tiny(T=0).spec, (3,)) == [1 + 2, 1 + 2]
    counter = OperationCounter(ann := tiny(T=0), (3,))
    layers: list[Tensor] = []
    ann.unroll(seen[None], record=layers)
    sent = [layer[0].detach() for layer in layers]
    counter.update(seen, sent, [seen.flip(0), sent[0][0].flip(0)])
    # a pixel and the numbers that are not 0 to the neuron; its activation and the same numbers to q
    assert (counter.counts().ann_macs, counter.counts().effective_macs) == (6, ((2 + 2) + (3 + 3)) / 2)
    assert counter.counts().change_macs == 2  # a number changed, which has two weights
    # the pixel, one word, and the numbers, two, are read and written, and the two sums behind the number
    assert counter.counts().change_accesses == 2 * 3 + 2 * 2
    spiking = tiny(T=3)
    counter, layers = OperationCounter(spiking, (3,)), []
    spiking.unroll(seen[None], record=layers)
    counter.update(seen, [layer[0].detach() for layer in layers])
    counts = counter.counts()
    assert (counts.first_layer_macs, counts.ann_macs) == (3 + 2, 6)
    assert counts.acs_by_layer == {"fc2": float(layers[0].detach().sum()) / 2}


def test_currents_are_standardised_with_the_numbers_in_them() -> None:
    network, seen = image_network(T=0), looks(500)
    initialize(network, seen, 1.5)
    layers: list[Tensor] = []
    q, _ = network.unroll(seen[None], record=layers)
    network.neurons[1] = th.nn.Identity()  # its current
    network.neurons[1].unroll = lambda i, *_, **__: (i, ())  # type: ignore[assignment]
    network.unroll(seen[None], record=layers)
    current = layers[-1][0, 0]
    assert th.allclose(current.mean(0), th.zeros(8), atol=1e-5)
    assert th.allclose(current.std(0), th.ones(8), atol=1e-2)
    assert float(q.detach().mean()) == pytest.approx(1.5, abs=0.2)


def test_replay_keeps_pixels_as_bytes_and_numbers_as_they_are() -> None:
    space = make_env(load_recipe(ID), frames=1).observation_space
    buffer = SequenceReplayBuffer(64, space, spaces.Discrete(2), n_envs=2)
    assert buffer.frames.nbytes == 64 * (PIXELS + 4 * NUMBERS)
    space.seed(1)
    given = [np.stack([space.sample(), space.sample()]) for _ in range(20)]
    given = [np.concatenate([np.floor(one[:, :PIXELS]), one[:, PIXELS:]], 1) for one in given]
    for one in given:
        buffer.add(one, one, np.zeros(2), np.zeros(2), np.zeros(2), [{}, {}])
    for sequence in buffer.sample_sequences(8, 5).observations.unbind(1):
        assert any(np.array_equal(sequence, np.stack(given[k : k + 5])[:, e]) for k in range(16) for e in range(2))
    bad = given[0].copy()
    bad[0, -1] = np.nan
    with pytest.raises(UserError, match="NaN or infinity"):
        buffer.add(bad, bad, np.zeros(2), np.zeros(2), np.zeros(2), [{}, {}])
    with pytest.raises(UserError, match="leave frame_stack out"):
        SequenceReplayBuffer(64, space, spaces.Discrete(2), frame_stack=5)


def test_a_spiking_dqn_learns_is_saved_plays_and_goes_on(tmp_path: Path) -> None:
    model = SpikingDQN(
        "MultiInputPolicy", Pictures(), T=1, learning_starts=20, buffer_size=200, batch_size=4, seed=0, device="cpu"
    )
    assert [layer["type"] for layer in model.policy.q_net.network.spec][:2] == ["Image", "Conv2d"]
    model.learn(50)
    evaluate_policy(model, Pictures(), 1, warn=False)
    model.save(tmp_path / "model.zip")
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    again = SpikingDQN.load(tmp_path / "model.zip", env=Pictures(), device="cpu")
    again.load_replay_buffer(tmp_path / "buffer.pkl")
    again.learn(20)
    agent, shown = load_agent(tmp_path / "model.zip", ID), Pictures().reset(seed=3)[0]
    theirs = int(model.predict(shown, deterministic=True)[0])
    assert int(agent.predict(shown)[0]) == theirs
    assert int(SpikingDQN.load(tmp_path / "model.zip").predict(shown, deterministic=True)[0]) == theirs
    saved = th.load(tmp_path / "buffer.pkl", weights_only=True)
    saved["rings"]["frames"][0][0, -4:] = th.tensor([0, 0, 192, 127], dtype=th.uint8)  # NaN as bytes
    th.save(saved, tmp_path / "bad.pkl")
    with pytest.raises(UserError, match="frames holds a number that is not finite"):
        again.load_replay_buffer(tmp_path / "bad.pkl")


def test_an_image_may_lie_in_parts_within_parts_or_alone() -> None:
    image, speed = spaces.Box(0, 255, (36, 40, 1), np.uint8), spaces.Box(-1, 1, (2,))
    for space, numbers in (
        (spaces.Dict({"eyes": spaces.Dict({"left": image}), "speed": spaces.Tuple([speed])}), 2),
        (spaces.Tuple([spaces.Discrete(3), image]), 3),
        (spaces.Dict({"image": image}), 0),
    ):
        space.seed(0)
        model = SpikingDQN("MultiInputPolicy", Shows(space), learning_starts=8, buffer_size=50, batch_size=2, device="cpu")
        assert (model.policy.q_net.network.image, model.policy.q_net.network.aside) == ((1, 36, 40), numbers)
        model.learn(16)
        assert model.predict(space.sample(), deterministic=True)[0] in (0, 1)


def test_a_stock_dqn_becomes_a_spiking_agent_and_a_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "ConvertRecipe", lambda: ConvertRecipe(observations=80))
    model = stock()
    model.save(tmp_path / "model.zip")
    twin = convert(load_agent(model, ID), short(), 3)
    assert twin.network.image == (1, 36, 40)
    folder = agents.save(twin, tmp_path / "T3")
    assert agents.fingerprint(agents.load(folder).network) == agents.fingerprint(twin.network)
    learner = SpikingDQN.from_sb3(tmp_path / "model.zip", Pictures(), T=1, buffer_size=200, learning_starts=20, device="cpu")
    learner.learn(40)
    assert to_sb3(twin, Pictures(), buffer_size=100).observation_space.shape == (PIXELS + NUMBERS,)
