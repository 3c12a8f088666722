"""An ANN into a spiking agent: ``python -m snn_rl.convert``, and ``snn_rl.convert(model, env)`` in Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from snn_rl.console import ENV_HELP, add_hints, add_threads, environment, frame_count, run, seed, use_threads

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

    from snn_rl.store.agents import Agent


def convert(
    ann: BaseAlgorithm | Agent | str | Path,
    env: str | None = None,
    T: int = 1,
    *,
    carry: bool = True,
    frames: int | None = None,
    seed: int = 0,
    extractor: str | None = None,
    activation: str | None = None,
    vecnormalize: VecNormalize | str | Path | None = None,
    trust_pickle: bool = False,
) -> Agent:
    """Converts an ANN to T timesteps per decision, with thresholds from its play. Nothing is trained.

    Args:
        ann: a live DQN, QR-DQN, PPO, A2C or RecurrentPPO of Stable-Baselines3, the ``.zip`` of one (which is read without
            unpickling anything), an agent, its folder or its shipped name.
        env: Gymnasium id of the environment, or ``MODULE:ID``; needed for a model and for a zip, else the ANN's own if None.
        T: timesteps per decision, at least 1.
        carry: whether the agent keeps its membranes between environment steps.
        frames: that the agent sees, at most the ANN's; as many if None.
        seed: of the play.
        extractor: ``module:Class`` of a zip's custom feature extractor, imported from the user's own code.
        activation: ``ReLU`` or ``Tanh``, of a zip that does not say it.
        vecnormalize: under which a zip's agent learnt, or the file that ``VecNormalize.save`` wrote: its mean and scale go
            into the first layer. A live model brings its own.
        trust_pickle: that file is a pickle, which runs whatever its author put there; only with this it is read.

    Returns:
        The agent; ``made.conversion`` tells how it differs from the ANN. Of an ANN with Tanhs or LSTMs it is only a start for
        training.

    Raises:
        UserError: if the ANN is not there, cannot be read, is spiking already, or does not fit the environment.
    """
    from snn_rl.sb3.hints import Hints
    from snn_rl.tasks.catalogue import imported
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.training import conversion

    recipe = load_recipe(imported(env), frames) if env else None
    found = conversion.load_ann(ann, recipe, Hints(extractor, activation, vecnormalize, trust_pickle))
    recipe = recipe or load_recipe(found.env, frames, found.module)
    return conversion.convert(found, recipe, T, seed=seed, carry=carry, frames=frames)


class _Callable(ModuleType):
    """This module: the command's home, and what ``snn_rl.convert(...)`` calls."""

    def __call__(self, *args: Any, **kwargs: Any) -> Agent:
        return convert(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.convert``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.convert",
        description="Converts an ANN into a spiking agent.",
        epilog="example: python -m snn_rl.convert --ann my_dqn.zip --env CartPole-v1 --T 5 --out runs/cartpole-T5",
    )
    parser.add_argument("--ann", required=True, help="agent folder, shipped name, or SB3 zip")
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    parser.add_argument("--T", type=int, default=5, help="timesteps per decision (default 5)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new agent")
    add_hints(parser)
    parser.add_argument(
        "--frames", type=frame_count, help="frames that the new agent sees, at most the ANN's (default: as many)"
    )
    parser.add_argument("--no-carry", action="store_true", help="the membranes start from rest at every decision")
    parser.add_argument("--seed", type=seed, default=0, help="default 0")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.sb3.hints import Hints
    from snn_rl.store import agents
    from snn_rl.store.files import check_new
    from snn_rl.tasks.environments import load_recipe
    from snn_rl.training import conversion, planning

    use_threads(args.threads)
    check_new(args.out)
    given = load_recipe(args.env, args.frames) if args.env else None
    hints = Hints(args.extractor, args.activation, args.vecnormalize, args.trust_pickle)
    ann = conversion.load_ann(args.ann, given, hints)
    recipe = given or load_recipe(ann.env, args.frames)
    if args.T > planning.CHAIN_START:
        print(planning.untested(args.T))
    print(f"{ann.label}: conversion to T={args.T}, written to {args.out}")
    agent = conversion.convert(ann, recipe, args.T, seed=args.seed, carry=not args.no_carry, frames=args.frames, show=True)
    print(f"wrote {agents.save(agent, args.out, half=recipe.half)}")
    return 0


if __name__ == "__main__":
    run(main)
