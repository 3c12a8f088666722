"""What is said of a saved SpikingDQN that cannot be: the file, the field, the way out."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from conftest import counts, dqn
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import VecEnvWrapper
from test_pictures import stock as of_pictures
from test_trust_learners import changed

from snn_rl import SpikingDQN, SpikingMlpPolicy
from snn_rl.core.errors import UserError
from snn_rl.sb3.replay import SequenceReplayBuffer

ANEW = "; copy or save it anew"
Change = Callable[[Any], Any]


@pytest.fixture(scope="module")
def learner() -> tuple[bytes, bytes]:
    """The zip of a model that learnt, and its replay buffer."""
    model = dqn(counts(5, 7, 9))
    model.learn(60)
    model.save(path := io.BytesIO())
    model.save_replay_buffer(buffer := io.BytesIO())
    return path.getvalue(), buffer.getvalue()


@pytest.fixture
def path(learner: tuple[bytes, bytes], tmp_path: Path) -> Path:
    (tmp_path / "model.zip").write_bytes(learner[0])
    return tmp_path / "model.zip"


def said(path: Path, **given: Any) -> str:
    with pytest.raises(UserError) as error:
        SpikingDQN.load(path, device="cpu", **given)
    assert "\n" not in str(error.value)
    return str(error.value)


# The zip


def space(**changes: Any) -> Change:
    return lambda data: data["plain_settings"]["observation_space"].update(changes)


NOT_ITS_ACTIONS = "is damaged: its action_space is not that of a network with 2 values"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (space(dtype="complex64"), "is damaged: its observations are 'complex64', no numbers"),
        (space(low="x"), "is damaged: its observation_space cannot be (could not convert string to float"),
        (space(low=[1.0] * 9), "is damaged: its observation_space cannot be ("),
        (lambda data: data["plain_settings"].update(action_space={"n": 3}), NOT_ITS_ACTIONS),
        (lambda data: data["plain_settings"].update(action_space={"n": 2, "start": 10**12}), NOT_ITS_ACTIONS),
        (
            lambda data: data["plain_settings"].update(train_freq=[0, "step"]),
            "is damaged: its train_freq must be a whole number above 0 with 'step' or 'episode'",
        ),
        (lambda data: data.update(gamma="x"), "is damaged: gamma must be a number, got"),
        (
            lambda data: data["policy_kwargs"].update(optimizer_kwargs={"foo": 1}),
            "are none that its optimizer takes (Adam.__init__() got an unexpected keyword argument 'foo')",
        ),
        (
            lambda data: data["policy_kwargs"].update(optimizer_kwargs={"eps": 10**400}),
            "are none that its optimizer takes (eps = 1000000000000000000000000000000000000000)",
        ),
        (lambda data: data.update(replay_buffer_kwargs={"n_labels": -1}), "the replay buffer in '{}' has n_labels = -1"),
        (
            lambda data: data.update(network_description={}),
            "the description of the network in '{}' is damaged (network is missing); copy or save the file anew",
        ),
    ],
)
def test_a_setting_that_cannot_be_says_which_and_what_to_do(path: Path, change: Change, message: str) -> None:
    told = said(changed(path, "data", change))
    assert message.replace("{}", str(path)) in told
    assert f"'{path}'" in told
    assert told.endswith((ANEW, "; copy or save the file anew"))


def test_a_replay_buffer_of_ones_own_arguments_says_what_to_do(path: Path) -> None:
    changed(path, "data", lambda data: data.update(replay_buffer_kwargs={"own": 1}))
    assert said(path).startswith(f"the replay buffer in '{path}' was built with own, which only its pickle holds: ")
    assert "trust=True, which executes what the file holds" in said(path)


def test_a_function_as_learning_rate_says_how_to_give_it(path: Path) -> None:
    changed(path, "data", lambda data: data["plain_settings"].update(learning_rate={":type:": "function"}))
    told = f"the learning rate in '{path}' is a function, which only its pickle holds: give load(..., learning_rate=...), or "
    assert said(path).startswith(told)
    changed(path, "data", lambda data: data["plain_settings"].update(learning_rate=-1))
    assert said(path) == f"'{path}' is damaged: its learning_rate must lie in [0, 1e+30]{ANEW}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state["param_groups"].clear(), "its param_groups"),
        (lambda state: state["param_groups"][0].update(params=[0]), "its params"),
        (lambda state: state["param_groups"][0].update(maximize=True), "its maximize"),
        (lambda state: state["state"].update({99: {}}), "weight 99"),
        (lambda state: state["state"][0].update(exp_avg=th.zeros(3)), "its exp_avg"),
        (lambda state: state["state"][0].update(step=th.tensor(-1.0)), "its step"),
        (lambda state: state["param_groups"][0].update(lr=1e300), "lr = 1e+300"),
    ],
)
def test_an_optimizer_of_other_weights_says_what_differs(path: Path, change: Change, reason: str) -> None:
    changed(path, "policy.optimizer.pth", change)
    assert said(path) == f"the optimizer's state in '{path}' is not that of its weights ({reason}){ANEW}"


def test_tensors_of_another_network_are_told(path: Path) -> None:
    changed(path, "policy.pth", lambda state: state.update({"a": 1}))
    told = f"'{path}' is not a Stable-Baselines3 agent: policy.pth holds more than tensors; give what model.save() wrote"
    assert said(path) == told


def test_parts_of_another_network_are_told(tmp_path: Path) -> None:
    of_pictures(SpikingDQN, policy_kwargs={"net_arch": [4]}).save(tmp_path / "model.zip")
    path = tmp_path / "model.zip"
    before = path.read_bytes()

    def parts(change: Change) -> str:
        path.write_bytes(before)
        changed(path, "data", lambda data: change(data["plain_settings"]["observation_space"]["parts"]))
        return said(path)

    told = f"'{path}' is damaged: its observation_space cannot be ("
    assert parts(lambda parts: parts.pop()) == f"{told}its parts are not those of the network){ANEW}"
    assert (
        parts(lambda parts: parts[1].update(shape=[36, 40]))
        == f"{told}parts[1].shape of an image has three sizes, got [36, 40]){ANEW}"
    )
    assert parts(lambda parts: parts.append(dict(parts[1]))) == f"{told}an observation has one image){ANEW}"


def test_what_load_takes_is_said(path: Path, tmp_path: Path) -> None:
    for given in ({"print_system_info": True}, {"force_reset": False}):
        assert said(path, **given).startswith("print_system_info=True and force_reset=False read pickles: leave them out, or ")
    with path.open("rb") as file:
        told = "load() takes a path; an open file is read with trust=True only, which executes what it holds"
        assert said(file) == told  # type: ignore[arg-type]
    assert said(tmp_path / "absent") == f"no file '{tmp_path / 'absent.zip'}'"
    changed(path, "data", lambda data: data.pop("sequence_length"))
    assert said(path).startswith(f"'{path}' holds no SpikingDQN; ")


# What it learns from


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.update(buffer_size=True), "its buffer_size is True"),
        (lambda state: state.update(head=state["head"][:1]), "its head or next_age"),
        (lambda state: state.update(next_age=-state["next_age"]), "its head or next_age"),
        (lambda state: state["next_age"].fill_(1 << 31), "its next_age"),
        (lambda state: state["rings"].pop("labels"), "it holds frames, action, reward, age, acted, terminated"),
        (lambda state: state["rings"].update(reward=[th.zeros(1)] * 3), "reward has the shape (1,)"),
    ],
)
def test_a_replay_buffer_that_cannot_be_says_why(
    learner: tuple[bytes, bytes], tmp_path: Path, change: Change, reason: str
) -> None:
    state = th.load(io.BytesIO(learner[1]), weights_only=True)
    change(state)
    th.save(state, tmp_path / "buffer.pkl")
    with pytest.raises(UserError) as error:
        dqn(counts(5, 7, 9)).load_replay_buffer(tmp_path / "buffer")
    assert str(error.value) == f"'{tmp_path / 'buffer.pkl'}' is damaged or of another model ({reason}); save it anew"


def test_a_replay_buffer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^no file '.*absent\.pkl'$"):
        dqn().load_replay_buffer(tmp_path / "absent")


def test_a_replay_buffer_that_holds_too_little_says_what_to_raise() -> None:
    buffer = SequenceReplayBuffer(64, spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2))
    with pytest.raises(UserError, match="holds no sequence of 5 steps yet; raise learning_starts or buffer_size"):
        buffer.sample_sequences(1, 5)
    parts = spaces.Dict({"a": spaces.Discrete(2)})
    with pytest.raises(UserError, match=r"observations that are arrays, got Dict.*; give the space of the model, model\.obs"):
        SequenceReplayBuffer(64, parts, spaces.Discrete(2))
    with pytest.raises(UserError, match=r"ReplayBuffer holds no sequences: leave replay_buffer_class out; "):
        dqn(replay_buffer_class=ReplayBuffer)


@pytest.mark.parametrize(
    ("observed", "reward", "reason"),
    [
        (0.0, np.nan, "a reward is NaN or infinite, and what learns from it is lost"),
        (
            np.inf,
            0.0,
            "an observation holds NaN or infinity, or a number beyond 1e+18, and what learns from it is lost",
        ),
    ],
)
def test_what_no_environment_may_give_says_what_to_mend(observed: float, reward: float, reason: str) -> None:
    buffer = SequenceReplayBuffer(64, spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2))
    seen = np.full((1, 3), observed, np.float32)
    with pytest.raises(UserError) as error:
        buffer.add(seen, seen, np.zeros(1, np.int64), np.array([reward]), np.zeros(1), [{}])
    assert str(error.value) == f"{reason}; mend the environment"


def test_arguments_in_the_wrong_place_say_where_they_go() -> None:
    with pytest.raises(
        UserError, match=r"give T, carry and surrogate to SpikingDQN itself, not in policy_kwargs: SpikingDQN\(po"
    ):
        dqn(policy_kwargs={"T": 1})
    with pytest.raises(UserError, match=r"T must be at least 1 for a spiking policy \(0 is the ANN\), got -1"):
        SpikingMlpPolicy(spaces.Box(-1, 1, (3,)), spaces.Discrete(2), lambda _: 0.1, T=-1)


class Own(VecEnvWrapper):
    """A wrapper that nobody knows."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


def test_a_wrapper_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    model = dqn(Own(counts(5)))
    model.learn(10)
    with pytest.raises(UserError, match="what a Own knows cannot be written; use Stable-Baselines3's wrappers, or none"):
        model.save_checkpoint(tmp_path / "c")
