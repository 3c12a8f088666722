"""Replay of sequences, from which a network with a membrane learns. Each frame is stored once.

Stable-Baselines3's buffer keeps single transitions and each observation twice, with all its stacked frames: 5.6 GB for
100,000 Pong steps. Here a slot holds the newest frame of one observation: 0.7 GB.

The slots of one environment, in time::

    observation  o0    o1    o2 (ended) | o0    o1    o2    o3*  | o0 ...
    start        1     0     0            1     0     0     0      1
    acted        1     1     1            1     1     1     0      1

An episode that *terminates* needs no observation after its last action. One that is *cut off* by a time limit does, to
bootstrap from: it gets a slot of its own (o3*) in which nothing was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import psutil
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_OBSERVED
from snn_rl.sb3.packing import stored
from snn_rl.sb3.sequences import Sequences

RINGS = ("frames", "action", "reward", "age", "acted", "terminated", "labels")
NEVER = np.iinfo(np.int64).max
TOLD_BYTES = 100e6  # a buffer above this is announced even when SB3's verbose is 0


class ReplayState(TypedDict):
    """What :meth:`SequenceReplayBuffer.state_dict` gives: tensors and plain values only."""

    buffer_size: int
    rings: dict[str, list[Tensor]]
    """By name one tensor per environment: the slots of its ring that hold something. None at all where they are kept in
    segments, see :class:`~snn_rl.sb3.ring.ReplayRing`."""
    head: Tensor
    next_age: Tensor
    rng: dict[str, Any]


@dataclass
class Journal:
    """What a buffer needs to go back to where it was marked: its counters then, and what was in the slots written since."""

    head: NDArray[np.int64]
    next_age: NDArray[np.int64]
    lost: list[tuple[int, int, list[Any]]]


class SequenceReplayBuffer(ReplayBuffer):
    """Uniform replay of sequences, one ring of slots per environment.

    Args:
        buffer_size: slots over all environments.
        observation_space: vector, or image with the channels first.
        action_space: discrete.
        device: where samples go.
        n_envs: environments.
        frame_stack: K where observations are stacks of K frames along the first axis, padded with zeros before an
            episode's first frame (as by ``VecFrameStack``); only the newest frame is then stored.
        n_labels: numbers stored with each slot, 0 for none.
        seed: of the sampling.
        optimize_memory_usage: accepted because Stable-Baselines3 passes it; frames are always stored once.
        handle_timeout_termination: see ReplayBuffer; must stay true.

    Raises:
        UserError: if the buffer would not fit into the free memory, before anything is allocated.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: th.device | str = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        frame_stack: int = 1,
        n_labels: int = 0,
        seed: int | None = None,
        verbose: int = 0,
    ) -> None:
        slots = max(buffer_size // n_envs, 1)
        frame, dtype, self.packing = stored(observation_space, frame_stack)
        self.bytes = slots * n_envs * (int(np.prod(frame)) * dtype.itemsize + 17 + 4 * n_labels)
        if verbose or self.bytes > TOLD_BYTES:
            print(f"replay buffer: {slots * n_envs:,} steps in {self.bytes / 1e6:,.0f} MB")
        free = psutil.virtual_memory().available
        if self.bytes > free:
            raise UserError(
                f"a replay buffer of {slots * n_envs:,} steps needs {self.bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are "
                f"free; use a buffer_size of at most {int(slots * n_envs * 0.8 * free / self.bytes):,}"
            )
        super().__init__(1, observation_space, action_space, device, 1)  # the parent's arrays stay empty
        self.buffer_size, self.n_envs, self.frame_stack, self.n_labels = slots, n_envs, frame_stack, n_labels
        self.rng = np.random.default_rng(seed)
        size = (n_envs, slots)
        self.frames = np.zeros((*size, *frame), dtype)
        self.action = np.zeros(size, np.int32)
        self.reward = np.zeros(size, np.float32)
        self.age = np.zeros(size, np.int32)  # steps since the episode's start
        self.acted = np.zeros(size, np.bool_)
        self.terminated = np.zeros(size, np.bool_)
        self.labels = np.zeros((*size, n_labels), np.float32)
        self.head = np.zeros(n_envs, np.int64)  # slots ever written, per environment
        self.next_age = np.zeros(n_envs, np.int64)
        self.settled = np.full(n_envs, NEVER)  # the first slot that was changed after it was written
        self.journal: Journal | None = None

    def size(self) -> int:
        """Slots that hold something, over all environments."""
        return int(np.minimum(self.head, self.buffer_size).sum())

    def reset(self) -> None:
        self.head[:] = 0
        self.next_age[:] = 0

    def clear(self) -> None:
        """Makes it what it was when it was new."""
        self.reset()
        for name in RINGS:
            getattr(self, name)[:] = 0
        self.settled[:] = NEVER
        self.journal = None

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
        labels: NDArray[Any] | None = None,
    ) -> None:
        """Adds one step of every environment. ``next_obs`` is read only where a time limit cut the episode off."""
        action = np.asarray(action).reshape(self.n_envs)
        if not np.isfinite(reward).all():
            raise UserError("a reward is NaN or infinite, and what learns from it is lost; mend the environment")
        for e in range(self.n_envs):
            cut = bool(done[e]) and bool(infos[e].get("TimeLimit.truncated", False))
            slot = self._write(e, obs[e])
            self.action[e, slot], self.reward[e, slot] = action[e], reward[e]
            self.acted[e, slot], self.terminated[e, slot] = True, bool(done[e]) and not cut
            if labels is not None:
                self.labels[e, slot] = labels[e]
            if cut:
                slot = self._write(e, next_obs[e])
                self.acted[e, slot], self.terminated[e, slot] = False, False
            if done[e]:
                self.next_age[e] = 0

    def begin(self) -> None:
        """Says that the environments were reset: whatever comes next starts an episode in each of them."""
        for e in range(self.n_envs):
            if self.next_age[e]:  # what came before is cut off there, with nothing to bootstrap from
                self.acted[e, (self.head[e] - 1) % self.buffer_size] = False
                self.next_age[e] = 0
                self.settled[e] = min(self.settled[e], self.head[e] - 1)
        self.journal = None

    def _write(self, e: int, observation: NDArray[Any]) -> int:
        stack = observation.reshape(self.frame_stack, -1, *self.frames.shape[3:])
        if self.next_age[e] == 0 and stack[:-1].any():
            raise UserError(
                "the first observation of an episode is a stack whose older frames are not zero; build the environment "
                "with zero padding (as VecFrameStack does) or pass replay_buffer_kwargs={'frame_stack': 1}"
            )
        if (self.packing is not None or self.frames.dtype.kind == "f") and not (np.abs(stack[-1]) <= MAX_OBSERVED).all():
            raise UserError(
                f"an observation holds NaN or infinity, or a number beyond {MAX_OBSERVED:g}, and what learns from it is lost; "
                "mend the environment"
            )
        slot = int(self.head[e] % self.buffer_size)
        if self.journal is not None:
            self.journal.lost.append((e, slot, [getattr(self, name)[e, slot].copy() for name in RINGS]))
        self.frames[e, slot] = stack[-1] if self.packing is None else self.packing.packed(stack[-1])
        self.age[e, slot] = self.next_age[e]
        self.head[e] += 1
        self.next_age[e] += 1
        return slot

    def sample_sequences(self, batch_size: int, length: int) -> Sequences:
        """Draws ``batch_size`` windows of ``length`` consecutive slots, uniformly. A window may hold the end of one episode
        and the beginning of the next; ``starts`` says where.

        Raises:
            UserError: if no environment has that many consecutive slots yet.
        """
        choices = self.windows(length)
        if not choices.any():
            raise UserError(f"the replay buffer holds no sequence of {length} steps yet; raise learning_starts or buffer_size")
        pick = self.rng.integers(0, choices.sum(), batch_size)
        e = np.searchsorted(np.cumsum(choices), pick, side="right")
        begin = self._oldest()[e] + pick - (np.cumsum(choices) - choices)[e]
        slots = (begin + np.arange(length)[:, None]) % self.buffer_size  # (L, B)
        age = self.age[e, slots]
        device = self.device
        labels = th.as_tensor(self.labels[e, slots], device=device) if self.n_labels else None
        return Sequences(
            th.as_tensor(self._stacks(e, begin, length, age), device=device),
            th.as_tensor(age == 0, device=device),
            th.as_tensor(self.acted[e, slots], device=device),
            th.as_tensor(self.action[e, slots].astype(np.int64), device=device),
            th.as_tensor(self.reward[e, slots], device=device),
            th.as_tensor(self.terminated[e, slots], device=device),
            labels,
        )

    def state_dict(self) -> ReplayState:
        """All that the buffer holds, and its random numbers. The tensors share its memory: save or copy them before it is
        written to again."""
        filled = np.minimum(self.head, self.buffer_size)
        return ReplayState(
            buffer_size=self.buffer_size,
            rings={
                name: [th.from_numpy(ring[:n]) for ring, n in zip(getattr(self, name), filled, strict=True)] for name in RINGS
            },
            head=th.from_numpy(self.head),
            next_age=th.from_numpy(self.next_age),
            rng=dict(self.rng.bit_generator.state),
        )

    def load_state_dict(self, state: ReplayState) -> None:
        """Puts a :meth:`state_dict` back.

        Raises:
            UserError: if it is of a buffer for other observations, of another size or for another number of environments.
        """
        names = RINGS if state["rings"] else ()  # else the slots have been put back already
        same = state["buffer_size"] == self.buffer_size and len(state["head"]) == self.n_envs
        for name in names:
            saved, own = state["rings"][name], getattr(self, name)
            same = same and len(saved) == len(own) and all(slots.shape[1:] == own.shape[2:] for slots in saved)
        if not same:
            raise UserError(
                f"the state is of another replay buffer than this one of {self.n_envs} environments with "
                f"{self.buffer_size:,} slots each; build it with the same buffer_size, environments and frames"
            )
        for name in names:
            for ring, slots, held in zip(getattr(self, name), state["rings"][name], self.head, strict=True):
                ring[: len(slots)] = slots.numpy()
                ring[len(slots) : held] = 0  # as in a new buffer; beyond is nothing yet
        self.head[:], self.next_age[:] = state["head"].numpy(), state["next_age"].numpy()
        self.rng.bit_generator.state = state["rng"]

    def mark(self) -> None:
        """Remembers where the buffer stands, for :meth:`rollback`."""
        self.journal = Journal(self.head.copy(), self.next_age.copy(), [])

    def rollback(self) -> None:
        """Goes back to where :meth:`mark` was; nothing may have been sampled since."""
        assert self.journal is not None
        for e, slot, values in reversed(self.journal.lost):
            for name, value in zip(RINGS, values, strict=True):
                getattr(self, name)[e, slot] = value
        self.head, self.next_age = self.journal.head, self.journal.next_age
        self.mark()

    def windows(self, length: int) -> NDArray[np.int64]:
        """Number of windows of ``length`` consecutive slots in each environment, ``(n_envs,)``."""
        return np.maximum(self.head - length - self._oldest() + 1, 0)

    def _oldest(self) -> NDArray[np.int64]:
        """First slot whose stack can be put together: a full ring has lost the frames before its oldest slot."""
        first = np.maximum(self.head - self.buffer_size, 0)
        return np.where(first > 0, first + self.frame_stack - 1, 0)

    def _stacks(self, e: NDArray[Any], begin: NDArray[Any], length: int, age: NDArray[Any]) -> NDArray[Any]:
        """Puts the stacked frames together again, ``(L, B, *observation)``."""
        K = self.frame_stack
        slots = (begin + np.arange(1 - K, length)[:, None]) % self.buffer_size
        frames = self.frames[e, slots]  # (K - 1 + L, B, *frame)
        if K == 1:
            return frames if self.packing is None else self.packing.unpacked(frames)
        stacks = np.stack([frames[k : k + length] for k in range(K)], axis=2)  # (L, B, K, *frame), oldest first
        for k in range(K - 1):
            stacks[:, :, k][age < K - 1 - k] = 0
        return stacks.reshape(length, len(begin), -1, *frames.shape[3:])
