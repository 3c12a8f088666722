"""Reward, spikes, energy and video of an agent: ``python -m snn_rl.evaluate``, and ``snn_rl.evaluate(agent)`` in Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from snn_rl.console import ENV_HELP, add_hints, add_threads, device, environment, run, seed, use_threads
from snn_rl.core.errors import UserError
from snn_rl.measure.technology import names, price_list
from snn_rl.store.files import CARD, check_new, check_writable

if TYPE_CHECKING:
    from snn_rl.measure.scores import Evaluation, Protocol
    from snn_rl.measure.technology import Technology
    from snn_rl.store.agents import Agent
    from snn_rl.tasks.recipes import Recipe


def evaluate(
    agent: Agent | str | Path,
    episodes: int | None = None,
    *,
    epsilon: float = 0.0,
    sticky: float | None = None,
    zeroed: bool = False,
    seed: int = 0,
    technology: str = "fp32",
) -> Evaluation:
    """Plays an agent and measures reward, spikes and energy: ``evaluate(agent).score.returns.mean``.

    Args:
        agent: or its folder, or its shipped name.
        episodes: how many; if None the recipe's number, with random or sticky actions at least 100.
        epsilon: probability of a random action.
        sticky: probability that an action is repeated; the environment's own if None.
        zeroed: every decision starts from rest.
        seed: of the first episode.
        technology: whose prices the energy is at: a name, or a TOML file.

    Raises:
        UserError: for numbers out of range, and for an agent that is not there or does not fit its environment.
    """
    from snn_rl.measure import scores
    from snn_rl.sb3.zips import load_agent
    from snn_rl.store.agents import Agent
    from snn_rl.tasks.environments import load_recipe

    agent = agent if isinstance(agent, Agent) else load_agent(agent)
    protocol = scores.Protocol(epsilon, sticky, zeroed, episodes, seed)
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    return scores.evaluate(agent, recipe, protocol, technology=price_list(technology))


class _Callable(ModuleType):
    """This module: the command's home, and what ``snn_rl.evaluate(...)`` calls."""

    def __call__(self, *args: Any, **kwargs: Any) -> Evaluation:
        return evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable


def _check(agent: Agent, recipe: Recipe, args: argparse.Namespace) -> None:
    """Says what could not be written before anything is played."""
    for path in (args.json, args.video):
        if path is not None and path.is_dir():
            raise UserError(f"'{path}' is a folder; give the name of a file")
    if args.video is not None and args.video.suffix not in (".mp4", ".gif"):
        raise UserError(f"--video {args.video}: the name must end in .mp4 or .gif")
    if args.video_steps is not None and (args.video is None or args.video_steps < 1):
        raise UserError("--video-steps is at least 1 and goes with --video: give both, or leave it out")
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
    if args.no_carry and not (agent.network.T or agent.network.remembers):
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
    parser.add_argument(
        "--episodes", type=int, help="default: the recipe's (greedy Atari with nothing hidden: all 30 starts); noisy: 100"
    )
    parser.add_argument("--epsilon", type=float, default=0.0, help="probability of a random action")
    parser.add_argument("--sticky", type=float, help="probability that an action is repeated (default: the environment's own)")
    parser.add_argument("--no-carry", action="store_true", help="zero the membranes at every decision")
    parser.add_argument("--seed", type=seed, default=0, help="of the first episode")
    parser.add_argument("--engine", metavar="torch|event", help="event plays agents of integers, and spiking ones of pixels")
    prices = (
        f"prices of the energy figures: {', '.join(names())}, or a TOML file of your own (default: fp32; of integers int8)"
    )
    parser.add_argument("--technology", metavar="NAME|FILE", help=prices)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--save", action="store_true", help="store the result in the agent's own folder, for reports")
    parser.add_argument("--out", type=Path, help="make the agent a folder here, with this score: for reports")
    parser.add_argument(
        "--compare", metavar="OTHER", help="play another agent from the same starts: a table, and one video of both"
    )
    parser.add_argument("--video", type=Path, help="record the first episode here, as .mp4 or .gif")
    parser.add_argument("--video-steps", type=int, metavar="N", help="end the video after N decisions")
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
    other = None if args.compare is None else load_agent(args.compare, agent.env)
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
    if other is not None:
        _compare(agent, other, result, recipe, technology, processes)
    if args.video is not None:
        _record([one for one in (agent, other) if one is not None], recipe, protocol, args)
        print(f"wrote {args.video}")
    return 0


def _compare(agent: Agent, other: Agent, result: Evaluation, recipe: Recipe, technology: Technology, processes: int) -> None:
    """Plays the other agent from the same starts and prints both in one table."""
    from rich.console import Console

    from snn_rl.measure.scores import describe, evaluate
    from snn_rl.measure.side_by_side import table

    protocol = result.protocol
    beside = evaluate(other, recipe, protocol, technology=technology, progress=True, processes=processes)
    print(describe(beside))
    title = f"{agent.label} and {other.label}, {len(result.episodes)} episodes each, {protocol.name}, the same starts"
    Console().print(table([beside.score, result.score], title, [other.name, agent.name]))


def _record(agents: Sequence[Agent], recipe: Recipe, protocol: Protocol, args: argparse.Namespace) -> None:
    from snn_rl.measure.scores import carrying
    from snn_rl.measure.video import record  # PyAV is slow to import

    start, epsilon, sticky = protocol.starts(recipe)[0], protocol.epsilon, protocol.sticky
    with ExitStack() as stack:
        for agent in agents:
            stack.enter_context(carrying(agent.network, agent.network.carry and not protocol.zeroed))
        record(agents, start, args.video, epsilon=epsilon, sticky=sticky, max_steps=args.video_steps, progress=True)


if __name__ == "__main__":
    run(main)
