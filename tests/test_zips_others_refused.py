"""Zips and live models of other algorithms than DQN that cannot be read: told in one sentence, and nothing in them is
executed."""

from __future__ import annotations

import base64
import io
import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch as th
from conftest import Pixels
from gymnasium import spaces
from sb3_contrib import QRDQN, MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from test_zips import changed, rewrite, tensors, zipped
from test_zips_others import CARTPOLE, assert_same, teacher
from test_zips_refused import Exploit

from snn_rl.core.errors import UserError
from snn_rl.core.spec import UnconvertibleError
from snn_rl.sb3.zips import load_agent, load_zip

# What cannot be read


class Several(Pixels):
    """Several actions at a time, or continuous ones."""

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        super().__init__()
        self.action_space = action_space  # type: ignore[assignment]
        self.observation_space = spaces.Box(-1, 1, (4,), np.float32)

    def _see(self) -> np.ndarray:
        return np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("action_space", "message"),
    [
        (spaces.Box(-1, 1, (2,)), "has continuous actions; only DQN, QR-DQN, PPO, A2C and RecurrentPPO with discrete actions"),
        (spaces.MultiDiscrete([2, 3]), "has MultiDiscrete actions, several at a time; an agent chooses one: let the env"),
        (spaces.MultiBinary(2), "has MultiBinary actions, several at a time"),
    ],
)
def test_other_actions_are_refused(tmp_path: Path, action_space: spaces.Space[Any], message: str) -> None:
    model = PPO("MlpPolicy", make_vec_env(lambda: Several(action_space), 1), device="cpu")
    for where in (zipped(model, tmp_path), model):
        with pytest.raises(UserError, match=message) as error:
            load_agent(where, CARTPOLE)
        assert "\n" not in str(error.value)


def test_a_dictionary_of_other_observations_is_refused(tmp_path: Path) -> None:
    class Parts(Pixels):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = spaces.Dict({"clock": spaces.Box(-1, 1, (2,))})  # type: ignore[assignment]

    model = PPO("MultiInputPolicy", Parts(), device="cpu")
    for where in (zipped(model, tmp_path), model):
        with pytest.raises(UserError, match=r"takes (2 inputs|observations of 2) but .* gives 4; is this the right --env"):
            load_agent(where, CARTPOLE)


class Masked(Pixels):
    """Says which actions are allowed."""

    def __init__(self) -> None:
        super().__init__(actions=2)
        self.observation_space = spaces.Box(-1, 1, (4,), np.float32)

    def _see(self) -> np.ndarray:
        return np.zeros(4, np.float32)

    def action_masks(self) -> np.ndarray:
        return np.ones(2, bool)


def test_masks_of_actions_are_refused(tmp_path: Path) -> None:
    model = MaskablePPO("MlpPolicy", Masked(), device="cpu")
    for where in (zipped(model, tmp_path), model):
        with pytest.raises(UserError, match=r"[Mm]askable"):
            load_agent(where, CARTPOLE)


@pytest.mark.parametrize("n_quantiles", [None, 3, 0, "x"])
def test_a_number_of_quantiles_that_cannot_be_is_told(tmp_path: Path, n_quantiles: Any) -> None:
    path = zipped(teacher(QRDQN, n_quantiles=5), tmp_path)
    with pytest.raises(UserError, match=r"says that it has .* quantiles for each action and has 10 in all"):
        load_zip(rewrite(path, "data", changed(lambda data: data["policy_kwargs"].update(n_quantiles=n_quantiles))), CARTPOLE)


class Doubled(ActorCriticPolicy):
    """Its forward is not its layers in a row."""

    def get_distribution(self, obs: Any) -> Any:
        return super().get_distribution(2 * obs)


class Stranger(ActorCriticPolicy):
    """Its body is not Stable-Baselines3's."""

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        self.mlp_extractor.policy_net = None  # type: ignore[assignment]


def test_a_live_policy_that_does_more_than_its_layers_is_refused() -> None:
    with pytest.raises(UnconvertibleError, match="does more than run its layers in order"):
        load_agent(teacher(PPO, policy=Doubled), CARTPOLE)  # type: ignore[arg-type]
    with pytest.raises(
        UnconvertibleError,
        match="'MlpExtractor': it has no layers called policy_net; train with Stable-Baselines3's MlpExtractor",
    ):
        load_agent(teacher(PPO, policy=Stranger), CARTPOLE)  # type: ignore[arg-type]


