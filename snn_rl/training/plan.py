"""What a run is made of, from its options and its recipe."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.files import begin_run, folder_name
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.view import View
from snn_rl.training.chain import make_agents
from snn_rl.training.conversion import load_ann
from snn_rl.training.stages import train_ann, with_penalty


def _check(args: argparse.Namespace) -> None:
    """Refuses numbers out of range, and options that would do nothing."""
    if args.T < 0:
        raise UserError(f"--T must be at least 1, or 0 for the ANN alone, got {args.T}")
    if args.total_timesteps is not None and args.total_timesteps < 1:
        raise UserError(f"--total-timesteps must be at least 1, got {args.total_timesteps}")
    if args.start is not None and args.start < args.T:
        raise UserError(f"--start must be at least --T, got {args.start} and {args.T}")
    if args.T == 0:
        spiking = {
            "--spike-penalty": args.spike_penalty is not None,
            "--no-carry": args.no_carry,
            "--start": args.start is not None,
            "--ablate": args.ablate,
        }
        for option in (option for option, given in spiking.items() if given):
            raise UserError(f"{option} is for spiking agents; leave it out with --T 0")
    if args.extractor is not None and not (args.ann or "").endswith(".zip"):
        raise UserError("--extractor is for an SB3 zip; give one with --ann")


def _given_ann(choice: str | None, recipe: Recipe, teach: bool, frames: int | None, extractor: str | None) -> Agent | None:
    """The ANN of ``--ann``: a shipped or a given one; None where it is to be trained from nothing. ``teach``: another agent
    is made from it, which sees ``frames``, None for as many as it sees itself."""
    shipped = f"{folder_name(recipe.ann_env)}/ann"
    if choice is None:
        there = agents.load(shipped) if teach and shipped in agents.shipped() else None
        choice = "shipped" if there and there.frames >= (frames or 1) else "scratch"
        why = f" ({shipped} sees only {there.frames} frame(s))" if there and choice == "scratch" else ""
        print(f"ANN: {choice}{why}")
    if choice == "scratch":
        return None
    if choice == "shipped" and shipped not in agents.shipped():
        raise UserError(f"no ANN is shipped for {recipe.ann_env}; use --ann scratch or give the path of one")
    ann = load_ann(shipped if choice == "shipped" else choice, recipe, extractor)
    if frames is not None and frames > ann.frames:
        raise UserError(f"the ANN sees {ann.frames} frame(s), fewer than {frames}; leave --frames out or use --ann scratch")
    return Agent(ann.env, "ann", ann.network, ann.observation_shape, ann.frames, ann.made)


def _trained_ann(args: argparse.Namespace, recipe: Recipe, frames: int, teach: bool, out: Path) -> Agent:
    """The ANN, trained from nothing for ``frames`` frames; one that teaches sees everything."""
    default = load_recipe(args.env).frames
    if teach and (recipe.teacher or frames != default):
        recipe = _budget(load_recipe(recipe.ann_env), args.total_timesteps)
        frames = max(frames, recipe.frames)
    name = "ann" if teach else f"ann{View(frames).suffix(default)}"
    return train_ann(recipe, out / name, frames=frames, seed=args.seed, device=args.device)


def folder_of(args: argparse.Namespace) -> Path:
    """The folder of a run."""
    return Path(args.out or Path("runs") / f"{folder_name(args.env)}-T{args.T}-seed{args.seed}")


def _settings(args: argparse.Namespace, objective: str, frames: int) -> dict[str, Any]:
    return {
        "env": args.env,
        "seed": args.seed,
        "frames": frames,
        "carry": not args.no_carry,
        "ann": args.ann,
        "objective": objective,
        "spike_penalty": args.spike_penalty,
        "start": args.start,
        "total_timesteps": args.total_timesteps,
    }


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
            f"(learning_starts) nothing is learnt in {recipe.id}"
        )
    return dataclasses.replace(
        recipe,
        train=dataclasses.replace(recipe.train, total_timesteps=total_timesteps),
        td=dataclasses.replace(recipe.td, timesteps=total_timesteps),
    )


def work(args: argparse.Namespace) -> list[tuple[Agent, Recipe, bool]]:
    """Trains what the options ask for; returns the agents with their recipes, and whether each is also played zeroed."""
    _check(args)
    recipe = load_recipe(args.env)
    objective = args.objective or (recipe.prune.objective if args.T else "td")
    teach = args.T > 0 or objective == "distill"  # an agent is made from an ANN
    wanted = args.frames or (recipe.spiking_frames if teach else 0) or None
    default = recipe.frames
    if wanted and not recipe.is_default:
        recipe = load_recipe(args.env, wanted)
    recipe = _budget(recipe, args.total_timesteps)
    recipe = with_penalty(recipe, args.spike_penalty, objective)
    if args.start is not None:
        recipe = dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, start=args.start))
    make_env(recipe, frames=wanted).close()  # what cannot be built is said before anything is written
    out = folder_of(args)
    choice, given = args.ann, None
    if choice is None and args.T and objective == "td" and recipe.teacher:
        choice = "none"  # the weights of an ANN that sees what is hidden would teach
        print("ANN: none")
    if choice == "none":
        if not args.T or objective != "td":
            how = "add --objective td" if args.T else "--T 0 has --ann scratch"
            raise UserError(f"--ann none is for spiking agents that learn by reward: {how}, or leave it out")
        recipe = recipe.for_random_weights()
    else:
        given = _given_ann(choice, recipe, teach, wanted, args.extractor)
    if args.total_timesteps is not None and given and (objective != "td" or not args.T):
        how = "--ann scratch or --objective td" if args.T else "--ann scratch"
        raise UserError(f"--total-timesteps is for training by reward: leave it out, or add {how}")
    frames = wanted or (given.frames if given else recipe.frames)
    teacher = (given.env, given.frames) if given else (recipe.ann_env, max(frames, default))
    view = View.of(recipe, frames, *teacher)
    if not args.T and teach and not view.teacher_sees_more:
        raise UserError("an ANN learns from one that sees more than itself: give fewer --frames, or leave out --objective")
    if teach and choice != "none" and recipe.teacher and not recipe.flicker and max(frames, given.frames if given else 1) > 1:
        raise UserError(f"an agent of {recipe.id} learns from the ANN of {recipe.teacher} frame by frame; use one frame")
    if args.ablate and len(recipe.prune.stages(args.T)) == 1:
        raise UserError(
            f"--ablate compares with stages from a higher T, but {recipe.id} is trained straight at T={args.T} here"
        )
    begin_run(out, _settings(args, objective, frames), args.resume)
    ann: Agent | None = None
    if given is None and choice != "none":
        ann = _trained_ann(args, recipe, frames, teach, out)
    elif given is not None and (out / "ann" / agents.CARD).is_file():
        ann = agents.load(out / "ann")
        if (ann.env, ann.frames) != (given.env, given.frames):
            raise UserError(f"'{ann.path}' is another ANN than {given.label} of {given.frames} frame(s); choose another --out")
    elif given is not None:
        ann = given
        agents.save(ann, out / "ann", half=recipe.half)  # scored as stored
    made = [] if ann is None else [ann]
    if teach:
        made += make_agents(
            ann,
            recipe,
            args.T,
            out,
            view=view,
            default_frames=default if ann is None or recipe.teacher else ann.frames,
            carry=not args.no_carry,
            objective=objective,
            seed=args.seed,
            device=args.device,
            ablate=args.ablate,
        )
    scored = []
    for agent in made:
        own = recipe if (agent.env, agent.frames) == (recipe.id, frames) else load_recipe(agent.env, agent.frames)
        scored.append((agent, own, agent.network.T > 0 and agent.network.T == args.T))
    return scored
