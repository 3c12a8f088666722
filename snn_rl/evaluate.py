"""Evaluation: whole games, unclipped reward, the same starts for every agent, energy from the spikes of that play."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from snn_rl import agents
from snn_rl.agents import Agent
from snn_rl.console import ENV_HELP, EXTRACTOR_HELP, device, environment, run, seed
from snn_rl.energy import TECHNOLOGIES, Meter, priced
from snn_rl.environments import load_recipe, make_env
from snn_rl.errors import UserError
from snn_rl.files import check_new, check_writable, write_json
from snn_rl.network import QNetwork
from snn_rl.provenance import versions
from snn_rl.recipes import ATARI_STARTS, Recipe
from snn_rl.rollout import make_envs, play, starts
from snn_rl.stats import summary

NOISY_EPISODES = 100  # with random or sticky actions no two games are the same


def protocol(epsilon: float, sticky: float, zeroed: bool = False) -> str:
    """Name of a protocol in cards and tables."""
    words = [f"epsilon {epsilon:g}"] * (epsilon > 0) + [f"sticky {sticky:g}"] * (sticky > 0)
    return ", ".join((words or ["greedy"]) + ["membrane zeroed"] * zeroed)


@contextmanager
def _carrying(network: QNetwork, carry: bool) -> Iterator[None]:
    """Whether the network carries its membranes, for a while."""
    own, network.carry = network.carry, carry
    try:
        yield
    finally:
        network.carry = own


def evaluate(
    agent: Agent,
    recipe: Recipe,
    *,
    episodes: int | None = None,
    epsilon: float = 0.0,
    sticky: float = 0.0,
    seed: int = 0,
    zeroed: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Plays an agent; returns the object that ``evaluate --json`` writes.

    Args:
        agent: who plays.
        recipe: of its environment.
        episodes: how many; if None the recipe's number, with random or sticky actions at least 100.
        epsilon: probability of a random action.
        sticky: probability that the environment repeats the previous action.
        seed: of the first episode; episode n has ``seed + n``.
        zeroed: every decision starts from rest, whatever the agent was trained for.
        progress: show a bar.

    Raises:
        UserError: for options out of range and for an agent that does not fit the environment.
    """
    if episodes is None:
        episodes = max(recipe.evaluate.episodes, NOISY_EPISODES if epsilon or sticky else 0)
    begins = starts(recipe, episodes, seed)
    envs = make_envs(recipe, len(begins), frames=agent.frames, sticky=sticky)
    meter = Meter(agent.network, agent.observation_shape)
    returns, lengths = np.zeros(len(begins)), np.zeros(len(begins), dtype=int)
    bar = tqdm(total=len(begins), desc=f"evaluate {agent.label}", unit="episode", disable=None if progress else True)
    carry = agent.network.carry and not zeroed
    with bar, _carrying(agent.network, carry):
        for decision in play(agent.network, envs, begins, epsilon):
            meter.update(decision)
            returns[decision.episode] += decision.reward
            lengths[decision.episode] += 1
            bar.update(int(decision.done.sum()))
        energy = meter.report()
    for env in envs:
        env.close()
    T = agent.network.T
    return {
        "agent": agent.label,
        "weights": agents.fingerprint(agent.network),
        "env": agent.env,
        "T": T,
        "frames": agent.frames,
        "carry": bool(T and carry),
        "epsilon": epsilon,
        "sticky": sticky,
        "episodes": [
            {"start": begin.start, "seed": begin.seed, "return": float(total), "length": int(length)}
            for begin, total, length in zip(begins, returns, lengths, strict=True)
        ],
        "return": summary(returns),
        **({"spike_rate": meter.rates()} if T else {}),
        "energy": energy,
        "versions": versions(),
    }


def add_score(agent: Agent, result: dict[str, Any], training_seed: int | None, zeroed: bool = False) -> None:
    """Puts an evaluation into an agent's card (without its episodes) and its episodes into ``episodes.csv``."""
    name = protocol(result["epsilon"], result["sticky"], zeroed)
    agent.scores[name] = {key: value for key, value in result.items() if key != "episodes"}
    own = "" if training_seed is None else str(training_seed)
    agent.episodes = [row for row in agent.episodes if (row["protocol"], str(row["training_seed"] or "")) != (name, own)]
    agent.episodes += [
        {"training_seed": own, "protocol": name, "episode": n, **episode} for n, episode in enumerate(result["episodes"])
    ]


