"""Temporal pruning of one agent: from T to T - 1 timesteps per decision, each stage starting from the network of the one
before."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch as th

from snn_rl.core.errors import UserError
from snn_rl.sb3.hints import NO_HINTS, Hints
from snn_rl.sb3.zips import load_hinted
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.checkpoints import SECONDS
from snn_rl.store.files import begin_run
from snn_rl.tasks.environments import load_recipe
from snn_rl.training.conversion import load_ann, view_of
from snn_rl.training.options import with_penalty, with_surrogate
from snn_rl.training.stages import pruning_job, run_stage


@dataclass(frozen=True)
class PruneOptions:
    """What a user asks of ``python -m snn_rl.prune``.

    Attributes:
        agent: folder, shipped name or zip of the spiking agent.
        T: timesteps per decision to end with.
        out: folder of the stages.
        env: id of the environment; None for the agent's own.
        ann: folder, shipped name or zip of the teacher; None for none.
        extractor: ``MODULE:CLASS`` of a zip's feature extractor.
        activation: ``ReLU`` or ``Tanh``, of a zip that does not say it.
        vecnormalize: the file of the statistics under which the agents of zips learnt.
        trust_pickle: that pickle may be read.
        objective: ``distill`` or ``td``; None for ``distill`` where there is a teacher.
        spike_penalty: weight of the spikes' cost in the loss; None for the recipe's.
        surrogate: gradient that spikes pass backward; None for the recipe's.
        seed: of all trainings.
        checkpoint_every: seconds between two checkpoints of a stage, at least.
    """

    agent: str
    T: int
    out: Path
    env: str | None = None
    ann: str | None = None
    extractor: str | None = None
    activation: str | None = None
    vecnormalize: Path | None = None
    trust_pickle: bool = False
    objective: str | None = None
    spike_penalty: float | None = None
    surrogate: str | None = None
    seed: int = 0
    checkpoint_every: float = SECONDS

    @property
    def chosen_objective(self) -> str:
        """What the stages learn by."""
        return self.objective or ("distill" if self.ann else "td")

    def hints_of(self, path: str | None) -> Hints:
        """What is said of an agent that is a zip; nothing of others."""
        return self.hints if path and path.endswith(".zip") else NO_HINTS

    @property
    def hints(self) -> Hints:
        """What is said of zips."""
        return Hints(self.extractor, self.activation, self.vecnormalize, self.trust_pickle)


def prune(options: PruneOptions, device: th.device, resume: bool = False, *, tune: bool = False, processes: int = 1) -> Agent:
    """All stages from the agent's own T down to ``options.T``, each kept in ``out/T<n>``; returns the last.

    Args:
        options: what to prune.
        device: where to train.
        resume: go on with what is in the folder.
        tune: find out whether more threads pay, see :func:`~snn_rl.training.stages.run_stage`.
        processes: evaluate in at most so many, where that pays.

    Raises:
        UserError: if the agent is not spiking or has fewer timesteps, or if its ANN is needed or sees something else.
        KeyboardInterrupt: after a checkpoint was written.
    """
    if not any((path or "").endswith(".zip") for path in (options.agent, options.ann)):
        for option in options.hints.given:
            raise UserError(f"--{option.replace('_', '-')} is for an SB3 zip; neither --agent nor --ann is one")
    agent = load_hinted(options.agent, options.env, options.hints_of(options.agent))
    if not agent.network.spiking:
        raise UserError(f"'{options.agent}' is an ANN; convert it first (python -m snn_rl.convert)")
    if not 1 <= options.T <= agent.network.T:
        raise UserError(f"--T must lie between 1 and the agent's {agent.network.T}, got {options.T}")
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    ann = load_ann(options.ann, recipe, options.hints_of(options.ann)) if options.ann else None
    same = ann is None or (ann.observation_shape, ann.frames) == (agent.observation_shape, agent.frames)
    if ann is not None and not same and not view_of(ann, recipe, agent.frames).teacher_sees_more:
        raise UserError(f"'{options.ann}' sees other observations than '{options.agent}'; give the ANN it was converted from")
    objective = options.chosen_objective
    recipe = with_surrogate(with_penalty(recipe, options.spike_penalty, objective), options.surrogate)
    stages = range(agent.network.T, options.T - 1, -1)
    pruning_job(agent, ann, recipe, options.T, options.out, objective, options.seed)  # refuses before anything is written
    settings = {
        "env": agent.env,
        "agent": agents.fingerprint(agent.network),
        "objective": objective,
        "spike_penalty": recipe.prune.spike_penalty,
        "seed": options.seed,
    }
    with begin_run(options.out, settings, resume):
        for T in stages:
            folder = options.out / f"T{T}"
            job = pruning_job(agent, ann, recipe, T, folder, objective, options.seed)
            job = dataclasses.replace(job, checkpoint_every=options.checkpoint_every)
            agent = run_stage(job, device, tune=tune, processes=processes)
            best = max((value for _, value in agent.made.selection or ()), default=float("nan"))
            print(f"T={T}: {folder}, return {best:.2f} in selection, {agent.made.seconds or 0:.0f} s")
    return agent
