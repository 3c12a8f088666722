"""``python -m snn_rl.evaluate``: reward, spikes, energy and video of an agent."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snn_rl.console import ENV_HELP, add_hints, add_statistics, add_threads, device, environment, run, seed, use_threads
from snn_rl.core.errors import UserError
from snn_rl.measure.technology import names, price_list
from snn_rl.store.files import CARD, check_new, check_writable

if TYPE_CHECKING:
    from snn_rl.measure.scores import Protocol
    from snn_rl.store.agents import Agent
    from snn_rl.tasks.recipes import Recipe


def _check(agent: Agent, recipe: Recipe, args: argparse.Namespace) -> None:
    """Says what could not be written before anything is played."""
    for path in (args.json, args.video):
        if path is not None and path.is_dir():
            raise UserError(f"'{path}' is a folder; give the name of a file")
    if args.video is not None and args.video.suffix != ".mp4":
        raise UserError(f"--video {args.video}: the name must end in .mp4")
    for path in (args.json, args.video):
        if path is not None:
            check_writable(path)
    if args.save:
        if agent.path is None or not agent.path.is_dir():
            raise UserError(
                "--save stores the result in an agent's folder; this agent has none for its environment: give it one with "
                "--out"
            )
        check_writable(agent.path / CARD)
    if (args.save or args.out) and (args.episodes is not None or args.seed or args.technology not in (None, "fp32")):
        raise UserError(
            "--save and --out store scores by the recipe's protocol and in fp32: leave out --episodes, --seed and --technology"
        )
    if (args.save or args.out) and args.engine == "event":
        raise UserError("--save and --out store what the reference counts: leave out --engine; the returns are the same")
    if args.no_carry and not agent.network.T:
        raise UserError(f"'{args.agent}' is an ANN and has no membranes to zero; leave out --no-carry")
    if args.out is not None:
        check_new(args.out)
    if args.video is not None:
        from snn_rl.tasks.environments import make_env

        make_env(recipe, frames=agent.frames, render_mode="rgb_array").close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snn_rl.evaluate",
        description="Plays an agent and measures reward, spikes and energy.",
        epilog="example: python -m snn_rl.evaluate PongNoFrameskip-v4/T1 --json t1.json --video t1.mp4",
    )
    parser.add_argument(
        "agent", help="agent folder, shipped name such as PongNoFrameskip-v4/T1, or zip of SB3 or a SpikingDQN"
    )
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    add_hints(parser)
    add_statistics(parser)
    parser.add_argument(
        "--episodes", type=int, help="default: the recipe's (greedy Atari with nothing hidden: all 30 starts); noisy: 100"
    )
    parser.add_argument("--epsilon", type=float, default=0.0, help="probability of a random action")
    parser.add_argument("--sticky", type=float, help="probability that an action is repeated (default: the environment's own)")
    parser.add_argument("--no-carry", action="store_true", help="zero the membranes at every decision")
    parser.add_argument("--seed", type=seed, default=0, help="of the first episode")
    parser.add_argument("--engine", metavar="torch|event", help="what computes an agent of integers (default: torch)")
    prices = (
        f"prices of the energy figures: {', '.join(names())}, or a TOML file of your own (default: fp32; of integers int8)"
    )
    parser.add_argument("--technology", metavar="NAME|FILE", help=prices)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--save", action="store_true", help="store the result in the agent's own folder, for reports")
    parser.add_argument("--out", type=Path, help="make the agent a folder here, with this score: for reports")
    parser.add_argument("--video", type=Path, help="record the first episode here, as .mp4")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or auto (default cpu)")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.evaluate``."""
    args = _parser().parse_args(argv)
    technology = price_list(args.technology or "fp32")
    processes = use_threads(args.threads)
    from snn_rl.measure.scores import Protocol, add_score, describe, evaluate
    from snn_rl.sb3.zips import load_agent
    from snn_rl.store import agents
    from snn_rl.store.files import write_json
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.tasks.recipes import ATARI_STARTS

    statistics = {"vecnormalize": args.vecnormalize, "trust_pickle": args.trust_pickle}
    agent = load_agent(args.agent, args.env, args.extractor, args.activation, engine=args.engine, **statistics)
    if args.technology is None and agent.integer is not None and not (args.save or args.out):
        technology = price_list("int8")
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    agent.network.to(args.device)
    _check(agent, recipe, args)
    if args.out is not None:
        agent.name = args.out.name
    protocol = Protocol(args.epsilon, args.sticky, args.no_carry, args.episodes, args.seed)
    results = [str(path) for path in (agent.path if args.save else args.out, args.json, args.video) if path]
    if results:
        print(f"to be written: {', '.join(results)}")
    result = evaluate(agent, recipe, protocol, technology=technology, progress=True, processes=processes)
    if recipe.atari and not recipe.flicker and protocol.greedy(recipe) and len(result.episodes) > ATARI_STARTS:
        print(f"note: a greedy agent has {ATARI_STARTS} different episodes here; the others repeat them")
    print(describe(result))
    if args.save or args.out is not None:
        add_score(agent, result)
        if args.out is not None:
            agents.save(agent, args.out)
        else:
            agents.save_scores(agent)
        print(f"stored in {agent.path}")
    if args.json is not None:
        write_json(result.to_json(), args.json)
        print(f"wrote {args.json}")
    if args.video is not None:
        _record(agent, recipe, protocol, args.video)
        print(f"wrote {args.video}")
    return 0


def _record(agent: Agent, recipe: Recipe, protocol: Protocol, video: Path) -> None:
    from snn_rl.measure.scores import carrying
    from snn_rl.measure.video import record  # PyAV is slow to import

    with carrying(agent.network, agent.network.carry and not protocol.zeroed):
        record([agent], protocol.starts(recipe)[0], video, epsilon=protocol.epsilon, sticky=protocol.sticky, progress=True)


if __name__ == "__main__":
    run(main)