def describe(result: dict[str, Any]) -> str:
    """One line for a person."""
    reward, energy = result["return"], result["energy"]
    text = f"{result['agent']}: return {reward['mean']:.2f} (min {reward['min']:g}, max {reward['max']:g}, "
    text += f"{len(result['episodes'])} episodes)"
    if result["T"]:
        rates = ", ".join(f"{name} {rate:.3f}" for name, rate in result["spike_rate"].items())
        text += f"; spikes per neuron and timestep {rates}; "
        ratio, word = (energy["ratio"], "less") if energy["ratio"] >= 1 else (1 / energy["ratio"], "more")
        text += f"{energy['snn_uj']:.3g} uJ per decision, {ratio:.2f} times {word} than the dense ANN of its shape"
    else:
        text += f"; {energy['ann_uj']:.3g} uJ per decision"
    return f"{text} ({energy['technology'].partition(' (')[0]})"


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
        check_writable(agent.path / agents.CARD)
    if (args.save or args.out) and (args.episodes is not None or args.seed or args.technology != "fp32"):
        raise UserError(
            "--save and --out store scores by the recipe's protocol and in fp32: leave out --episodes, --seed and --technology"
        )
    if args.no_carry and not agent.network.T:
        raise UserError(f"'{args.agent}' is an ANN and has no membranes to zero; leave out --no-carry")
    if args.out is not None:
        check_new(args.out)
    if args.video is not None:
        make_env(recipe, frames=agent.frames, render_mode="rgb_array").close()


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.evaluate``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.evaluate",
        description="Plays an agent and measures reward, spikes and energy.",
        epilog="example: python -m snn_rl.evaluate PongNoFrameskip-v4/T1 --json t1.json --video t1.mp4",
    )
    parser.add_argument(
        "agent", help="agent folder, shipped name such as PongNoFrameskip-v4/T1, or zip of an SB3 DQN or a SpikingDQN"
    )
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    parser.add_argument("--extractor", metavar="MODULE:CLASS", help=EXTRACTOR_HELP)
    parser.add_argument(
        "--episodes", type=int, help="default: the recipe's (greedy Atari with nothing hidden: all 30 starts); noisy: 100"
    )
    parser.add_argument("--epsilon", type=float, default=0.0, help="probability of a random action")
    parser.add_argument("--sticky", type=float, default=0.0, help="probability that an action is repeated")
    parser.add_argument("--no-carry", action="store_true", help="zero the membranes at every decision")
    parser.add_argument("--seed", type=seed, default=0, help="of the first episode")
    parser.add_argument("--technology", choices=TECHNOLOGIES, default="fp32", help="of the energy figures (default: fp32)")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--save", action="store_true", help="store the result in the agent's own folder, for reports")
    parser.add_argument("--out", type=Path, help="make the agent a folder here, with this score: for reports")
    parser.add_argument("--video", type=Path, help="record the first episode here, as .mp4")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or auto (default cpu)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    agent = agents.load(args.agent, args.env, args.extractor)
    recipe = load_recipe(agent.env, agent.frames)
    agent.network.to(args.device)
    _check(agent, recipe, args)
    if args.out is not None:
        agent.name = args.out.name
    result = evaluate(
        agent,
        recipe,
        episodes=args.episodes,
        epsilon=args.epsilon,
        sticky=args.sticky,
        seed=args.seed,
        zeroed=args.no_carry,
        progress=True,
    )
    result["energy"] = priced(result["energy"], result["T"], TECHNOLOGIES[args.technology])
    if recipe.atari and not recipe.flicker and not args.epsilon and not args.sticky and len(result["episodes"]) > ATARI_STARTS:
        print(f"note: a greedy agent has {ATARI_STARTS} different episodes here; the others repeat them")
    print(describe(result))
    if args.save or args.out is not None:
        add_score(agent, result, agent.made.get("seed"), zeroed=args.no_carry and agent.network.carry)
        if args.out is not None:
            agents.save(agent, args.out)
        else:
            agents.save_scores(agent)
        print(f"stored in {agent.path}")
    if args.json is not None:
        write_json(result, args.json)
        print(f"wrote {args.json}")
    if args.video is not None:
        from snn_rl.video import record  # PyAV is slow to import

        begin = starts(recipe, 1, args.seed)[0]
        with _carrying(agent.network, agent.network.carry and not args.no_carry):
            record([agent], begin, args.video, epsilon=args.epsilon, sticky=args.sticky)
        print(f"wrote {args.video}")
    return 0


if __name__ == "__main__":
    run(main)
