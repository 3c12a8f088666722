"""A whole run: the plan of some options, and carrying it out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch as th

from snn_rl.core.errors import UserError
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.files import begin_run
from snn_rl.store.lock import Lock
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.recipe_files import changed
from snn_rl.tasks.recipes import TAUGHT, Recipe, listed
from snn_rl.training import planning, td
from snn_rl.training.conversion import convert, load_ann, narrowed
from snn_rl.training.jobs import Job
from snn_rl.training.match import KEPT
from snn_rl.training.options import Options
from snn_rl.training.plan import CONVERTED, GIVEN, NARROWED, RANDOM, Given, Plan, PlannedAgent
from snn_rl.training.stages import run_stage


class ToScore(NamedTuple):
    """An agent of a run, the recipe of its environment, and whether it is also played with its membranes zeroed."""

    agent: Agent
    recipe: Recipe
    zeroed: bool


def plan_for(options: Options) -> Plan:
    """Reads the recipes and the ANN that the options ask for, and plans; nothing is written.

    Raises:
        UserError: if something is missing or does not fit, see :func:`~snn_rl.training.planning.plan`.
    """
    options.check()
    recipe = changed(load_recipe(options.env), options.recipe_set)
    make_env(recipe).close()  # an environment that cannot be built ends the run here
    where, given = planning.ann_to_look_at(options, recipe, agents.shipped()), None
    if where is not None:
        ann = load_ann(where, recipe, options.hints)
        if options.spiking and options.chosen_objective(recipe) != TAUGHT:
            td.check_returns(ann)
        given = Given(where, ann.env, ann.frames, ann.network.remembers)

    def recipes(env: str, frames: int | None) -> Recipe:
        recipe = load_recipe(env, frames)
        return changed(recipe.for_memory() if given and given.remembers else recipe, options.recipe_set)

    return planning.plan(options, given, recipes)


@dataclass
class _Run:
    """A plan that is being carried out, with the agents that are made so far."""

    plan: Plan
    device: th.device
    tune: bool
    processes: int
    made: dict[str, Agent] = field(default_factory=dict)

    def given(self, planned: PlannedAgent) -> Agent:
        """The ANN in the run's folder; at first it is copied there."""
        plan, ann, folder = self.plan, self.plan.ann, self.plan.out / planned.name
        assert ann is not None
        if (folder / agents.CARD).is_file():
            there = agents.load(folder)
            if (there.env, there.frames) != (ann.env, ann.frames):
                raise UserError(
                    f"'{there.path}' is another ANN than {ann.where} of {ann.frames} frame(s); choose another --out"
                )
            return there
        found = load_ann(ann.where, planned.recipe, plan.options.hints)
        shape, module = found.observation_shape, found.module
        copy = Agent(found.env, planned.name, found.network, shape, found.frames, found.made, module=module)
        agents.save(copy, folder, half=planned.recipe.half)  # scored as stored
        return copy

    def converted(self, planned: PlannedAgent) -> Agent:
        """A conversion in the run's folder; what is there is loaded."""
        recipe, folder, options = planned.recipe, self.plan.out / planned.name, self.plan.options
        if (folder / agents.CARD).is_file():
            there = agents.load(folder)
            agents.check_recipe(there, listed(recipe.convert))
            return there
        ann, frames = self.made[planned.start], planned.view.frames
        agent = convert(ann, recipe, planned.T, seed=options.seed, carry=options.carry, frames=frames, show=True)
        agent.name = planned.name
        agents.save(agent, folder, half=recipe.half)
        return agent

    def narrowed(self, planned: PlannedAgent) -> Agent:
        """The ANN for fewer inputs."""
        return narrowed(self.made[planned.start], planned.recipe, planned.view.frames)

    def random(self, planned: PlannedAgent) -> Agent:
        """A spiking agent with random weights."""
        options, frames = self.plan.options, planned.view.frames
        return td.untrained(planned.recipe, planned.T, seed=options.seed, frames=frames, carry=options.carry)

    def trained(self, planned: PlannedAgent) -> Agent:
        """One training, see :func:`~snn_rl.training.stages.run_stage`."""
        start = self.made.get(planned.start)
        teacher = self.made[self.plan.agents[0].name] if planned.how == TAUGHT else None
        folder, seed = self.plan.out / planned.name, self.plan.options.seed
        job = Job(planned.recipe, planned.how, planned.T, planned.view, seed, folder, start, teacher)
        job = dataclasses.replace(job, checkpoint_every=self.plan.options.checkpoint_every)
        agent = run_stage(job, self.device, tune=self.tune, processes=self.processes)
        print(f"{agent.name} took {agent.made.seconds or 0:.0f} s")
        return agent

    def needed(self) -> Iterator[PlannedAgent]:
        """The agents of the plan, then those that are made only where one of them falls short of its ANN."""
        yield from self.plan.agents
        for otherwise in self.plan.otherwise:
            compared = self.made[otherwise.short].made.compared
            if compared is None or compared.keeps(KEPT):
                continue
            first, last = otherwise.agents[0], otherwise.agents[-1]
            how = f"training straight at T={last.T} is" if first.T == last.T else f"the stages from T={first.T} down are"
            names = ", ".join(planned.name for planned in otherwise.agents)
            returns = f"{compared.student:.2f} and {compared.ann:.2f} from the same starts"
            print(f"{otherwise.short} falls short of its ANN ({returns}), so {how} tried too: {names}")
            yield from otherwise.agents

    def make(self, planned: PlannedAgent) -> Agent:
        """Makes one agent from those that are made already, and remembers it."""
        makers: dict[str, Callable[[PlannedAgent], Agent]] = {
            GIVEN: self.given,
            CONVERTED: self.converted,
            NARROWED: self.narrowed,
            RANDOM: self.random,
        }
        self.made[planned.name] = agent = makers.get(planned.how, self.trained)(planned)
        return agent


def begin(plan: Plan, resume: bool = False) -> Lock:
    """Makes the folder of a run, or takes it to go on; see :func:`~snn_rl.store.files.begin_run`."""
    return begin_run(plan.out, plan.settings, resume)


def carry_out(plan: Plan, device: th.device, *, tune: bool = False, processes: int = 1) -> list[ToScore]:
    """Makes the agents of a plan, each kept in the folder of the run; what is there already is loaded.

    Args:
        plan: what to make.
        device: where to train.
        tune: find out whether more threads pay, see :func:`~snn_rl.training.stages.run_stage`.
        processes: evaluate in at most so many, where that pays.

    Raises:
        UserError: if the folder holds something else.
        KeyboardInterrupt: after a checkpoint was written.
    """
    run, scored = _Run(plan, device, tune, processes), []
    for planned in run.needed():
        agent = run.make(planned)
        if planned.kept:
            own = (agent.env, agent.frames) == (plan.recipe.id, plan.view.frames)
            recipe = plan.recipe if own else load_recipe(agent.env, agent.frames)
            scored.append(ToScore(agent, recipe, planned.zeroed_too(plan.options.T)))
    return scored
