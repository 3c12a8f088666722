"""The whole path for one environment: ANN, conversion, temporal pruning, evaluation, report."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch as th

from snn_rl import agents, td
from snn_rl.agents import Agent
from snn_rl.console import run
from snn_rl.convert import convert, load_ann
from snn_rl.environments import Recipe, load_recipe, make_env
from snn_rl.errors import UserError
from snn_rl.evaluate import add_score, describe, evaluate, write_json
from snn_rl.keeper import Keeper
from snn_rl.prune import OBJECTIVES, prune_stage, selector

START_T = 5  # timesteps per decision at which pruning begins
SETTINGS = "settings.json"


def train_ann(recipe: Recipe, folder: Path, *, frames: int, seed: int, device: th.device) -> Agent:
    """Trains the ANN with DQN (Double DQN, n-step returns), keeps the best network by evaluation, saves it in ``folder``.

    Raises:
        KeyboardInterrupt: after a checkpoint was written; called again, it goes on from there.
    """
    if (folder / agents.CARD).is_file():
        return agents.load(folder)
    begin = time.monotonic()
    settings = recipe.train
    model = td.build(recipe, 0, seed=seed, frames=frames, carry=False, device=device)
    network = model.policy.q_net.network
    points = list(range(settings.eval_freq, settings.total_timesteps + 1, settings.eval_freq)) or [settings.total_timesteps]
    keeper = Keeper(
        folder.with_name(f".{folder.name}.checkpoint"),
        network,
        settings.total_timesteps,
        unit="step",
        description=f"{recipe.id} ANN",
        points=points,
        evaluate=selector(recipe, settings.eval_episodes, frames, seed),
        state=lambda: td.state(model),
        restore=lambda saved: td.restore(model, saved),
        stop_at=settings.stop_at,
        identity={"env": recipe.id, "seed": seed, "frames": frames, "total": settings.total_timesteps},
    )
    keeper.resume()
    with keeper:
        td.learn(model, keeper, folder.parent / "tensorboard" / "ann")
    keeper.finish()
    made = {
        "how": f"DQN from nothing, {keeper.done:,} environment steps, best of {len(keeper.evaluations)} evaluations",
        "seed": seed,
        "train": dataclasses.asdict(settings),
        "work": keeper.done,
        "seconds": round(time.monotonic() - begin, 1),
        "selection": keeper.evaluations,
        "command": agents.command(),
        "versions": agents.versions(),
    }
    shape = make_env(recipe, frames=frames).observation_space.shape or ()
    agent = Agent(recipe.id, "ann", network.cpu(), shape, frames, made)
    agents.save(agent, folder, half=recipe.half)
    keeper.remove()
    return agent


def _first_ann(choice: str | None, recipe: Recipe, out: Path, frames: int | None, seed: int, device: th.device) -> Agent:
    """The ANN to start from, in ``out/ann``: a shipped or given one, or one trained here."""
    folder = out / "ann"
    if (folder / agents.CARD).is_file():
        return agents.load(folder)
    shipped = f"{recipe.id}/ann"
    if choice is None:
        choice = "shipped" if shipped in agents.shipped() and frames in (None, recipe.frames) else "scratch"
        print(f"ANN: {choice}" + (f" ({shipped})" if choice == "shipped" else ""))
    if choice == "scratch":
        return train_ann(recipe, folder, frames=frames or recipe.frames, seed=seed, device=device)
    if choice == "shipped" and shipped not in agents.shipped():
        raise UserError(f"no ANN is shipped for {recipe.id}; use --ann scratch or give the path of one")
    ann = load_ann(shipped if choice == "shipped" else choice, recipe.id)
    if frames is not None and frames != ann.frames:
        raise UserError(f"the ANN sees {ann.frames} frame(s), not {frames}; leave --frames out or use --ann scratch")
    ann = Agent(recipe.id, "ann", ann.network, ann.observation_shape, ann.frames, ann.made)
    agents.save(ann, folder, half=recipe.half)  # scored as stored
    return ann


def _score(agent: Agent, recipe: Recipe, seed: int | None, ablate: bool = False) -> None:
    """Evaluates a saved agent by the recipe's protocol, where asked for with the membrane zeroed too; stores it."""
    assert agent.path is not None
    changed = False
    for zeroed in (False, True) if ablate and agent.network.carry else (False,):
        name = "greedy, membrane zeroed" if zeroed else "greedy"
        if name in agent.scores:
            continue
        agent.network.carry = bool(agent.network.carry and not zeroed)
        result = evaluate(agent, recipe, progress=True)
        agent.network.carry = agent.network.carry or zeroed
        add_score(agent, result, seed, zeroed)
        print(("membrane zeroed: " if zeroed else "") + describe(result))
        changed = True
    if changed:
        agents.save(agent, agent.path, half=recipe.half, replace=True)


