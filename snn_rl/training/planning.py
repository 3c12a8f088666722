"""From options and recipes to a plan, before anything is trained or written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator

from snn_rl.core.errors import UserError
from snn_rl.store.files import folder_name
from snn_rl.tasks.catalogue import base_id
from snn_rl.tasks.recipes import TAUGHT, Recipe
from snn_rl.tasks.view import View
from snn_rl.training.options import Options, with_penalty, with_surrogate
from snn_rl.training.plan import CONVERTED, GIVEN, NARROWED, RANDOM, Given, Otherwise, Plan, PlannedAgent

CHAIN_START = 5  # T of the paper's first stage
SPARSE_STEPS = 1_800  # gradient steps in which an ANN learns to play as it does with less activity

Recipes = Callable[[str, int | None], Recipe]
"""The recipe of an environment's id for agents of that many frames, see :func:`~snn_rl.tasks.environments.load_recipe`."""


def untested(T: int) -> str:
    """What is said of more timesteps than any agent here was trained with."""
    return f"T={T}: agents with more than {CHAIN_START} timesteps per decision are untested"


def ann_to_look_at(options: Options, recipe: Recipe, shipped: Collection[str]) -> str | None:
    """The ANN that the plan has to know: a shipped name or a path; None where none that exists is taken.

    Args:
        options: what the user asked for.
        recipe: of the environment.
        shipped: names of the shipped agents.

    Raises:
        UserError: if a shipped one is asked for and there is none.
    """
    name = f"{folder_name(base_id(recipe.ann_env))}/ann"
    if options.ann is None:
        wanted = options.makes_agents(recipe) and not options.random_weights(recipe)
        return name if wanted and name in shipped else None
    if options.ann in ("none", "scratch"):
        return None
    if options.ann != "shipped":
        return options.ann
    if name not in shipped:
        raise UserError(f"no ANN is shipped for {recipe.ann_env}; use --ann scratch or give the path of one")
    return name


def plan(options: Options, ann: Given | None, recipes: Recipes) -> Plan:
    """Plans a run. Nothing is read but recipes, nothing is written, no network is built.

    Args:
        options: what the user asks for.
        ann: the ANN that :func:`ann_to_look_at` names.
        recipes: of the environments.

    Raises:
        UserError: if the options contradict each other or the recipe, or the ANN does not fit.
    """
    options.check()
    base = recipes(options.env, None)
    objective, random = options.chosen_objective(base), options.random_weights(base)
    wanted = options.frames or (base.spiking_frames if options.makes_agents(base) else 0) or None
    recipe = _adjusted(base if wanted is None or base.is_default else recipes(options.env, wanted), options, objective)
    if random:
        _check_random(options, objective)
        recipe, ann, note = recipe.for_random_weights(), None, "ANN: none"
    else:
        ann, note = _chosen_ann(options, ann, wanted)
    if options.total_timesteps is not None and ann is not None and (objective == TAUGHT or not options.spiking):
        how = "--ann scratch or --objective td" if options.spiking else "--ann scratch"
        raise UserError(f"--total-timesteps is for training by reward: leave it out, or add {how}")
    frames = wanted or (ann.frames if ann else recipe.frames)
    view, default_frames, agents = View(frames), base.frames, []
    if not random:
        teacher = _given(ann, recipe) if ann else _trained_ann(options, base, recipe, frames, recipes)
        view = View.of(recipe, frames, ann.env if ann else teacher.recipe.id, teacher.view.frames)
        default_frames = base.frames if recipe.teacher else teacher.view.frames
        agents.append(teacher)
        if ann and ann.remembers and options.makes_agents(base) and not options.spiking:
            raise UserError(f"{ann.where} has an LSTM, which teaches spiking agents: give --T 1, or leave out --objective")
        if options.makes_agents(base) and view.frame_by_frame and max(view.frames, view.teacher_frames) > 1:
            raise UserError(f"an agent of {recipe.id} learns from the ANN of {recipe.teacher} frame by frame; use one frame")
    notes = [note] * (options.ann is None) + [untested(options.T)] * (options.T > CHAIN_START)
    made = Plan(options, objective, view, recipe, ann, tuple(agents), notes=tuple(notes))
    if not options.makes_agents(base):
        return made
    if not options.spiking:
        return dataclasses.replace(
            made, agents=(*agents, *_taught_ann(made, default_frames if view.teacher_sees_more else base.frames))
        )
    spiking = _spiking_agents(made, default_frames)
    return dataclasses.replace(made, agents=(*agents, *spiking), otherwise=tuple(_otherwise(made, default_frames)))


