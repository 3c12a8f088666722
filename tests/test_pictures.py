"""A Dict with an image: NatureCNN for the image, the numbers beside it into the layer behind, as in Stable-Baselines3."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import lively
from gymnasium import spaces
from sb3_contrib import QRDQN
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from torch import Tensor

from snn_rl import SpikingDQN, evaluate, export, load_agent, quantize, record, to_sb3, train
from snn_rl.core.errors import UserError
from snn_rl.core.initialise import initialize
from snn_rl.core.network import QNetwork
from snn_rl.core.outline import check_currents, outline
from snn_rl.core.spec import Spec, UnconvertibleError
from snn_rl.core.synops import OperationCounter, dense_macs
from snn_rl.engine.rounding import quantise
from snn_rl.sb3 import starting
from snn_rl.sb3.replay import SequenceReplayBuffer
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.parts import Joined, Parts
from snn_rl.tasks.recipes import ConvertRecipe, Recipe
from snn_rl.training.conversion import convert

ID = "Signs-v0"
PIXELS, NUMBERS = 36 * 40, 5


class Pictures(gym.Env[dict[str, Any], int]):
    """Shows an image between other parts by name: where it is brighter, how fast, and one of three words."""

    observation_space = spaces.Dict(
        {
            "ahead": spaces.Discrete(3),
            "image": spaces.Box(0, 255, (36, 40, 1), np.uint8),
            "speed": spaces.Box(-1, 1, (2,), np.float32),
        }
    )
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.clock = render_mode, 0
        self.observation_space = copy.deepcopy(self.observation_space)  # VecNormalize changes it in place

    def shown(self) -> dict[str, Any]:
        image = self.np_random.integers(0, 99, (36, 40, 1)).astype(np.uint8)
        self.left = bool(self.np_random.random() < 0.5)
        image[:, :20] += np.uint8(100 * self.left)
        self.fast = float(self.np_random.choice([-1, 1]))
        return {"ahead": np.int64(self.clock % 3), "image": image, "speed": np.array([self.fast, 0.5], np.float32)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.clock = 0
        return self.shown(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.clock += 1
        reward = float(action == (self.left == (self.fast > 0)))
        return self.shown(), reward, False, self.clock == 10, {}


class Boxes(Pictures):
    """The same as boxes alone, which is what VecFrameStack takes."""

    observation_space = spaces.Dict({**Pictures.observation_space.spaces, "ahead": spaces.Box(0, 2, (1,))})

    def shown(self) -> dict[str, Any]:
        return {**super().shown(), "ahead": np.array([self.clock % 3], np.float32)}


if ID not in gym.registry:
    gym.register(ID, Pictures)
    gym.register("SignsInBoxes-v0", Boxes)


class Shows(Pictures):
    """Shows something else."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        self.observation_space = space  # type: ignore[assignment]

    def shown(self) -> dict[str, Any]:
        self.left, self.fast = True, 1.0
        shown: dict[str, Any] = self.observation_space.sample()
        return shown


def stock(kind: type[BaseAlgorithm] = DQN, env: Any = None, **kwargs: Any) -> BaseAlgorithm:
    """A model of Stable-Baselines3 whose weights reach far enough that numbers and pixels both matter."""
    few: dict[str, Any] = {"n_steps": 8, "batch_size": 8} if kind is PPO else {"buffer_size": 100}
    make: Callable[..., BaseAlgorithm] = kind
    model = make("MultiInputPolicy", env or Pictures(), seed=0, device="cpu", **few, **kwargs)
    with th.no_grad():
        for weight in model.policy.parameters():
            weight.mul_(2)
    return model


def short() -> Recipe:
    """The environment's recipe, with fewer observations for a conversion."""
    recipe = load_recipe(ID)
    return dataclasses.replace(recipe, convert=dataclasses.replace(recipe.convert, observations=80))


def values(model: BaseAlgorithm, shown: dict[str, Any]) -> Tensor:
    """What the model's own network gives, ``(1, actions)``."""
    policy: Any = model.policy
    seen, _ = policy.obs_to_tensor(shown)
    with th.no_grad():
        if isinstance(model, PPO):
            logits: Tensor = policy.get_distribution(seen).distribution.logits
            return logits
        q: Tensor = policy.quantile_net(seen).mean(1) if isinstance(model, QRDQN) else policy.q_net(seen)
        return q


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


