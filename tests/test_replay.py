"""The replay buffer against the play that it was given."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch as th
from gymnasium import spaces

from snn_rl.core.errors import UserError
from snn_rl.sb3.replay import SequenceReplayBuffer

ACTIONS = spaces.Discrete(6)


class Play:
    """Random episodes of random frames in several environments, stacked with zero padding; remembers everything.

    An episode's frames hold unique values; ``log[e]`` is the list of slots that environment e should have.
    """

    def __init__(self, n_envs: int, frame: tuple[int, ...], stack: int, dtype: Any = np.uint8, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.frame, self.stack, self.dtype, self.n_envs = frame, stack, dtype, n_envs
        self.observation = [self._reset() for _ in range(n_envs)]
        self.age = [0] * n_envs
        self.log: list[list[dict[str, Any]]] = [[] for _ in range(n_envs)]

    def _frame(self) -> np.ndarray:
        return self.rng.integers(1, 255, self.frame).astype(self.dtype)

    def _reset(self) -> np.ndarray:
        return np.concatenate([np.zeros((self.frame[0] * (self.stack - 1), *self.frame[1:]), self.dtype), self._frame()])

    def _next(self, observation: np.ndarray) -> np.ndarray:
        return np.concatenate([observation[self.frame[0] :], self._frame()])

    @property
    def space(self) -> spaces.Box:
        shape = (self.frame[0] * self.stack, *self.frame[1:])
        return spaces.Box(0, 255, shape, self.dtype)

    def step(self, buffer: SequenceReplayBuffer, labels: bool = False) -> None:
        observation = np.stack(self.observation)
        following = np.stack([self._next(o) for o in self.observation])
        action, reward = self.rng.integers(6, size=self.n_envs), self.rng.normal(size=self.n_envs).astype(np.float32)
        done, cut = self.rng.random(self.n_envs) < 0.25, self.rng.random(self.n_envs) < 0.5
        infos = [{"TimeLimit.truncated": bool(d and c)} for d, c in zip(done, cut, strict=True)]
        notes = self.rng.normal(size=(self.n_envs, 3)).astype(np.float32) if labels else None
        buffer.add(observation, following, action, reward, done, infos, notes)
        for e in range(self.n_envs):
            slot = {"o": observation[e], "start": self.age[e] == 0, "acted": True, "a": action[e], "r": reward[e]}
            slot |= {"end": bool(done[e] and not cut[e]), "label": None if notes is None else notes[e]}
            self.log[e].append(slot)
            if done[e] and cut[e]:
                self.log[e].append({"o": following[e], "start": False, "acted": False, "end": False})
            self.age[e] = 0 if done[e] else self.age[e] + 1
            self.observation[e] = self._reset() if done[e] else following[e]


def find(log: list[dict[str, Any]], observation: np.ndarray) -> int:
    (place,) = [n for n, slot in enumerate(log) if np.array_equal(slot["o"], observation)]
    return place


@pytest.mark.parametrize(
    ("frame", "stack", "dtype"),
    [
        ((1, 6, 5), 4, np.uint8),  # stacked grey frames
        ((1, 6, 5), 1, np.uint8),
        ((3, 4, 5), 1, np.uint8),  # RGB
        ((3, 4, 5), 2, np.uint8),  # RGB, stacked
        ((7,), 1, np.float32),  # vectors
        ((7,), 3, np.float32),
    ],
)
@pytest.mark.parametrize(("n_envs", "steps"), [(1, 40), (3, 40), (3, 150)])  # the last one goes round the ring
def test_sequences_are_the_play_that_went_in(frame: tuple[int, ...], stack: int, dtype: Any, n_envs: int, steps: int) -> None:
    play = Play(n_envs, frame, stack, dtype)
    buffer = SequenceReplayBuffer(64 * n_envs, play.space, ACTIONS, n_envs=n_envs, frame_stack=stack, seed=1)
    for _ in range(steps):
        play.step(buffer)
    assert buffer.size() == sum(min(len(log), 64) for log in play.log)
    length, batch = 6, 200
    sequences = buffer.sample_sequences(batch, length)
    assert sequences.observations.shape == (length, batch, *play.space.shape)
    assert sequences.observations.numpy().dtype == dtype
    environments = set()
    for b in range(batch):
        window = sequences.observations[:, b].numpy()
        e = next(e for e in range(n_envs) if any(np.array_equal(s["o"], window[0]) for s in play.log[e][-64:]))
        environments.add(e)
        place = find(play.log[e], window[0])
        for t in range(length):  # consecutive, so it cannot straddle the write head
            slot = play.log[e][place + t]
            assert np.array_equal(window[t], slot["o"])
            assert bool(sequences.starts[t, b]) == slot["start"]
            assert bool(sequences.acted[t, b]) == slot["acted"]
            assert bool(sequences.terminated[t, b]) == slot["end"]
            if slot["acted"]:
                assert int(sequences.actions[t, b]) == slot["a"]
                assert float(sequences.rewards[t, b]) == slot["r"]
    assert environments == set(range(n_envs))


def test_every_window_is_drawn_and_none_straddles_the_write_head() -> None:
    space = spaces.Box(0, 1000, (1,), np.float32)
    buffer = SequenceReplayBuffer(10, space, ACTIONS, seed=0)
    for n in range(17):  # slots 7..16 remain
        buffer.add(np.array([[n]]), np.array([[n + 1]]), np.array([0]), np.array([0.0]), np.array([False]), [{}])
    drawn = buffer.sample_sequences(500, 4).observations[:, :, 0].T.int().tolist()
    assert {tuple(row) for row in drawn} == {(n, n + 1, n + 2, n + 3) for n in range(7, 14)}


def test_a_full_ring_of_stacks_offers_only_stacks_that_it_can_rebuild() -> None:
    play = Play(1, (2,), 4, np.float32)
    buffer = SequenceReplayBuffer(20, play.space, ACTIONS, frame_stack=4)
    for _ in range(15):
        play.step(buffer)
    before = buffer.windows(5)[0]
    assert before == buffer.head[0] - 4
    while buffer.head[0] <= 30:
        play.step(buffer)
    assert buffer.windows(5)[0] == 20 - 3 - 4


def test_a_time_limit_keeps_the_observation_to_bootstrap_from_and_a_termination_does_not() -> None:
    space = spaces.Box(0, 1000, (1,), np.float32)

    def filled(info: dict[str, Any]) -> list[list[Any]]:
        buffer = SequenceReplayBuffer(20, space, ACTIONS)
        for n in range(3):
            done, infos = np.array([n == 2]), [info if n == 2 else {}]
            buffer.add(np.array([[n]]), np.array([[n + 1]]), np.array([1]), np.array([1.0]), done, infos)
        buffer.add(np.array([[50]]), np.array([[51]]), np.array([1]), np.array([1.0]), np.array([False]), [{}])
        window = buffer.sample_sequences(1, int(buffer.head[0]))
        return [window.observations.flatten().tolist()] + [x[:, 0].int().tolist() for x in window[1:6]]

    assert filled({}) == [[0, 1, 2, 50], [1, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 0]]
    cut = filled({"TimeLimit.truncated": True})
    assert cut[:3] == [[0, 1, 2, 3, 50], [1, 0, 0, 0, 1], [1, 1, 1, 0, 1]]
    assert cut[5] == [0, 0, 0, 0, 0]


def test_a_reset_in_the_middle_of_an_episode_starts_a_new_one_and_learns_nothing_across() -> None:
    space = spaces.Box(0, 1000, (2,), np.float32)
    buffer = SequenceReplayBuffer(40, space, ACTIONS, n_envs=2, frame_stack=2)

    def add(n: int, done: bool = False, age: int = 1) -> None:
        observation = np.array([[n - 1 if age else 0, n]] * 2, np.float32)
        buffer.add(observation, observation, np.zeros(2), np.ones(2), np.array([done, False]), [{}, {}])

    buffer.begin()  # nothing to cut off yet
    add(1, age=0)
    add(2, done=True)  # environment 0 ends here by itself; its next step starts an episode
    buffer.begin()
    add(10, age=0)
    add(11)
    window = buffer.sample_sequences(100, 4)
    for e in range(2):
        assert buffer.acted[e, :4].tolist() == [True, e == 0, True, True]  # cut off only where an episode was going on
        assert buffer.age[e, :4].tolist() == [0, 1, 0, 1]
    assert set(window.starts[2].tolist()) == {True}
    assert window.observations[2].tolist() == [[0, 10]] * 100


def test_labels_travel_with_their_slot() -> None:
    play = Play(2, (3,), 1, np.float32)
    buffer = SequenceReplayBuffer(60, play.space, ACTIONS, n_envs=2, n_labels=3, seed=0)
    for _ in range(70):
        play.step(buffer, labels=True)
    sequences = buffer.sample_sequences(50, 3)
    assert sequences.labels is not None
    everything = play.log[0] + play.log[1]
    for b in range(50):
        for t in range(3):
            slot = everything[find(everything, sequences.observations[t, b].numpy())]
            if slot["acted"]:
                assert np.array_equal(sequences.labels[t, b].numpy(), slot["label"])
    unlabelled = SequenceReplayBuffer(10, play.space, ACTIONS)
    unlabelled.add(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(1), np.zeros(1), np.zeros(1, bool), [{}])
    assert unlabelled.sample_sequences(1, 1).labels is None


def test_sampling_is_fixed_by_its_seed() -> None:
    def draw(seed: int) -> list[float]:
        play = Play(1, (3,), 1, np.float32)
        buffer = SequenceReplayBuffer(60, play.space, ACTIONS, seed=seed)
        for _ in range(50):
            play.step(buffer)
        return buffer.sample_sequences(10, 3).observations.flatten().tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@pytest.mark.parametrize("steps", [0, 7, 60])
def test_a_buffer_goes_on_from_its_state(steps: int) -> None:
    """Whether it has room left in some environments, in none, or holds nothing."""
    play = Play(2, (3,), 2, np.float32)
    buffer = SequenceReplayBuffer(40, play.space, ACTIONS, n_envs=2, frame_stack=2, n_labels=3, seed=0)
    for _ in range(steps):
        play.step(buffer, labels=True)
    other = Play(2, (3,), 2, np.float32, seed=9)
    again = SequenceReplayBuffer(40, play.space, ACTIONS, n_envs=2, frame_stack=2, n_labels=3, seed=5)
    for _ in range(30):
        other.step(again, labels=True)
    again.load_state_dict(copy.deepcopy(buffer.state_dict()))
    assert again.size() == buffer.size()
    twin = copy.deepcopy(play)
    for _ in range(25):
        play.step(buffer, labels=True)
        twin.step(again, labels=True)
        length = min(5, int(buffer.head.min()))
        drawn, redrawn = buffer.sample_sequences(20, length), again.sample_sequences(20, length)
        assert all(th.equal(a, b) for a, b in zip(drawn, redrawn, strict=True))


def test_a_hundred_thousand_pong_steps_take_at_most_0_8_gigabytes() -> None:
    pong = spaces.Box(0, 255, (4, 84, 84), np.uint8)
    buffer = SequenceReplayBuffer(100_000, pong, ACTIONS, n_envs=8, frame_stack=4)
    arrays = [value for value in vars(buffer).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) <= 0.8e9
    assert buffer.bytes <= 0.8e9
    assert buffer.bytes == pytest.approx(sum(array.nbytes for array in arrays), rel=0.01)


def test_too_little_memory_is_told_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=300_000_000))
    monkeypatch.setattr(np, "zeros", lambda *_: pytest.fail("allocated"))
    with pytest.raises(
        UserError, match=r"a replay buffer of 100,000 steps needs 0\.7 GB and 0\.3 GB are free; use a buffer_size of at most"
    ):
        SequenceReplayBuffer(100_000, spaces.Box(0, 255, (4, 84, 84), np.uint8), ACTIONS, frame_stack=4)


def test_padding_that_is_not_zero_is_an_error() -> None:
    buffer = SequenceReplayBuffer(20, spaces.Box(0, 255, (4, 5, 5), np.uint8), ACTIONS, frame_stack=4)
    repeated = np.ones((1, 4, 5, 5), np.uint8)
    with pytest.raises(UserError, match=r"older frames are not zero.*frame_stack"):
        buffer.add(repeated, repeated, np.zeros(1), np.zeros(1), np.zeros(1, bool), [{}])


def test_no_sequence_yet_is_an_error() -> None:
    play = Play(2, (3,), 1, np.float32)
    buffer = SequenceReplayBuffer(20, play.space, ACTIONS, n_envs=2)
    with pytest.raises(UserError, match="no sequence of 1 steps yet"):
        buffer.sample_sequences(4, 1)
    play.step(buffer)
    assert buffer.windows(1).tolist() == [1, 1]
    buffer.sample_sequences(4, 1)
    with pytest.raises(UserError, match="no sequence of 11 steps yet"):
        buffer.sample_sequences(4, 11)  # longer than the ring of one environment
    buffer.reset()
    assert buffer.size() == 0
    with pytest.raises(UserError, match="no sequence of 1 steps yet"):
        buffer.sample_sequences(4, 1)


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.Dict({"a": spaces.Discrete(2)})])
def test_observations_that_are_no_arrays_are_an_error(space: spaces.Space[Any]) -> None:
    with pytest.raises(UserError, match="arrays"):
        SequenceReplayBuffer(10, space, ACTIONS)


def test_a_stack_that_does_not_divide_the_channels_is_an_error() -> None:
    with pytest.raises(UserError, match="no stack of 3 frames; give the number that VecFrameStack has"):
        SequenceReplayBuffer(10, spaces.Box(0, 255, (4, 5, 5), np.uint8), ACTIONS, frame_stack=3)