def _adjusted(recipe: Recipe, options: Options, objective: str) -> Recipe:
    """The recipe with the numbers of the options."""
    recipe = with_penalty(_budget(recipe, options.total_timesteps), options.spike_penalty, objective)
    recipe = with_surrogate(recipe, options.surrogate)
    if options.start is None:
        return recipe
    return dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, start=options.start))


def _budget(recipe: Recipe, total_timesteps: int | None) -> Recipe:
    """The recipe with another number of environment steps for training by reward.

    Raises:
        UserError: if nothing would be learnt in so few.
    """
    if total_timesteps is None:
        return recipe
    if total_timesteps <= recipe.train.learning_starts:
        raise UserError(
            f"--total-timesteps {total_timesteps:,} is too few: in the first {recipe.train.learning_starts:,} "
            f"(learning_starts) nothing is learnt in {recipe.id}; give more"
        )
    return dataclasses.replace(
        recipe,
        train=dataclasses.replace(recipe.train, total_timesteps=total_timesteps),
        td=dataclasses.replace(recipe.td, timesteps=total_timesteps),
    )


def _check_random(options: Options, objective: str) -> None:
    """Refuses random weights where nothing could be learnt from reward."""
    if not options.spiking or objective == TAUGHT:
        how = "add --objective td" if options.spiking else "--T 0 has --ann scratch"
        raise UserError(f"--ann none is for spiking agents that learn by reward: {how}, or leave it out")


def _chosen_ann(options: Options, ann: Given | None, wanted: int | None) -> tuple[Given | None, str]:
    """The ANN that is taken, None if one is trained from nothing; and what is said of a choice that the user left open."""
    if ann is None or ann.frames >= (wanted or 1):
        return ann, "ANN: shipped" if ann else "ANN: scratch"
    if options.ann is None:
        return None, f"ANN: scratch ({ann.where} sees only {ann.frames} frame(s))"
    raise UserError(f"the ANN sees {ann.frames} frame(s), fewer than {wanted}; leave --frames out or use --ann scratch")


def _given(ann: Given, recipe: Recipe) -> PlannedAgent:
    return PlannedAgent("ann", GIVEN, 0, View(ann.frames), recipe)


def _trained_ann(options: Options, base: Recipe, recipe: Recipe, frames: int, recipes: Recipes) -> PlannedAgent:
    """The ANN that is trained from nothing; one that teaches sees everything."""
    if not options.makes_agents(base):
        return PlannedAgent(f"ann{View(frames).suffix(base.frames)}", "ann", 0, View(frames), recipe)
    if recipe.teacher or frames != base.frames:
        recipe = _budget(recipes(recipe.ann_env, None), options.total_timesteps)
        frames = max(frames, recipe.frames)
    return PlannedAgent("ann", "ann", 0, View(frames), recipe)


def _kind(plan: Plan, default_frames: int) -> tuple[str, str]:
    """What the names of conversions and of trained agents add where something differs from the default: the frames that are
    seen, membranes that are not carried; of trained agents also the objective."""
    kind = plan.view.suffix(default_frames) + ("" if plan.options.carry else "-zeroed")
    default = plan.options.default_objective(plan.recipe)
    return kind, kind if plan.objective == default else f"{kind}-{plan.objective}"


def _begun(plan: Plan, T: int, kind: str) -> PlannedAgent:
    """What training at T begins from: a conversion, or random weights."""
    if not plan.agents:
        return PlannedAgent(f"random-T{T}", RANDOM, T, plan.view, plan.recipe)
    return PlannedAgent(f"converted-T{T}{kind}", CONVERTED, T, plan.view, plan.recipe, plan.agents[0].name)


