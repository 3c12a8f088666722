"""The schema of ``card.json``: what an agent is, how it was made, how it plays. Torch is not needed.

``from_json`` checks every field once; ``to_json`` gives back the same JSON. A key that is missing and a key that is null both
read as None, and each is written back as it was. Keys that this version does not know are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Self

from snn_rl.core.errors import UserError
from snn_rl.core.limits import MAX_FRAMES, MAX_LAYERS, MAX_T
from snn_rl.store import integrity
from snn_rl.store.bounded import MAX_JSON, content, parse_json
from snn_rl.store.episodes import MAX_TEXT, Episode, from_text
from snn_rl.store.files import CARD, EPISODES
from snn_rl.store.integer import Integer
from snn_rl.store.schema import Amount, Count, Record, Share, Table, Within
from snn_rl.store.work import ENVIRONMENT_STEPS as ENVIRONMENT_STEPS
from snn_rl.store.work import GRADIENT_STEPS as GRADIENT_STEPS
from snn_rl.store.work import Work as Work

MAX_NAME = 200
FORMAT = 2  # of new cards; the networks in cards of format 1 call every layer of neurons ReLU
FORMATS = (1, 2)  # that this version reads
Points = list[tuple[Count, float]]
"""Something over the course of a training: the work done and a value, in pairs."""


@dataclass(frozen=True)
class Source(Record):
    """Another agent that this one was made from or taught by: its label ``ENV/NAME``, how it was made, and the fingerprint of
    its network (of random weights, which depend on the number of threads, the seed instead)."""

    name: str
    how: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Quality(Record):
    """How a converted network differs from its ANN on recorded play.

    ``agreement``: share of decisions with the same action. ``q_error``: root mean square difference of the Q-values, in units
    of reward (of an agent that gives logits: of these). ``spike_rate``: spikes per neuron and timestep, by layer.
    """

    agreement: Share
    q_error: Amount
    spike_rate: dict[str, Share]


@dataclass(frozen=True)
class TrainingSeeds(Record):
    """Of a shipped agent: its own training seed, those of all trainings in ``episodes.csv``, and how it was chosen."""

    shipped: int | None = None
    every: list[str] = field(default_factory=list, metadata={"key": "all"})
    chosen_by: str | None = field(default=None, metadata={"key": "chosen by"})


@dataclass(frozen=True)
class Compared(Record):
    """A student beside its ANN at the end of its training: the mean returns of both from the same starts, and the part of the
    ANN's return that was asked for. ``sure``: the student has it with 95 % confidence, and the training ended for that."""

    student: float
    ann: float
    share: Share
    sure: bool

    def keeps(self, share: float) -> bool:
        """Whether the student's mean return is at least that part of its ANN's."""
        return self.student >= self.ann - (1 - share) * abs(self.ann)


@dataclass(frozen=True, kw_only=True)
class Made(Record):
    """How an agent was made. What does not apply, or what an older card does not say, is None.

    ``random``: the seed of random weights. ``num_timesteps``: of a Stable-Baselines3 zip. ``recipe``: the numbers of the
    recipe's tables. ``selection``: the mean returns of the evaluations by which the network was chosen. ``curve``: what the
    learner said of itself (``return``: mean of its last 100 episodes; ``loss``: mean of 50 gradient steps). ``conversion``:
    by ``T=n``. ``compared``: of students that may end early. ``logits``: the values are logits of a policy (of PPO, A2C or
    RecurrentPPO, or of an agent that one of them taught), no Q-values.
    """

    how: str | None = None
    logits: bool | None = None
    random: str | None = None
    num_timesteps: Count | None = None
    origin: Source | None = field(default=None, metadata={"key": "from"})
    teacher: Source | None = None
    objective: str | None = None
    spike_penalty: Amount | None = None
    seed: int | None = None
    recipe: Table | None = None
    work: Work | None = None
    seconds: Amount | None = None
    selection: Points | None = None
    compared: Compared | None = None
    curve: dict[str, Points] | None = None
    command: str | None = None
    conversion: dict[str, Quality] | None = None
    versions: dict[str, str] | None = None
    training_seeds: TrainingSeeds | None = None

    @property
    def untrained(self) -> bool:
        """Whether the agent is a conversion or has random weights."""
        return self.conversion is not None or self.random is not None

    def __post_init__(self) -> None:
        if self.objective is not None and self.teacher is None:  # a stage says that it had none
            object.__setattr__(self, "nulls", self.nulls | {"teacher"})


