"""Agents that see an image beside numbers go through the commands, into files and out of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from pictures import (
    ID,
    NUMBERS,
    Pictures,
    Shows,
    agent_of_images,
    image_network,
    looks,
    short,
    stock,
    values,
)
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor

from snn_rl import SpikingDQN, evaluate, export, load_agent, quantize, record, train
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.outline import check_currents, outline
from snn_rl.core.spec import UnconvertibleError
from snn_rl.core.synops import dense_macs
from snn_rl.engine.rounding import quantise
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.training.conversion import convert

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
