"""The settings of a ``SpikingDQN`` as plain JSON: what ``save`` writes beside Stable-Baselines3's pickles, and what ``load``
reads in their place."""

from __future__ import annotations

import base64
import binascii
import pickletools
import re
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from typing import Annotated, Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_SIZE, MAX_T
from snn_rl.sb3.contents import plain
from snn_rl.sb3.policy import SpikingCnnPolicy, SpikingMlpPolicy, SpikingMultiInputPolicy, SpikingPolicy
from snn_rl.store.schema import Count, Record, Share, Table, Within
from snn_rl.tasks.parts import Joined, Parts

POLICIES = {kind.__name__: kind for kind in (SpikingPolicy, SpikingMlpPolicy, SpikingCnnPolicy, SpikingMultiInputPolicy)}
TRUST = "give trust=True, which executes what the file holds"
One = Annotated[int, Within(1)]
FORMAT = 1  # of saved learners and replay buffers; those that do not say it have it too
MAX_RATE = 1e30  # of a learning rate and the other settings of an optimizer
_PICKLE = ":serialized:"  # Stable-Baselines3's mark


def check_format(number: object, where: str) -> None:
    """Refuses what a later version wrote.

    Raises:
        UserError: naming the file and its format.
    """
    if type(number) is not int or number != FORMAT:
        raise UserError(f"'{where}' has format {str(number)[:20]}; this version of snn_rl reads {FORMAT}")


@dataclass(frozen=True, kw_only=True)
class Numbers(Record):
    """The numbers of a learner, under the names of its attributes. What a file does not say is as in a new learner."""

    verbose: Count | None = None
    seed: Annotated[int, Within(0, 2**32 - 1)] | None = None
    start_time: float | None = None
    num_timesteps: Count | None = None
    total_timesteps: Count | None = field(default=None, metadata={"key": "_total_timesteps"})
    begun_at: Count | None = field(default=None, metadata={"key": "_num_timesteps_at_start"})
    episode_num: Count | None = field(default=None, metadata={"key": "_episode_num"})
    updates: Count | None = field(default=None, metadata={"key": "_n_updates"})
    calls: Count | None = field(default=None, metadata={"key": "_n_calls"})
    progress_remaining: float | None = field(default=None, metadata={"key": "_current_progress_remaining"})
    stats_window_size: One | None = field(default=None, metadata={"key": "_stats_window_size"})
    n_envs: Annotated[int, Within(1, 100_000)] | None = None
    buffer_size: One | None = None
    batch_size: Annotated[int, Within(1, 1_000_000)] | None = None
    learning_starts: Count | None = None
    gradient_steps: Annotated[int, Within(-1)] | None = None
    target_update_interval: One | None = None
    n_steps: One | None = None
    sequence_length: One | None = None
    burn_in: Count | None = None
    T: Annotated[int, Within(0, MAX_T)] | None = None
    tau: Share | None = None
    gamma: Share | None = None
    exploration_initial_eps: Share | None = None
    exploration_final_eps: Share | None = None
    exploration_fraction: Share | None = None
    exploration_rate: Share | None = None
    advantage_alpha: Share | None = None
    warm_up_eps: Share | None = None
    max_grad_norm: Annotated[float, Within(0)] | None = None
    carry: bool | None = None
    double_q: bool | None = None
    data_init: bool | None = None
    bfloat16: bool | None = None
    optimize_memory_usage: bool | None = None
    normalizes_observations: bool | None = None

    @classmethod
    def known(cls, data: Table, where: str) -> Table:
        """Those of a file, by attribute.

        Raises:
            UserError: naming the file and the number that cannot be.
        """
        keys = {part.metadata.get("key", part.name) for part in fields(cls)} - {"more", "nulls"}
        try:
            return cls.from_json({key: data[key] for key in keys & data.keys()}).to_json()
        except ValueError as error:
            raise UserError(f"'{where}' is damaged: {error}; copy or save it anew") from error