@dataclass(frozen=True)
class Returns(Record):
    """Of the episodes of one evaluation; ``ci95`` is the bootstrap interval of ``iqm``."""

    mean: float
    std: Amount
    iqm: float
    ci95: tuple[float, float]
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Opponents(Record):
    """ANNs of an agent's shape, in microjoules per decision; see :mod:`snn_rl.measure.opponents`.

    ``dense``: every multiplication. ``nonzero``: those by zero left out. ``sparse``: the same of an ANN that was trained to be
    less active. ``changes``: what changed since the last decision alone, the lower one of both ANNs.
    """

    dense: Amount
    nonzero: Amount | None = None
    sparse: Amount | None = None
    changes: Amount | None = None

    @property
    def strongest(self) -> float:
        """The least that any of them takes."""
        return min(one for one in (self.dense, self.nonzero, self.sparse, self.changes) if one is not None)


@dataclass(frozen=True, kw_only=True)
class Energy(Record):
    """Per decision, energies in microjoules; see :mod:`snn_rl.measure.energy`. The fields without ``ann`` in their names, but
    for the first four, are of spiking networks; those with ``change`` are of both. ``opponents_missing``: why an opponent is
    null."""

    ann_uj: Amount
    technology: str | None = None
    convention: str | None = None
    macs: Amount | None = None
    effective_macs: Amount | None = None
    ann_effective_uj: Amount | None = None
    acs: Amount | None = None
    acs_by_layer: dict[str, Amount] | None = None
    neuron_updates: Amount | None = None
    first_layer_uj: Amount | None = None
    accumulate_uj: Amount | None = None
    analog_uj: Amount | None = None
    neuron_uj: Amount | None = None
    membrane_uj: Amount | None = None
    snn_uj: Amount | None = None
    ratio: Amount | None = None
    snn_synaptic_uj: Amount | None = None
    ratio_synaptic: Amount | None = None
    snn_first_layer_times_T_uj: Amount | None = None  # noqa: N815 (a key of cards)
    ratio_first_layer_times_T: Amount | None = None  # noqa: N815 (a key of cards)
    change_macs: Amount | None = None
    change_accesses: Amount | None = None
    change_updates: Amount | None = None
    change_uj: Amount | None = None
    opponents: Opponents | None = None
    opponents_missing: dict[str, str] | None = None
    ratio_strongest: Amount | None = None


@dataclass(frozen=True, kw_only=True)
class Score(Record):
    """What an evaluation found: the object that ``evaluate --json`` writes, without its episodes.

    ``agent``: its label. ``weights``: the network's fingerprint. ``carry``: whether membranes were carried in that play.
    ``spike_rate``: spikes per neuron and timestep, by layer; of spiking networks. ``engine``: what computed, of integers.
    """

    agent: str
    weights: str | None = None
    env: str
    T: Count
    frames: Annotated[int, Within(1)]
    carry: bool
    epsilon: Share
    sticky: Share
    returns: Returns = field(metadata={"key": "return"})
    spike_rate: dict[str, Share] | None = None
    engine: str | None = None
    energy: Energy | None = None
    versions: dict[str, str]

    @property
    def uj(self) -> float | None:
        """Energy per decision in microjoules: of a spiking network everything counted, of an ANN dense."""
        return None if self.energy is None else self.energy.snn_uj if self.T else self.energy.ann_uj

    def __post_init__(self) -> None:
        if self.T and self.energy is not None:
            for name in ("snn_uj", "snn_synaptic_uj", "snn_first_layer_times_T_uj"):
                if getattr(self.energy, name) is None:
                    raise ValueError(f"energy.{name} is missing")