def _stage(plan: Plan, start: PlannedAgent, T: int, name: str) -> PlannedAgent:
    return PlannedAgent(name, plan.objective, T, plan.view, plan.recipe, start.name)


def _straight(plan: Plan, T: int, default_frames: int) -> tuple[PlannedAgent, PlannedAgent]:
    """Conversion and training straight at T, beside a stage of pruning."""
    untaught, taught = _kind(plan, default_frames)
    start = _begun(plan, T, untaught)
    return start, _stage(plan, start, T, f"direct-T{T}{taught}")


def _spiking_agents(plan: Plan, default_frames: int) -> list[PlannedAgent]:
    """Conversion (or random weights) and all stages of pruning down to T, then those of ``--ablate``."""
    options, recipe, stages = plan.options, plan.recipe, plan.recipe.prune.stages(plan.options.T)
    if options.ablate and len(stages) == 1:
        raise UserError(
            f"--ablate compares with stages from a higher T, but {recipe.id} is trained straight at T={options.T} here; leave "
            "it out"
        )
    untaught, taught = _kind(plan, default_frames)
    agents = [_begun(plan, stages[0], untaught)]
    for T in stages:
        agents.append(_stage(plan, agents[-1], T, f"T{T}{taught}"))
    return [*agents, *_straight(plan, options.T, default_frames)] if options.ablate else agents


def _otherwise(plan: Plan, default_frames: int) -> Iterator[Otherwise]:
    """The other way to a T where the planned one falls short: straight to it for a stage of pruning, stages from a higher T
    down for training straight. None where nothing is compared with the ANN, and no stages where the user asked for none."""
    options, numbers, taught = plan.options, plan.recipe.prune, _kind(plan, default_frames)[1]
    if plan.objective != TAUGHT or not numbers.stop_at_share:
        return
    _, *later = numbers.stages(options.T)  # the first stage is trained straight
    for T in later:
        if not (options.ablate and T == options.T):  # that is made anyway
            yield Otherwise(f"T{T}{taught}", _straight(plan, T, default_frames))
    if not later and options.start is None and options.T < CHAIN_START:
        yield Otherwise(f"T{options.T}{taught}", _chain(plan, default_frames))


def _chain(plan: Plan, default_frames: int) -> tuple[PlannedAgent, ...]:
    """Conversion at a higher T and the stages from there down to T."""
    untaught, taught = _kind(plan, default_frames)
    numbers = dataclasses.replace(plan.recipe.prune, start=CHAIN_START)
    plan = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, prune=numbers))
    chain = [_begun(plan, CHAIN_START, untaught)]
    for T in numbers.stages(plan.options.T):
        chain.append(_stage(plan, chain[-1], T, f"{'pruned-' if T == plan.options.T else ''}T{T}{taught}"))
    return tuple(chain)


def _taught_ann(plan: Plan, default_frames: int) -> list[PlannedAgent]:
    """The ANN that learns from another one: to see less, or, with a penalty on its activity, to compute less."""
    penalty, numbers = plan.options.spike_penalty or 0.0, plan.recipe.prune
    if not plan.view.teacher_sees_more and not penalty:
        raise UserError(
            "an ANN learns from one that sees more than itself, or to compute less: give fewer --frames or --spike-penalty, "
            "or leave out --objective"
        )
    if not plan.view.teacher_sees_more:  # it begins as what its teacher is
        numbers = dataclasses.replace(numbers, gradient_steps=(SPARSE_STEPS,))
    recipe = dataclasses.replace(plan.recipe, prune=dataclasses.replace(numbers, spike_penalty=penalty))
    start = PlannedAgent("narrowed", NARROWED, 0, plan.view, recipe, plan.agents[0].name)
    untaught, taught = _kind(plan, default_frames)
    name = f"ann{untaught}-sparse" if penalty else f"ann{taught}"
    return [start, PlannedAgent(name, plan.objective, 0, plan.view, recipe, start.name)]