def _settings(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    return {
        "env": args.env,
        "seed": args.seed,
        "frames": args.frames,
        "carry": not args.no_carry,
        "ann": args.ann,
        "objective": args.objective or recipe.prune.objective,
        "total_timesteps": args.total_timesteps,
    }


def _prepare(out: Path, settings: dict[str, Any], resume: bool) -> None:
    """Makes the run's folder, or checks that it is the one to resume."""
    written = out / SETTINGS
    if not resume:
        agents.check_new(out)
        out.mkdir(parents=True)
    elif written.is_file():
        try:
            before = json.loads(written.read_text())
        except ValueError as error:
            raise UserError(f"'{written}' is damaged; remove '{out}' to start anew") from error
        for key, value in settings.items():
            if before.get(key) != value:
                raise UserError(f"'{out}' was begun with {key} = {before.get(key)!r}, not {value!r}; use the same options")
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"'{out}' is no run that could be resumed; choose another --out")
    write_json(settings, written)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.train``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.train",
        description="Trains a spiking agent: ANN, conversion at T=5, temporal pruning down to T, evaluation, report.",
        epilog="example: python -m snn_rl.train --env PongNoFrameskip-v4 --T 1",
    )
    parser.add_argument("--env", required=True, help="Gymnasium id")
    parser.add_argument("--T", type=int, default=1, help="timesteps per decision to end with; 0 trains the ANN alone")
    parser.add_argument(
        "--ann", help="shipped, scratch, or the path of an agent or SB3 zip (default: shipped if there is one)"
    )
    parser.add_argument("--objective", choices=OBJECTIVES, help="of pruning; default: the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/<env>-T<T>-seed<seed>")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--no-carry", action="store_true", help="the membranes start from rest at every decision")
    parser.add_argument("--frames", type=int, help="frames per observation; default: the recipe's")
    parser.add_argument("--total-timesteps", "-n", type=int, help="environment steps of training by reward (ANN, td)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    if args.T < 0:
        raise UserError(f"--T must be at least 1, or 0 for the ANN alone, got {args.T}")
    if args.total_timesteps is not None and args.total_timesteps < 1:
        raise UserError(f"--total-timesteps must be at least 1, got {args.total_timesteps}")
    recipe = load_recipe(args.env)
    if recipe.is_default:
        print(f"{args.env} has no recipe: using defaults ({recipe.frames} frame(s), {recipe.train.total_timesteps:,} steps)")
    if args.total_timesteps is not None:
        recipe = dataclasses.replace(
            recipe,
            train=dataclasses.replace(recipe.train, total_timesteps=args.total_timesteps),
            prune=dataclasses.replace(recipe.prune, td_timesteps=args.total_timesteps),
        )
    make_env(recipe, frames=args.frames).close()  # what cannot be built is said before anything is written
    device = agents.device(args.device)
    out = args.out or Path("runs") / f"{args.env.replace('/', '-')}-T{args.T}-seed{args.seed}"
    _prepare(out, _settings(args, recipe), args.resume)
    ann = _first_ann(args.ann, recipe, out, args.frames, args.seed, device)
    made = [ann]
    if args.T:
        objective = args.objective or recipe.prune.objective
        first = max(START_T, args.T)
        folder = out / f"converted-T{first}"
        if (folder / agents.CARD).is_file():
            agent = agents.load(folder)
        else:
            agent = convert(ann, recipe, first, seed=args.seed, carry=not args.no_carry, show=True)
            agents.save(agent, folder, half=recipe.half)
        made.append(agent)
        for T in range(first, args.T - 1, -1):
            stage = out / f"T{T}"
            agent = prune_stage(agent, ann, recipe, T, stage, objective=objective, seed=args.seed, device=device)
            made.append(agent)
            print(f"T={T} took {agent.made['seconds']:.0f} s")
    for agent in made:  # after all training, so that nothing waits for it
        _score(agent, recipe, agent.made.get("seed"), ablate=agent is made[-1])
    from snn_rl import report  # matplotlib is slow to import

    return report.main([str(out), "--out", str(out / "report")])


if __name__ == "__main__":
    run(main)