@dataclass(frozen=True, kw_only=True)
class Card(Record):
    """``card.json``. The weights are in a file of their own; ``v_th`` and ``decay`` (one or many per layer) are for readers.

    ``module``: the one that registers the environment, where it is one of the user's own. ``network``: the layers. ``files``:
    SHA-256 sums of the files beside it, ``sha256`` its own: see :mod:`snn_rl.store.integrity`. Older cards have none.
    ``integer``: the form of the numbers, of an agent that computes with integers.
    """

    format: int = FORMAT
    env: str
    module: str | None = None
    name: str
    T: Annotated[int, Within(0, MAX_T)]
    frames: Annotated[int, Within(1, MAX_FRAMES)]
    carry: bool
    observation_shape: list[Annotated[int, Within(1)]]
    input_scale: Amount
    network: list[Table]
    v_th: list[float]
    decay: list[Share | list[Share]]
    integer: Integer | None = None
    made: Made
    scores: dict[str, Score]
    files: dict[str, str] | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        for key in ("env", "name"):
            value = getattr(self, key)
            if not value.isprintable() or not 0 < len(value) <= MAX_NAME:
                raise ValueError(f"{key} must be printable text of 1 to {MAX_NAME} characters")
        if ":" in self.env:  # Gymnasium would import what is before it
            raise ValueError(f"env must be an id without a module, got '{self.env[:60]}'; 'module' names that")
        if self.observation_shape and self.observation_shape[0] % self.frames:
            raise ValueError(f"observation_shape has {self.observation_shape[0]} rows, which are no {self.frames} frames")
        if self.input_scale <= 0:
            raise ValueError(f"input_scale must be above 0, got {self.input_scale}")
        if len(self.network) > MAX_LAYERS:
            raise ValueError(f"network has {len(self.network):,} layers; more than {MAX_LAYERS} are refused")
        for n, v_th in enumerate(self.v_th):
            if v_th <= 0:
                raise ValueError(f"v_th[{n}] must be above 0, got {v_th}")

    def sealed(self, files: Mapping[str, str]) -> Self:
        """The card with the sums of the files beside it, and its own."""
        card = replace(self, files=dict(files), sha256=None)
        return replace(card, sha256=integrity.of_card(card.to_json()))

    @classmethod
    def from_json(cls, value: object, where: str = "") -> Self:
        """Reads a card of any format in ``FORMATS``; see :meth:`Record.from_json`."""
        number = value.get("format") if isinstance(value, dict) else None
        if type(number) is int and number not in FORMATS:
            raise UserError(f"the card has format {number}; this version of snn_rl reads {' and '.join(map(str, FORMATS))}")
        return super().from_json(value, where)

    @property
    def layers(self) -> list[Table]:
        """The network with its neurons called the same in every format."""
        return [{**layer, "type": "LIF"} if layer.get("type") == "ReLU" else layer for layer in self.network]

    def to_text(self) -> str:
        """``card.json``.

        Raises:
            ValueError: for a number that JSON cannot hold.
        """
        return json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"


def read(folder: Path) -> tuple[Card, list[Episode]]:
    """The card and the episodes of an agent's folder.

    Raises:
        UserError: if the card is of an unknown format, or a file is missing, damaged or too large.
    """
    try:
        found = {CARD: content(folder / CARD, MAX_JSON), EPISODES: content(folder / EPISODES, MAX_TEXT)}
        integrity.check_listed(folder, found)
        value = parse_json(found[CARD])
        card = Card.from_json(value)
        integrity.check_card(value)
        integrity.check_files(card.files or {}, {EPISODES: found[EPISODES]})
        return card, from_text(found[EPISODES].decode())
    except UserError as error:
        raise UserError(f"'{folder}': {error}") from error
    except (OSError, ValueError) as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> UserError:
    """What is said of a folder that cannot be read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"the agent in '{folder}' is damaged ({reason}); restore the folder or make it anew")
