"""``python -m snn_rl.prune``: a spiking agent to fewer timesteps per decision."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import ENV_HELP, EXTRACTOR_HELP, PENALTY_HELP, device, environment, penalty, run, seed
from snn_rl.core.errors import UserError
from snn_rl.tasks.recipes import OBJECTIVES


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.prune``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.prune",
        description="Prunes a spiking agent to fewer timesteps per decision, one at a time.",
        epilog="example: python -m snn_rl.prune --agent runs/pong/converted-T5 --T 1 --ann runs/pong/ann --out runs/pruned",
    )
    parser.add_argument("--agent", required=True, help="spiking agent: folder, shipped name, or SpikingDQN zip")
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    parser.add_argument("--T", type=int, required=True, help="timesteps per decision to end with")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stages T<n>")
    parser.add_argument("--ann", help="teacher: agent folder, shipped name, or SB3 DQN zip")
    parser.add_argument("--extractor", metavar="MODULE:CLASS", help=f"{EXTRACTOR_HELP} (of --ann and --agent)")
    parser.add_argument("--objective", choices=OBJECTIVES, help="default: distill where there is --ann, else td")
    parser.add_argument("--spike-penalty", type=penalty, metavar="W", help=PENALTY_HELP)
    parser.add_argument("--seed", type=seed, default=0, help="default 0")
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or auto (default cpu)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.sb3.zips import load_agent
    from snn_rl.store import agents
    from snn_rl.store.files import begin_run
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.training.conversion import load_ann, view_of
    from snn_rl.training.stages import TEACHERLESS, prune, with_penalty

    zips = [path for path in (args.agent, args.ann or "") if path.endswith(".zip")]
    if args.extractor is not None and not zips:
        raise UserError("--extractor is for an SB3 zip; neither --agent nor --ann is one")
    agent = load_agent(args.agent, args.env, args.extractor if args.agent in zips else None)
    if not agent.network.T:
        raise UserError(f"'{args.agent}' is an ANN; convert it first")
    if not 1 <= args.T <= agent.network.T:
        raise UserError(f"--T must lie between 1 and the agent's {agent.network.T}, got {args.T}")
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    ann = load_ann(args.ann, recipe, args.extractor if args.ann in zips else None) if args.ann else None
    same = ann is None or (ann.observation_shape, ann.frames) == (agent.observation_shape, agent.frames)
    if ann is not None and not same and not view_of(ann, recipe, agent.frames).teacher_sees_more:
        raise UserError(f"'{args.ann}' sees other observations than '{args.agent}'; give the ANN it was converted from")
    objective = args.objective or ("distill" if ann else "td")
    if objective == "distill" and ann is None:
        raise UserError(TEACHERLESS)
    recipe = with_penalty(recipe, args.spike_penalty, objective)
    settings = {
        "env": agent.env,
        "agent": agents.fingerprint(agent.network),
        "objective": objective,
        "spike_penalty": recipe.prune.spike_penalty,
        "seed": args.seed,
    }
    begin_run(args.out, settings, args.resume)
    prune(agent, ann, recipe, args.T, args.out, objective=objective, seed=args.seed, device=args.device)
    return 0


if __name__ == "__main__":
    run(main)
