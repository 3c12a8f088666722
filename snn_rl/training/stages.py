"""Stages: one training each, all run by the same function."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import torch as th

from snn_rl.core import threads
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made, Work
from snn_rl.store.checkpoints import States
from snn_rl.store.provenance import command, versions
from snn_rl.tasks.environments import load_recipe, look
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.recipes import OBJECTIVES, TAUGHT, Recipe
from snn_rl.tasks.resuming import blamed
from snn_rl.tasks.view import View
from snn_rl.training import td, tuning
from snn_rl.training.checkpoints import Checkpoint, GlobalRandom, Stateful
from snn_rl.training.conversion import view_of
from snn_rl.training.curve import Curve
from snn_rl.training.jobs import Goal, Job, Learner
from snn_rl.training.learners import LEARNERS
from snn_rl.training.match import Match, Returns, confirming_returns
from snn_rl.training.selection import Selection, selector
from snn_rl.training.watch import Watch


def run_stage(job: Job, device: th.device, show: bool = True, *, tune: bool = False, processes: int = 1) -> Agent:
    """Does one training and saves the best network of its evaluations as an agent in ``job.folder``.

    A finished training is loaded; an interrupted one goes on where its checkpoint stands.

    Args:
        job: what to train.
        device: where.
        show: progress bar.
        tune: measure whether learning is faster with more threads than torch computes with now, and use them if it is.
        processes: evaluate in at most so many, where that pays.

    Raises:
        UserError: if the folder or the checkpoint holds another training.
        KeyboardInterrupt: after a checkpoint was written.
    """
    kind = LEARNERS[job.objective]
    goal = kind.goal(job.recipe, job.T)
    if (job.folder / agents.CARD).is_file():
        agent = _finished(job, goal)
        States(job.checkpoint).remove()  # what was interrupted between the two
        return agent
    if show:
        print(f"{job.title}: at most {goal.total:,} {goal.unit}, written to {job.folder}")
    th.manual_seed(job.seed)
    learner = kind.of(job, device)
    shape = look(job.recipe, job.view.frames)
    speed = tuning.Threads()
    with _watch(job, goal, learner, show, processes, speed) as watch:
        if not watch.resume():
            speed.choose(job, learner.network, shape, tune)
            if speed.measured:
                watch.write()  # another measurement could end otherwise, and threads change the last bit of a sum
        if show:
            print(f"{job.title}: {speed.why}")
        with threads.using(speed.n):
            learner.learn(watch, job.folder.parent / "tensorboard" / job.folder.name)
    watch.selection.choose(learner.network)
    made, module = _made(job, goal, watch), job.recipe.module
    agent = Agent(job.recipe.id, job.folder.name, learner.network.cpu(), shape, job.view.frames, made, module=module)
    agents.save(agent, job.folder, half=job.recipe.half)
    watch.checkpoint.remove()
    return agent


def _watch(job: Job, goal: Goal, learner: Learner, show: bool, processes: int, speed: tuning.Threads) -> Watch:
    start, teacher = job.parents()
    identity = {
        **goal.numbers,
        "env": job.recipe.id,
        "T": job.T,
        "frames": job.view.frames,
        "seed": job.seed,
        "objective": job.objective,
        "spike_penalty": job.spike_penalty,
        "from": start and start.to_json(),
        "teacher": teacher and teacher.to_json(),
        "total": goal.total,
        "weight_bits": job.weight_bits,
    }
    progress, curve = Progress(goal.total, goal.unit, job.title, show), Curve()
    evaluate = blamed(job.recipe.id)(selector(job.recipe, goal.episodes, job.view.frames, job.seed, processes))
    selection = Selection(goal.points, evaluate, goal.stop_at, _match(job, processes))
    parts: dict[str, Stateful] = {
        "learner": learner,
        "progress": progress,
        "selection": selection,
        "curve": curve,
        "threads": speed,
        "random": GlobalRandom(),
    }
    checkpoint = Checkpoint(job.checkpoint, identity, parts, learner.ring, job.checkpoint_every)
    return Watch(learner.network, progress, selection, checkpoint, curve, learner.rollback)


def _match(job: Job, processes: int) -> Match | None:
    """What ends the training of a spiking student early."""
    share = job.recipe.prune.stop_at_share
    if job.teacher is None or not job.T or not share:
        return None
    ann, recipe = job.teacher, load_recipe(job.teacher.env, job.teacher.frames)
    returns = blamed(job.recipe.id)(partial(confirming_returns, seed=job.seed, processes=processes))

    def of_student(network: QNetwork, more: bool) -> Returns:
        return returns(network, job.recipe, job.view.frames, more=more)

    def of_ann(more: bool) -> Returns:
        return returns(ann.network, recipe, ann.frames, more=more)

    return Match(of_student, of_ann, share, more=not job.recipe.atari)


def _made(job: Job, goal: Goal, watch: Watch) -> Made:
    """What the card of the new agent says of its training."""
    start, teacher = job.parents()
    done, evaluations = watch.done, watch.selection.evaluations
    common = Made(
        seed=job.seed,
        recipe=dict(goal.numbers),
        work=Work(done, goal.unit),
        seconds=round(watch.progress.seconds, 1),
        selection=[(int(work), value) for work, value in evaluations],
        curve={name: [(int(work), value) for work, value in points] for name, points in watch.curve.points.items()},
        command=command(),
        versions=versions(),
    )
    if job.start is None:
        how = f"DQN from nothing, {done:,} {goal.unit}, best of {len(evaluations)} evaluations"
        return dataclasses.replace(common, how=how)
    what = "temporal pruning" if job.T < job.start.network.T else "trained"
    return dataclasses.replace(
        common,
        how=f"{what} from {job.start.name}, objective {job.objective}{_bits(job)}",
        logits=(job.teacher or job.start).made.logits,
        origin=start,
        teacher=teacher,
        objective=job.objective,
        spike_penalty=job.spike_penalty,
        compared=watch.selection.compared(watch.network),
    )


def _bits(job: Job) -> str:
    return "" if job.weight_bits is None else f", weights rounded to {job.weight_bits} bits"


def _finished(job: Job, goal: Goal) -> Agent:
    """The agent that is in the folder already, if it is the one that would be trained."""
    agent = agents.load(job.folder)
    made = agent.made
    start, teacher = job.parents()
    for key, before, now in (
        ("seed", made.seed, job.seed),
        ("objective", made.objective, job.objective if job.start else None),
        ("spike_penalty", made.spike_penalty or 0.0, job.spike_penalty),  # older cards do not say it
        ("from", made.origin, start),
        ("teacher", made.teacher, teacher),
        ("number of bits", (made.how or "").endswith(_bits(job)), True),
    ):
        if before != now:
            raise UserError(f"'{job.folder}' holds another agent (its {key} differs); choose another --out or remove it")
    agents.check_recipe(agent, dict(goal.numbers))
    return agent


def train_ann(recipe: Recipe, folder: Path, *, frames: int, seed: int, device: th.device) -> Agent:
    """Trains an ANN with DQN (Double DQN, n-step returns) and saves it in ``folder``; see :func:`run_stage`."""
    return run_stage(Job(recipe, "ann", 0, View(frames), seed, folder), device)


def pruning_job(agent: Agent, ann: Agent | None, recipe: Recipe, T: int, folder: Path, objective: str, seed: int) -> Job:
    """One stage of temporal pruning: an agent's network, fine-tuned at T timesteps per decision.

    Training is by surrogate-gradient back-propagation through time.

    Args:
        agent: the spiking agent to start from: weights, thresholds and decays.
        ann: the teacher, for ``distill``.
        recipe: of the environment.
        T: timesteps per decision of the new agent.
        folder: of the new agent.
        objective: ``distill`` or ``td``.
        seed: of the training.

    Raises:
        UserError: for an unknown objective, ``distill`` without an ANN, or an agent that is an ANN.
    """
    if objective not in OBJECTIVES:
        raise UserError(f"unknown objective '{objective}'; choose from {', '.join(OBJECTIVES)}")
    if not agent.network.spiking:
        raise UserError(f"'{agent.label}' is an ANN; convert it first (python -m snn_rl.convert)")
    if objective == TAUGHT and ann is None:
        raise UserError("the objective 'distill' needs the ANN: give --ann, or use --objective td")
    if objective != TAUGHT:
        td.check_returns(agent)
    teacher = ann if objective == TAUGHT else None
    recipe = recipe.for_memory() if teacher and teacher.network.remembers else recipe
    view = view_of(teacher, recipe, agent.frames) if teacher else View(agent.frames)
    return Job(recipe, objective, T, view, seed, folder, agent, teacher)
