"""Recipes: ``envs/*.toml`` as frozen dataclasses, with everything that is needed to build an environment and train for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

from snn_rl.tasks import catalogue

OBJECTIVES = ("distill", "td")
TAUGHT = "distill"  # the objective that needs a teacher; by all others an agent learns from reward
MEMORY = 0.05  # part of a membrane that a decision leaves for the next one
REMEMBERED = 24  # learnt environment steps of a sequence in which a student has to remember
MANY_DECAYS = (0.05, 0.98)  # of a layer whose neurons remember for different times
ATARI_STARTS = 30  # no-op steps 1..30 at an episode's start (Mnih et al. 2015)


@dataclass(frozen=True)
class TrainRecipe:
    """How the ANN is trained. The words are Stable-Baselines3's."""

    total_timesteps: int = 100_000  # environment steps
    n_envs: int = 1  # environments that are played side by side
    net_arch: tuple[int, ...] = (256, 256)  # hidden layers, for vectors; images have NatureCNN
    learning_rate: float = 1e-3
    data_init: bool = False  # training by reward begins with currents and Q-values that fit the first random play
    adam_eps: float = 1e-8  # added to the root of Adam's second moments: where gradients are small, steps are small too
    cool_down: float = 0.0  # last part of training, in which the learning rate falls linearly to 0
    buffer_size: int = 50_000  # environment steps that are remembered
    learning_starts: int = 1_000  # environment steps of random play first
    batch_size: int = 64  # transitions per gradient step
    gamma: float = 0.99  # discount of an environment step
    n_steps: int = 3  # rewards that a return sums before it bootstraps
    train_freq: int = 4  # environment steps, over all environments, between trainings
    gradient_steps: int = 1  # of one training
    target_update_interval: int = 500  # environment steps
    tau: float = 1.0  # part of the target network that each of its updates replaces
    exploration_fraction: float = 0.2  # part of training in which epsilon falls from 1
    exploration_final_eps: float = 0.05  # what it falls to
    max_grad_norm: float = 10.0  # gradients are clipped to it
    eval_freq: int = 10_000  # environment steps between evaluations; the best network is kept
    eval_episodes: int = 30  # of each evaluation
    stop_at: float | None = None  # mean return of an evaluation at which training ends early


@dataclass(frozen=True)
class ConvertRecipe:
    """How an ANN becomes a spiking network."""

    percentile: float = 99.0  # a layer's threshold is this percentile of its currents
    observations: int = 2_000  # of the ANN's play, from which thresholds come
    recurrent: bool = False  # synapses within each dense layer, from its spikes to its current at the next timestep
    standardize: bool = False  # the first layer's currents, where something is hidden from the agent
    decay: float | tuple[float, float] | None = None  # of each layer; a pair: of its channels, spread between the two

    def decay_at(self, T: int) -> float | tuple[float, float]:
        """The decay of neurons that decide in T timesteps. Where the recipe does not say it, a membrane keeps a twentieth
        from one decision to the next: with nothing hidden, more would be noise."""
        return MEMORY ** (1 / max(T, 1)) if self.decay is None else self.decay

    def for_memory(self) -> Self:
        """The same for a student that has to remember, where the recipe says nothing of decays."""
        return self if self.decay is not None else dataclasses.replace(self, decay=MANY_DECAYS)


@dataclass(frozen=True)
class PruneRecipe:
    """How each stage of temporal pruning is trained. Sequences are in environment steps."""

    objective: str = "distill"  # distill (the ANN teaches) or td (by reward)
    start: int = 1  # timesteps per decision of the conversion and the first stage; at most T: straight at T
    gradient_steps: tuple[int, ...] = (3_000,)  # at T = 1, 2, 3, ...; the last number also for every higher T
    learning_rate: float = 1e-3  # of weights; it falls linearly to 0 in each stage
    surrogate: str = "triangle:0.3"  # gradient that spikes pass backward, SHAPE:HEIGHT, in every training of a spiking agent
    neuron_rate: float = 10.0  # of thresholds and decays, times learning_rate: they have to move by their own size; 0 freezes
    train_decays: bool | None = None  # None: only where memory can serve, as docs/how-it-works.md tells
    batch_size: int = 64  # sequences per gradient step
    sequence_length: int = 4  # learnt environment steps of a sequence
    burn_in: int = 2  # environment steps before them, which only bring up the membranes
    n_envs: int = 32  # in which the student plays: it has to meet its own mistakes
    play_steps: int = 1  # environment steps in each environment per gradient step
    buffer_size: int = 50_000  # environment steps that are remembered
    learning_starts: int = 1_000  # environment steps of play before the first gradient step
    exploration_eps: float = 0.05  # probability of a random action of the student
    temperature: float = 0.5  # of the distilled policies, in median gaps between the two best actions in the ANN's play
    spike_penalty: float = 0.0  # weight of the spikes' cost in the loss of distillation
    evaluations: int = 12  # in a stage (in its last half where it cannot end early); the best network is kept
    eval_episodes: int = 20  # of each evaluation
    stop_at_share: float = 0.97  # of the ANN's return: a stage ends once it surely reaches that; 0: never

    def stages(self, T: int) -> range:
        """The timesteps per decision of the stages that lead to T: from ``start`` down, or T alone."""
        return range(max(self.start, T), T - 1, -1)

    def steps(self, T: int) -> int:
        """Gradient steps of the stage at T; an ANN (T = 0) that is distilled has those of T = 1."""
        return self.gradient_steps[min(max(T, 1), len(self.gradient_steps)) - 1]