def tiny(T: int, carry: bool = True) -> QNetwork:
    """A pixel in parts of 255 and two numbers: the neuron's current is ``pixel / 255 + first``, and ``q`` is
    ``3 * spikes + 10 * second``."""
    spec: Spec = [
        {"type": "Image", "size": [1, 1, 1]},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 1, "out_features": 1, "bias": False, "beside": 2},
        {"type": "LIF"},
        {"type": "Linear", "in_features": 1, "out_features": 1, "bias": False, "beside": 2},
    ]
    network = QNetwork(spec, T, 1 / 255, carry)
    with th.no_grad():
        for weight, value in zip(network.synapses.parameters(), (1.0, 3.0), strict=True):
            weight.fill_(value)
        network.beside["0"].weight.copy_(th.tensor([[1.0, 0.0]]))  # type: ignore[operator]
        network.beside["1"].weight.copy_(th.tensor([[0.0, 10.0]]))  # type: ignore[operator]
    return network


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


def image_network(T: int = 1) -> QNetwork:
    spec: Spec = [
        {"type": "Image", "size": [2, 6, 5]},
        {"type": "Conv2d", "in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1,
         "groups": 1, "bias": True},
        {"type": "ReLU"},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 36, "out_features": 8, "bias": True, "beside": 4},
        {"type": "ReLU"},
        {"type": "Linear", "in_features": 8, "out_features": 2, "bias": True},
    ]  # fmt: skip
    return QNetwork(spec, T, 1 / 255)


def looks(n: int) -> Tensor:
    return th.cat([th.randint(0, 256, (n, 60)).float(), th.randn(n, 4)], 1)


def test_currents_are_standardised_with_the_numbers_in_them() -> None:
    network, seen = image_network(T=0), looks(500)
    initialize(network, seen, 1.5)
    layers: list[Tensor] = []
    q, _ = network.unroll(seen[None], record=layers)
    network.neurons[1] = th.nn.Identity()  # its current
    network.neurons[1].unroll = lambda i, *_: (i, ())  # type: ignore[assignment]
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


RECIPE = """
id = "Signs-v0"
frames = 1

[train]
n_envs = 2
net_arch = [16]
data_init = true
learning_starts = 20
eval_freq = 40
eval_episodes = 1
batch_size = 4
buffer_size = 200

[convert]
observations = 64

[prune]
gradient_steps = [4]
batch_size = 2
n_envs = 2
learning_starts = 40
evaluations = 1
eval_episodes = 1
buffer_size = 200
stop_at_share = 0.0

[evaluate]
episodes = 2
"""


