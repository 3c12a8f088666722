"""What is said of zips and models of Stable-Baselines3 that cannot be read: the file, what is wrong with it, the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import ARS
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.vec_env import VecNormalize
from test_dead_ends import shows
from test_pictures import NUMBERS, PIXELS
from test_pictures import stock as of_pictures
from test_sentences_archives import ANEW, CARTPOLE, said
from test_zips import Tiny, changed, dqn, rewrite, tensors, zipped

from snn_rl import SpikingDQN, load_agent
from snn_rl.core.errors import UserError
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.layers import Layers
from snn_rl.sb3.normalized import statistics
from snn_rl.sb3.zips import load_zip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The zip of a DQN."""
    return zipped(dqn(), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("q_net.q_net.2.weight"),
        lambda state: state.update({"q_net.q_net.0.weight": th.zeros(3)}),
        lambda state: state.update({"q_net.q_net.two.weight": th.zeros(3, 3)}),
        lambda state: state.update({"q_net.q_net.2.weight": th.zeros(64, 5)}),
    ],
)
def test_tensors_that_decide_nothing_are_told(path: Path, change: Callable[[Any], Any]) -> None:
    rewrite(path, "policy.pth", tensors(change))
    assert said(path) == f"'{path}' is damaged: its tensors are no network that decides; {ANEW}"


def test_an_extra_tensor_is_named(path: Path) -> None:
    rewrite(path, "policy.pth", tensors(lambda state: state.update({"extra": th.zeros(3)})))
    assert said(path) == (
        f"the network in '{path}' does not fit '{CARTPOLE}' with 1 frame(s): nothing has the tensor extra; "
        "is this the right --env?"
    )


class Wide(Tiny):
    """An extractor whose output is wider than the dense layers behind."""

    def __init__(self, observation_space: Any, width: int = 9) -> None:
        super().__init__(observation_space, width)
        self._features_dim = 10


def test_an_extractor_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = zipped(dqn(features_extractor_class=Tiny), tmp_path)
    assert "with 1 frame(s): its features are 10, its dense layers take 9; is" in said(
        path, extractor="test_sentences_zips:Wide"
    )
    rewrite(path, "data", changed(lambda data: data["policy_kwargs"].update(features_extractor_kwargs={"width": 10**9})))
    assert f"says width = 1000000000, and its widest tensor has 64; {ANEW}" in said(path, extractor="test_zips:Tiny")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("no_such_module:Mine", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("test_zips:NoSuchClass", "AttributeError: module 'test_zips' has no attribute 'NoSuchClass'"),
    ],
)
def test_an_extractor_that_is_not_there_is_told(path: Path, named: str, reason: str) -> None:
    with pytest.raises(UserError) as error:
        load_agent(path, CARTPOLE, extractor=named)
    assert str(error.value) == f"--extractor {named}: {reason}; write it as module:Class"


def test_other_numbers_of_actions_and_frames_ask_for_the_environment(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 2 actions but 'MountainCar-v0' has 3; is this the right --env\?"):
        load_zip(zipped(dqn(shows(spaces.Box(-1, 1, (2,)))), tmp_path), "MountainCar-v0")
    wide = zipped(dqn(shows(spaces.Box(-1, 1, (4 * 65,)))), tmp_path)
    assert f"'{wide}' takes 65 frames of '{CARTPOLE}'; more than 64 are refused" in said(wide)
    spiking = SpikingDQN("MlpPolicy", shows(spaces.Box(-1, 1, (4 * 65,))), buffer_size=99)
    assert "takes 65 frames of 'CartPole-v1'; more than 64 are refused" in said(zipped(spiking, tmp_path))


def test_masks_of_actions_say_what_to_do(path: Path) -> None:
    masked = "sb3_contrib.common.maskable.policies"
    rewrite(path, "data", changed(lambda data: data["policy_class"].update(__module__=masked)))
    assert "is of MaskablePPO, whose masks of actions no agent here sees; let the environment end or punish" in said(path)


def test_an_activation_that_is_none_is_told(tmp_path: Path) -> None:
    path = zipped(dqn(activation_fn=th.nn.ReLU), tmp_path)
    for named, reason in (("ELU", "choose from ReLU, Tanh"), ("Tanh", f"'{path}' says ReLU")):
        with pytest.raises(UserError) as error:
            load_agent(path, CARTPOLE, activation=named)
        assert str(error.value) == f"--activation {named}: {reason}; leave it out or mend it"


def test_another_image_than_the_environments_is_told() -> None:
    gym.register("Flat-v0", lambda **_: shows(spaces.Box(0, 255, (PIXELS + NUMBERS,))))
    with pytest.raises(
        UserError,
        match=r"the model takes an image of \(1, 36, 40\) among other parts, the environment shows none; is this the ri",
    ):
        load_agent(of_pictures(), "Flat-v0")


class Unbiased(Tiny):
    """Its first layer has no bias."""

    def __init__(self, observation_space: Any, width: int = 9) -> None:
        super().__init__(observation_space, width)
        self.body[0] = th.nn.Linear(observation_space.shape[0], width, bias=False)


def test_statistics_without_a_place_say_how_to_train() -> None:
    env = VecNormalize(make_vec_env(CARTPOLE))
    told = "has no dense first layer with a bias to hold the statistics of VecNormalize; train it with norm_obs=False"
    with pytest.raises(UserError, match=told):
        load_agent(dqn(env, features_extractor_class=Unbiased), CARTPOLE)


# Live models, and what comes with a zip


def test_a_model_of_another_kind_says_which_can_be_read() -> None:
    with pytest.raises(
        UserError, match=r"the model has a ARSPolicy; only DQN, QR-DQN, PPO, A2C and RecurrentPPO with discrete actions can be"
    ):
        load_agent(ARS("MlpPolicy", CARTPOLE, device="cpu"), CARTPOLE)


class Viewed(Tiny):
    """Its forward reshapes, which no list of layers says."""

    def __init__(self, observation_space: Any, width: int = 9) -> None:
        super().__init__(observation_space, width)
        self.body = th.nn.Sequential(th.nn.Linear(2, width), th.nn.ReLU())

    def forward(self, x: th.Tensor) -> th.Tensor:
        return self.body(x[:, :2])


def test_layers_that_do_not_follow_each_other_are_told() -> None:
    with pytest.raises(UnconvertibleError, match=r"cannot convert 'Viewed': run as a list of layers it fails \(mat1 and mat2"):
        load_agent(dqn(features_extractor_class=Viewed), CARTPOLE)


def test_a_layer_that_cannot_see_parts_is_named() -> None:
    model = of_pictures()
    extractor = model.policy.q_net.features_extractor  # type: ignore[union-attr]
    assert type(extractor) is CombinedExtractor
    with pytest.raises(UnconvertibleError, match=r"cannot convert module 'first' \(ReLU\): a Linear comes behind the parts"):
        Layers.of(extractor, [("first", th.nn.ReLU())])


def test_an_engine_for_a_zip_says_what_it_is_for(path: Path, tmp_path: Path) -> None:
    for where in (path, DQN("MlpPolicy", CARTPOLE, buffer_size=9)):
        with pytest.raises(
            UserError, match=r"an engine computes agents of integers: make one with python -m snn_rl\.quantize"
        ):
            load_agent(where, CARTPOLE, engine="event")
    for missing in (lambda: load_agent(tmp_path / "no.zip", CARTPOLE), lambda: statistics(tmp_path / "no.zip", True)):
        with pytest.raises(UserError, match=r"no file '.*no\.zip'"):
            missing()
