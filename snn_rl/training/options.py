"""What a user asks of ``python -m snn_rl.train``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snn_rl.core.errors import UserError
from snn_rl.sb3.hints import Hints
from snn_rl.store.checkpoints import SECONDS
from snn_rl.store.files import folder_name
from snn_rl.tasks.recipes import TAUGHT, Recipe


@dataclass(frozen=True)
class Options:
    """The options that decide what is trained; a sweep replaces some of them.

    Attributes:
        env: id of the environment.
        T: timesteps per decision to end with; 0 for the ANN alone.
        ann: ``shipped``, ``scratch``, ``none`` or the path of an agent or a zip; None for the default.
        extractor: ``MODULE:CLASS`` of a zip's feature extractor.
        activation: ``ReLU`` or ``Tanh``, of a zip that does not say it.
        vecnormalize: the file of the statistics under which a zip's agent learnt.
        trust_pickle: that pickle may be read.
        objective: ``distill`` or ``td``; None for the default.
            "--surrogate": self.surrogate is not None,
        seed: of all trainings.
        out: folder of the run; None for the default.
        carry: whether agents keep their membranes between environment steps.
        frames: that the agents see; None for the default.
        total_timesteps: environment steps of each training by reward; None for the recipe's.
        start: T of the conversion and the first stage; None for the recipe's.
        ablate: also convert straight to T, and train straight at T from there.
        recipe_set: numbers of the recipe that are set anew, see :func:`~snn_rl.tasks.recipe_files.changed`.
        checkpoint_every: seconds between two checkpoints of a training, at least.
    """

    env: str
    T: int = 1
    ann: str | None = None
    extractor: str | None = None
    activation: str | None = None
    vecnormalize: Path | None = None
    trust_pickle: bool = False
    objective: str | None = None
    spike_penalty: float | None = None
    surrogate: str | None = None
    seed: int = 0
    out: Path | None = None
    carry: bool = True
    frames: int | None = None
    total_timesteps: int | None = None
    start: int | None = None
    ablate: bool = False
    recipe_set: Sequence[str] = ()
    checkpoint_every: float = SECONDS

    def check(self) -> None:
        """Refuses numbers out of range, and options that would have no effect.

        Raises:
            UserError: naming the option.
        """
        if self.T < 0:
            raise UserError(f"--T must be at least 1, or 0 for the ANN alone, got {self.T}")
        if self.total_timesteps is not None and self.total_timesteps < 1:
            raise UserError(f"--total-timesteps must be at least 1, got {self.total_timesteps}")
        if self.start is not None and self.start < self.T:
            raise UserError(f"--start must be at least --T, got {self.start} and {self.T}")
        for_spiking_agents = {
            "--surrogate": self.surrogate is not None,
            "--no-carry": not self.carry,
            "--start": self.start is not None,
            "--ablate": self.ablate,
        }
        for option in (option for option, given in for_spiking_agents.items() if given and not self.spiking):
            raise UserError(f"{option} is for spiking agents; leave it out with --T 0")
        if self.spike_penalty is not None and not self.spiking and self.objective != TAUGHT:
            raise UserError("--spike-penalty with --T 0 is for an ANN that another one teaches: add --objective distill")
        for option in self.hints.given if not (self.ann or "").endswith(".zip") else ():
            raise UserError(f"--{option.replace('_', '-')} is for an SB3 zip; give one with --ann")

    @property
    def hints(self) -> Hints:
        """What is said of a zip that it does not say itself."""
        return Hints(self.extractor, self.activation, self.vecnormalize, self.trust_pickle)

    @property
    def spiking(self) -> bool:
        """Whether spiking agents are made."""
        return self.T > 0

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.out or Path("runs") / f"{folder_name(self.env)}-T{self.T}-seed{self.seed}"

    def default_objective(self, recipe: Recipe) -> str:
        """The objective where the user names none: an ANN learns by reward."""
        return recipe.prune.objective if self.spiking else "td"

    def chosen_objective(self, recipe: Recipe) -> str:
        """What agents learn by."""
        return self.objective or self.default_objective(recipe)

    def makes_agents(self, recipe: Recipe) -> bool:
        """Whether agents are made besides the ANN that is trained by reward."""
        return self.spiking or self.chosen_objective(recipe) == TAUGHT

    def random_weights(self, recipe: Recipe) -> bool:
        """Whether spiking agents start from random weights. Where something is hidden that is the default of learning by
        reward: the weights of an ANN that sees it would teach."""
        by_reward = self.spiking and self.chosen_objective(recipe) != TAUGHT
        return self.ann == "none" or (self.ann is None and by_reward and bool(recipe.teacher))


def with_penalty(recipe: Recipe, penalty: float | None, objective: str) -> Recipe:
    """The recipe with the weight of a ``--spike-penalty`` option.

    Raises:
        UserError: for an objective that has no such term.
    """
    if penalty is None:
        return recipe
    if objective != TAUGHT:
        raise UserError("--spike-penalty is a term of the objective distill; leave it out with --objective td")
    return dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, spike_penalty=penalty))


def with_surrogate(recipe: Recipe, surrogate: str | None) -> Recipe:
    """The recipe with the gradient of a ``--surrogate`` option."""
    if surrogate is None:
        return recipe
    return dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, surrogate=surrogate))