def space_to_json(space: spaces.Space[Any]) -> Table | None:
    """A Box or a Discrete space; None for others."""
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    if not isinstance(space, spaces.Box):
        return None
    bounds, pixels = {}, space.parts.pixels if isinstance(space, Joined) else 0  # whose bounds are known
    for name, bound in (("low", space.low[pixels:]), ("high", space.high[pixels:])):
        same = bound.size > 0 and bool((bound == bound.flat[0]).all())
        bounds[name] = bound.flat[0].item() if same else bound.tolist()
    parts = {"parts": space.parts.to_json()} if isinstance(space, Joined) else {}
    return {"shape": list(space.shape), "dtype": str(space.dtype), **bounds, **parts}


def box_of(written: Table, shape: list[int], where: str) -> spaces.Box:
    """The space of observations, of a shape that is known from the network.

    Args:
        written: what :func:`space_to_json` wrote, or what Stable-Baselines3 wrote beside its pickle.
        shape: of an observation.
        where: the file, for messages.
    """
    kind = str(written.get("dtype", "float32"))
    if not re.fullmatch(r"u?int(8|16|32|64)|float(16|32|64)", kind):
        raise UserError(f"'{where}' is damaged: its observations are {kind[:40]!r}, no numbers; copy or save it anew")
    dtype = np.dtype(kind)
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-np.inf, np.inf)
    try:
        if "shape" in written:
            low, high = written["low"], written["high"]
        if "parts" in written:
            parts = Parts.from_json(written["parts"])
            if [parts.size] != shape:
                raise ValueError("its parts are not those of the network")
            of_numbers = (np.broadcast_to(np.asarray(bound, dtype), parts.size - parts.pixels) for bound in (low, high))
            pixels = (np.full(parts.pixels, bound, dtype) for bound in (0, 255))
            return Joined(parts, *(np.concatenate(ends) for ends in zip(pixels, of_numbers, strict=True)))
        least, most = (np.broadcast_to(np.asarray(bound, dtype), shape).copy() for bound in (low, high))
        return spaces.Box(least, most, tuple(shape), dtype.type)
    except (ValueError, TypeError, KeyError, OverflowError, AssertionError) as error:
        raise UserError(
            f"'{where}' is damaged: its observation_space cannot be ({str(error)[:80]}); copy or save it anew"
        ) from error


def discrete_of(written: Table, outputs: int, where: str) -> spaces.Discrete:
    """The space of actions, of which the network has so many values; see :func:`box_of`."""
    try:
        n, start = int(written["n"]), int(written.get("start", 0))
        if n != outputs or abs(start) > MAX_SIZE:
            raise ValueError(n)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        said = f"'{where}' is damaged: its action_space is not that of a network with {outputs} values"
        raise UserError(f"{said}; copy or save it anew") from error
    return spaces.Discrete(n, start=start)


def schedule_to_json(schedule: object) -> float | Table | None:
    """A learning rate: a number, or one of Stable-Baselines3's own schedules; None for another function."""
    match schedule:
        case int() | float():
            return float(schedule)
        case FloatSchedule():
            return schedule_to_json(schedule.value_schedule)
        case ConstantSchedule():
            return float(schedule.val)
        case LinearSchedule():
            return {"start": schedule.start, "end": schedule.end, "end_fraction": schedule.end_fraction}
    return None


def learning_rate_of(written: object, where: str) -> float | LinearSchedule:
    """What :func:`schedule_to_json` wrote.

    Raises:
        UserError: if it is a function of the user's own.
    """
    match written:
        case (int() | float()) as number if not isinstance(number, bool) and 0 <= number <= MAX_RATE:
            return float(number)
        case {"start": float(start), "end": float(end), "end_fraction": float(fraction)} if 0 < fraction <= MAX_RATE:
            if 0 <= start <= MAX_RATE and 0 <= end <= MAX_RATE:
                return LinearSchedule(start, end, fraction)
    if isinstance(written, int | float) or (isinstance(written, dict) and "end_fraction" in written):
        raise UserError(f"'{where}' is damaged: its learning_rate must lie in [0, {MAX_RATE:g}]; copy or save it anew")
    raise UserError(
        f"the learning rate in '{where}' is a function, which only its pickle holds: give "
        f"load(..., learning_rate=...), or {TRUST}"
    )