@pytest.mark.parametrize("given", ["zip", "scratch", "none"])
def test_training_goes_through_the_command(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("envs").mkdir()
    Path("envs", f"{ID}.toml").write_text(RECIPE, encoding="utf-8")
    stock().save("model.zip")
    how = {"zip": ["--ann", "model.zip"], "scratch": ["--ann", "scratch", "-n", "40"]}
    from_reward = ["--ann", "none", "--objective", "td", "-n", "40"]
    command = ["--env", ID, "--T", "1", "--device", "cpu", "--out", "out", *how.get(given, from_reward)]
    assert train.main(command) == 0
    folder = Path("out", "T1-td" if given == "none" else "T1")
    agent = agents.load(folder)
    assert (agent.network.T, agent.network.image, agent.network.aside) == (1, (1, 36, 40), NUMBERS)
    assert evaluate.main([str(folder), "--episodes", "2"]) == 0
    energy = agent.scores["greedy"].energy
    layers = dense_macs(agent.network.spec, agent.observation_shape)
    of_numbers = agent.network.beside["4"].weight.numel()  # type: ignore[union-attr, operator]
    assert energy is not None
    assert energy.macs == layers[0] + of_numbers
    assert energy.first_layer_uj == pytest.approx((layers[0] + of_numbers) * 4.6e-6)


@pytest.mark.slow
def test_a_student_at_t_1_learns_what_only_image_and_number_tell_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right action is the exclusive or of where the image is brighter and of the sign of a number."""
    monkeypatch.chdir(tmp_path)
    Path("envs").mkdir()
    learnt = RECIPE.replace("[4]", "[120]").replace("n_envs = 2\nlearning", "n_envs = 4\nlearning").replace("= 64", "= 400")
    learnt = learnt.replace("batch_size = 2", "batch_size = 16").replace("buffer_size = 200", "buffer_size = 4000")
    learnt = learnt.replace("eval_episodes = 1\nbuffer", "eval_episodes = 20\nbuffer").replace(
        "episodes = 2\n", "episodes = 20\n"
    )
    Path("envs", f"{ID}.toml").write_text(learnt, encoding="utf-8")
    env, model = Pictures(), DQN("MultiInputPolicy", Pictures(), seed=0, device="cpu", buffer_size=100)
    env.reset(seed=0)
    optimizer = th.optim.Adam(model.q_net.parameters(), 1e-3)
    for _ in range(200):  # the right actions are told, which makes a teacher in seconds
        seen = [(env.shown(), env.left == (env.fast > 0)) for _ in range(32)]
        batch = {key: th.as_tensor(np.stack([np.asarray(shown[key]) for shown, _ in seen])) for key in seen[0][0]}
        batch["image"] = batch["image"].permute(0, 3, 1, 2)
        loss = (model.q_net(batch) - th.eye(2)[[int(right) for _, right in seen]]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save("model.zip")
    assert train.main(["--env", ID, "--T", "1", "--ann", "model.zip", "--device", "cpu", "--out", "out"]) == 0
    scores = {name: agents.load(Path("out", name)).scores["greedy"].returns.mean for name in ("ann", "converted-T1", "T1")}
    assert scores["ann"] > 9.5
    assert scores["T1"] > 9
    assert scores["converted-T1"] < 8


def test_what_vec_normalize_did_to_the_numbers_goes_into_their_weights(tmp_path: Path) -> None:
    venv = VecNormalize(DummyVecEnv([Pictures]), norm_obs_keys=["speed"])
    model = stock(env=venv)
    venv.obs_rms["speed"].mean, venv.obs_rms["speed"].var = np.array([0.3, -0.1]), np.array([4.0, 0.25])
    shown = Pictures().reset(seed=0)[0]
    speed = (shown["speed"] - [0.3, -0.1]) / np.sqrt(np.array([4.0, 0.25]) + venv.epsilon)
    theirs = values(model, {**shown, "speed": speed.astype(np.float32)})
    agent = load_agent(model, ID)
    seen = th.as_tensor(make_env(load_recipe(ID), frames=1).reset(seed=0)[0])[None]
    assert th.allclose(agent.network(seen)[0], theirs, rtol=1e-5, atol=1e-5)
    both = stock(env=VecNormalize(DummyVecEnv([Pictures]), norm_obs_keys=["image", "speed"]))
    for who in (both, tmp_path / "model.zip"):
        both.save(tmp_path / "model.zip")
        with pytest.raises(UserError, match=r"takes no image of bytes where the environment shows one .* give VecNormalize"):
            load_agent(who, ID)
        with pytest.raises(UserError, match=r"takes no image of bytes where the environment shows one .* give VecNormalize"):
            SpikingDQN.from_sb3(who, Pictures(), T=1)


def test_what_no_network_sees_is_said() -> None:
    image, speed = spaces.Box(0, 255, (36, 40, 1), np.uint8), spaces.Box(-1, 1, (2,))
    two = Shows(spaces.Dict({"left": image, "right": image, "speed": speed}))
    with pytest.raises(
        UserError, match=r"the parts 'left' and 'right' are images, and a network sees one: .*stack them along"
    ):
        SpikingDQN("MultiInputPolicy", two)
    with pytest.raises(UnconvertibleError, match=r"cannot convert the parts 'left' \(NatureCNN\) and 'right' \(NatureCNN\)"):
        load_agent(stock(env=two), ID)
    with pytest.raises(UserError, match="FlattenExtractor does not see an image beside other parts: use MultiInputPolicy"):
        SpikingDQN("MlpPolicy", Pictures(), buffer_size=100)
    small = Shows(spaces.Dict({"image": spaces.Box(0, 255, (12, 12, 1), np.uint8), "speed": speed}))
    with pytest.raises(UserError, match=r"does not take an image of \(1, 12, 12\): it wants 36 by 36 pixels at least"):
        SpikingDQN("MultiInputPolicy", small, buffer_size=100)


def test_a_zip_of_several_images_or_for_another_environment_is_refused(tmp_path: Path) -> None:
    image = spaces.Box(0, 255, (36, 40, 1), np.uint8)
    stock(env=Shows(spaces.Dict({"left": image, "right": image}))).save(tmp_path / "two.zip")
    with pytest.raises(
        UnconvertibleError, match="it sees several images, and a network here sees one; stack them along their chan"
    ):
        load_agent(tmp_path / "two.zip", ID)
    stock(env=Shows(spaces.Dict({"camera": image, "speed": spaces.Box(-1, 1, (5,))}))).save(tmp_path / "camera.zip")
    with pytest.raises(UserError, match="the environment shows no Dict with an image 'camera'"):
        load_agent(tmp_path / "camera.zip", ID)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: {"size": [1, 36, 41]}}, "does not fit observations of shape 1445"),
        ({0: {"size": [1, 36]}}, "network[0] says what no Image says: size"),
        ({0: {"size": [1, 36, 10**9]}}, "network[0] says what no Image says: size"),
        ({0: {"size": [1, 36, 39]}}, "does not fit observations of shape 1445"),
        ({10: {"beside": 4}}, "does not fit observations of shape 1445"),
        ({10: {"beside": 0}}, "network[10] says what no Linear says: beside"),
        ({1: {"beside": 5}}, "network[1] says what no Conv2d says: beside"),
        ({12: {"beside": 4}}, "layers that see the numbers beside an image see all of them"),
        ({0: {"type": "Flatten", "size": None}}, "numbers are seen beside an image"),
    ],
)
def test_a_card_that_divides_observations_as_none_can_is_refused(
    tmp_path: Path, change: dict[int, dict[str, Any]], message: str
) -> None:
    folder = agents.save(load_agent(stock(), ID), tmp_path / "ann")
    card = json.loads((folder / agents.CARD).read_text(encoding="utf-8"))
    for n, fields in change.items():
        layer = {**card["network"][n], **fields}
        card["network"][n] = {key: value for key, value in layer.items() if value is not None}
    del card["sha256"], card["files"]
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    (folder / agents.CARD).write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)):
        agents.load(folder)


def test_an_image_comes_once_and_at_the_beginning() -> None:
    spec = image_network().spec
    with pytest.raises(UnconvertibleError, match="an image only at its beginning"):
        QNetwork([*spec[:3], spec[0], *spec[3:]], 1)
    with pytest.raises(UnconvertibleError, match="by the last layer before neurons or the readout"):
        QNetwork([*spec[:4], spec[4], {"type": "Linear", "in_features": 8, "out_features": 8}, *spec[5:]], 1)
    with pytest.raises(ValueError, match=r"observation_shape|does not fit"):
        outline(spec, 1, 1.0, True, (2, 6, 5))
    network = image_network()
    with th.no_grad():
        network.beside["1"].weight.fill_(1e13)  # type: ignore[operator]
    with pytest.raises(ValueError, match="the weights of fc1 are so large"):
        check_currents(network)


def agent_of_images() -> Agent:
    return Agent("Unknown-v0", "T2", lively(image_network(T=2)), (64,))


def test_where_numbers_beside_an_image_are_not_defined_one_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"an integer network takes agents that see one image or one vector, .* --to onnx and --to zip take such agents",
    ):
        quantise(agent_of_images().network)
    folder = agents.save(convert(load_agent(stock(), ID), short(), 1), tmp_path / "T1")
    for form, word in (("js", "JavaScript"), ("nir", "NIR"), ("nir-lif", "NIR")):
        with pytest.raises(UserError, match=f"{word} takes agents that see one image or one vector"):
            export.main([str(folder), "--to", form, "--out", str(tmp_path / form)])
    with pytest.raises(UserError, match="an integer network takes agents that see one image"):
        quantize.main([str(folder), "--finetune", "--out", str(tmp_path / "int8")])
    assert export.main([str(folder), "--to", "zip", "--out", str(tmp_path / "T1.zip")]) == 0
    assert load_agent(tmp_path / "T1.zip", ID).network.image == (1, 36, 40)


def test_what_neurons_do_is_recorded_as_it_is_in_play() -> None:
    twin = convert(load_agent(stock(), ID), short(), 2)
    assert repr(twin).startswith(
        "Agent(Signs-v0/converted-T2: T=2, membranes carried, sees 1 frame as 1x36x40 and 5 numbers, "
    )
    kept = record(twin, decisions=4)
    env = make_env(load_recipe(ID), frames=1)
    observation, state = env.reset(seed=0)[0], None
    for q, action in zip(kept.q, kept.actions, strict=True):
        ours, state = twin.network(th.as_tensor(observation)[None], state)
        assert np.allclose(ours.detach().numpy()[0], q, atol=1e-5)
        observation, *_ = env.step(int(action))
    assert float(kept.layers["fc2"].spikes.mean()) > 0


def test_onnx_gives_the_values_of_python() -> None:
    runtime = pytest.importorskip("onnxruntime")
    from snn_rl.exports.onnx import model

    agent = agent_of_images()
    assert {"key": "image", "value": "2x6x5"} in [{"key": p.key, "value": p.value} for p in model(agent).metadata_props]
    session = runtime.InferenceSession(model(agent).SerializeToString(), providers=["CPUExecutionProvider"])
    state = agent.network.initial_state(3, (64,))
    spikes = 0.0
    for _ in range(5):
        seen, starts = looks(3), np.zeros(3, np.bool_)
        given = {f"state_{n}": v.detach().numpy() for n, v in enumerate(state)}
        q, _, *_ = session.run(None, {"observation": seen.numpy(), "episode_start": starts, **given})
        layers: list[Tensor] = []
        ours, state = agent.network.unroll(seen[None], state, record=layers)
        assert np.allclose(q, ours[0].detach().numpy(), atol=1e-5)
        spikes += float(layers[1].detach().mean())
    assert 0 < spikes < 5