@dataclass(frozen=True)
class TDRecipe:
    """How a stage is trained by reward (objective td). What is not here is as in ``[train]``."""

    timesteps: int = 100_000  # environment steps of a stage
    learning_rate: float = 1e-4  # at first; it falls linearly, as that of distillation does
    advantage_alpha: float = 0.0  # of advantage learning: for tasks in which the actions' values differ by little; 0 is DQN
    adam_eps: float = 1e-8  # see [train]; a spiking network's gradients are smaller than its ANN's
    batch_size: int = 32  # sequences
    sequence_length: int = 12  # learnt environment steps of a sequence
    burn_in: int = 4  # environment steps before them, which only bring up the membranes
    train_freq: int = 4  # environment steps for each gradient step, over all environments
    evaluations: int = 10  # in the last half of a stage; the best network is kept


@dataclass(frozen=True)
class EvaluateRecipe:
    """How many episodes are played; 30 is every start of a greedy Atari agent without sticky actions."""

    episodes: int = 100


@dataclass(frozen=True)
class Recipe:
    """One environment: how it is built, and how its agents are trained, converted, pruned and evaluated."""

    id: str
    base: str = ""  # id of the environment whose recipe is meant wherever this one says nothing
    frames: int = 1
    spiking_frames: int = 0  # that agents see by default, except an ANN that learns by reward; 0: as many as their ANN
    sticky: float = 0.0  # probability with which the environment repeats the previous action, per emulator frame on Atari
    flicker: float = 0.0  # probability with which the agent does not see a frame
    teacher: str = ""  # id of the environment that is this one with nothing hidden; its ANN can teach
    half: bool = False  # store weights in half precision; an agent is scored as stored
    train: TrainRecipe = field(default_factory=TrainRecipe)
    convert: ConvertRecipe = field(default_factory=ConvertRecipe)
    prune: PruneRecipe = field(default_factory=PruneRecipe)
    td: TDRecipe = field(default_factory=TDRecipe)
    evaluate: EvaluateRecipe = field(default_factory=EvaluateRecipe)
    is_default: bool = False
    module: str = ""  # that registers the environment, where it is one of the user's own

    @property
    def ann_env(self) -> str:
        """Id of the environment of the ANN that is converted and teaches: this one, or the one with nothing hidden."""
        return self.teacher or self.id

    def for_random_weights(self) -> Recipe:
        """The same for a spiking agent that begins with random weights: they are fitted to its first play."""
        return dataclasses.replace(self, train=dataclasses.replace(self.train, data_init=True))

    def for_memory(self) -> Recipe:
        """The same for students of an ANN that remembers, where the recipe is not made for memory already (it says nothing of
        decays): a decay per neuron, which is trained, in sequences that are long enough to remember in."""
        if self.convert.decay is not None:
            return self
        own = self.prune
        prune = dataclasses.replace(
            own,
            train_decays=True,
            sequence_length=max(own.sequence_length, REMEMBERED),
            burn_in=max(own.burn_in, REMEMBERED // 3),
        )
        return dataclasses.replace(self, convert=self.convert.for_memory(), prune=prune)

    def stage(self, objective: str) -> dict[str, Any]:
        """All numbers that a stage of an objective is trained by, as its card holds them."""
        if objective == TAUGHT:
            return listed(self.prune)
        shared = {"eval_episodes": self.prune.eval_episodes, "surrogate": self.prune.surrogate}
        return {**listed(self.train), **listed(self.td), **shared}

    @property
    def atari(self) -> bool:
        """Whether the id is an Atari game of the Arcade Learning Environment."""
        return bool(catalogue.spec(self.id).entry_point == catalogue.ATARI)


def listed(table: Any) -> dict[str, Any]:
    """A table of a recipe as JSON has it: lists in the place of tuples."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(table).items()}


IMAGE_DEFAULTS: dict[str, Any] = {
    "frames": 4,
    "half": True,
    "train": TrainRecipe(
        total_timesteps=2_000_000,
        n_envs=8,
        net_arch=(512,),
        data_init=True,
        learning_rate=1e-4,
        adam_eps=1.5e-4,
        buffer_size=100_000,
        learning_starts=10_000,
        batch_size=32,
        train_freq=4,
        target_update_interval=1_000,
        exploration_fraction=0.1,
        exploration_final_eps=0.01,
        eval_freq=100_000,
        eval_episodes=10,
    ),
    "prune": PruneRecipe(
        learning_rate=3e-4,
        batch_size=16,
        sequence_length=12,
        burn_in=4,
        n_envs=8,
        buffer_size=20_000,
        temperature=2.0,
        evaluations=5,
        eval_episodes=10,
    ),
    "td": TDRecipe(timesteps=1_000_000, learning_rate=3e-4, adam_eps=1e-6),
    "evaluate": EvaluateRecipe(episodes=ATARI_STARTS),
}