# Damaged and hostile files


@pytest.mark.parametrize("kind", [PPO, QRDQN])
@pytest.mark.parametrize(
    "change",
    [
        lambda state: [state.pop(key) for key in list(state) if key.endswith("weight")],
        lambda state: [state.pop(key) for key in list(state) if key.endswith("0.bias")],
        lambda state: state.update({key: th.zeros(3) for key in state if key.endswith("0.weight")}),
        lambda state: state.update({key: value[:-1] for key, value in state.items() if key.endswith("_net.0.bias")}),
        lambda state: state.update({key: value[:, :-1] for key, value in state.items() if key.endswith("2.weight")}),
        lambda state: state.update({"extra": th.zeros(3)}),
        lambda state: state.update(
            {"mlp_extractor.policy_net.x.weight": th.zeros(3), "quantile_net.quantile_net.x": th.ones(1)}
        ),
        lambda state: state.update({key: value * float("nan") for key, value in state.items()}),
    ],
)
def test_tensors_that_are_no_network_are_an_error(tmp_path: Path, kind: type[BaseAlgorithm], change: Any) -> None:
    path = rewrite(zipped(teacher(kind), tmp_path), "policy.pth", tensors(change))
    with pytest.raises(UserError, match=r"model\.zip") as error:
        load_zip(path, CARTPOLE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [PPO, QRDQN])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_a_truncated_file_is_told(tmp_path: Path, kind: type[BaseAlgorithm], keep: float) -> None:
    path = zipped(teacher(kind), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(UserError, match=r"(damaged or|is) truncated"):
        load_zip(path, CARTPOLE)


@pytest.mark.parametrize("kind", [PPO, QRDQN])
def test_a_pickle_in_policy_pth_is_refused_and_not_executed(tmp_path: Path, kind: type[BaseAlgorithm]) -> None:
    mark, out = tmp_path / "hacked", io.BytesIO()
    th.save({"action_net.weight": Exploit(mark)}, out)
    path = rewrite(zipped(teacher(kind), tmp_path), "policy.pth", out.getvalue())
    with pytest.raises(UserError, match="more than tensors; refused, nothing was executed"):
        load_zip(path, CARTPOLE)
    assert not mark.exists()


@pytest.mark.parametrize("kind", [PPO, QRDQN])
def test_pickles_in_data_and_in_other_members_are_not_executed(tmp_path: Path, kind: type[BaseAlgorithm]) -> None:
    model, mark = teacher(kind), tmp_path / "hacked"
    bomb = {":type:": "dict", ":serialized:": base64.b64encode(cloudpickle.dumps(Exploit(mark))).decode()}
    keys = ("policy_class", "policy_kwargs", "observation_space", "action_space", "lr_schedule", "clip_range", "anything")
    path = rewrite(zipped(model, tmp_path), "data", changed(lambda data: data.update(dict.fromkeys(keys, bomb))))
    for member in ("policy.optimizer.pth", "pytorch_variables.pth", "_stable_baselines3_version"):
        rewrite(path, member, pickle.dumps(Exploit(mark)))
    assert_same(model, load_zip(path, CARTPOLE).network)
    assert not mark.exists()


@pytest.mark.parametrize("kind", [PPO, QRDQN])
@pytest.mark.parametrize(
    "content", [b'{"policy_kwargs": 3, "policy_class": 1}', b"{}", b'{"action_space": [], "observation_space": "x"}']
)
def test_descriptions_that_say_nothing_leave_what_is_usual(tmp_path: Path, kind: type[BaseAlgorithm], content: bytes) -> None:
    model = teacher(kind)
    assert_same(model, load_zip(rewrite(zipped(model, tmp_path), "data", content), CARTPOLE).network)


@pytest.mark.parametrize("kind", [PPO, QRDQN])
@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Acrobot-v1", "takes 4 inputs but 'Acrobot-v1' gives 6; is this the right --env"),
        ("MountainCar-v0", "has 2 actions but 'MountainCar-v0' has 3"),
    ],
)
def test_the_wrong_environment_is_told(tmp_path: Path, kind: type[BaseAlgorithm], env_id: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_zip(zipped(teacher(kind), tmp_path), env_id)