def train_freq_of(written: object, where: str) -> TrainFreq:
    """``[4, "step"]``, or the constants in an older version's pickle, which is looked at and not executed."""
    if isinstance(written, dict):
        constants = [argument for name, argument in _constants(written) if name.startswith(("BININT", "SHORT_BINUNICODE"))]
        numbers = [one for one in constants if isinstance(one, int)]
        units = [one for one in constants if one in ("step", "episode")]
        written = [numbers[0], units[-1]] if numbers and units else None
    match written:
        case [int(frequency), ("step" | "episode") as unit] if frequency > 0:
            return TrainFreq(frequency, TrainFrequencyUnit(unit))
    raise UserError(
        f"'{where}' is damaged: its train_freq must be a whole number above 0 with 'step' or 'episode'; copy or save it anew"
    )


def policy_of(named: object, pickled: object, where: str) -> type[SpikingPolicy]:
    """The policy's class by its name, or by the name in an older version's pickle, which is looked at and not executed.

    Raises:
        UserError: if it is the user's own.
    """
    if named is None and str(plain(pickled).get("__module__", "")).startswith("snn_rl."):
        named = next((text for _, text in _constants(plain(pickled)) if text in POLICIES), None)
    if not isinstance(named, str) or named not in POLICIES:
        raise UserError(
            f"the policy in '{where}' is of a class of its own, which only its pickle holds: give "
            f"load(..., custom_objects={{'policy_class': YourPolicy}}), or {TRUST}"
        )
    return POLICIES[named]


def optimizer_of(kwargs: Table, where: str) -> Table:
    """The optimizer's class and arguments, of PyTorch's own."""
    given: Table = {}
    name = str(kwargs.get("optimizer_class", ""))
    if name:
        found = re.fullmatch(r"<class 'torch\.optim\.(?:\w+\.)?(\w+)'>", name)
        kind = getattr(th.optim, found[1], None) if found else None
        if not (isinstance(kind, type) and issubclass(kind, th.optim.Optimizer)) or kind is th.optim.Optimizer:
            raise UserError(f"the optimizer in '{where}' is {name[:80]}, which only its pickle holds: {TRUST}")
        given["optimizer_class"] = kind
    if isinstance(kwargs.get("optimizer_kwargs"), dict):
        given["optimizer_kwargs"] = own = kwargs["optimizer_kwargs"]
        try:
            check_plain_numbers(own)
            given.get("optimizer_class", th.optim.Adam)([th.nn.Parameter(th.zeros(1))], lr=1.0, **own)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            said = f"the optimizer_kwargs in '{where}' are none that its optimizer takes ({str(error)[:80]})"
            raise UserError(f"{said}; copy or save it anew") from error
    return given


def check_plain_numbers(group: Table) -> None:
    """Refuses the settings of an optimizer that are more than finite numbers.

    Raises:
        ValueError: naming one.
    """
    for key, value in group.items():
        for number in value if isinstance(value, tuple | list) else (value,):
            if not (number is None or (isinstance(number, bool | int | float) and abs(number) <= MAX_RATE)):
                raise ValueError(f"{key[:40]} = {str(value)[:40]}")


def log_folder_of(written: object, where: str) -> str | None:
    """The folder of TensorBoard's logs, unless it would lead out of the current one."""
    if not isinstance(written, str):
        return None
    path = PurePath(written)
    if path.is_absolute() or ".." in path.parts or written.startswith("~"):
        print(f"'{where}' logs to '{written[:200]}', out of this folder: left out; give load(..., tensorboard_log=FOLDER)")
        return None
    return written


def pickled(value: object) -> bool:
    """Whether Stable-Baselines3 wrote it as a pickle."""
    return isinstance(value, dict) and _PICKLE in value


def _constants(value: Table) -> list[tuple[str, object]]:
    """The instructions of a pickle with their arguments; nothing is executed."""
    try:
        content = base64.b64decode(str(value.get(_PICKLE, "")).encode(), validate=True)[: 1 << 16]
        return [(code.name, argument) for code, argument, _ in pickletools.genops(content)]
    except (ValueError, binascii.Error, IndexError):
        return []
