"""What playing without looking earns: random actions, and each action over and over; docs/results.md shows it beside games.

    python tools/baselines.py CartPole-v1 FreewayNoFrameskip-v4 ...

Played from the first starts that agents are evaluated from, and written to docs/results/ENVIRONMENT/baselines.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from snn_rl.console import run
from snn_rl.store.files import write_json
from snn_rl.tasks.environments import begin, load_recipe, make_env
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Start, action_count, random_actions, starts

RESULTS = Path(__file__).parents[1] / "docs" / "results"
EPISODES = {True: 4, False: 100}  # of Atari; of others


def play(recipe: Recipe, start: Start, act: Callable[[np.random.Generator], int]) -> float:
    """The return of an episode in which nobody looks."""
    with closing(make_env(recipe, frames=1)) as env:
        begin(env, *start)
        rng, total, over = random_actions(start), 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(act(rng))
            total, over = total + float(reward), terminated or truncated
    return total


def measure(env: str) -> dict[str, Any]:
    """Returns of each episode, by random actions and by each action."""
    recipe = load_recipe(env)
    with closing(make_env(recipe, frames=1)) as one:
        count = action_count(one.action_space)
    begins = starts(recipe, EPISODES[recipe.atari], 0)
    found: dict[str, Any] = {"random": [play(recipe, start, lambda rng: int(rng.integers(count))) for start in begins]}
    for action in range(count):
        found[str(action)] = [play(recipe, start, partial(same, action)) for start in begins]
    return found


def same(action: int, _: np.random.Generator) -> int:
    """The action, whatever is seen."""
    return action


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/baselines.py``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="+")
    for env in parser.parse_args(argv).environments:
        out = RESULTS / env / "baselines.json"
        write_json(measure(env), out)
        print(out)
    return 0


if __name__ == "__main__":
    run(main)
