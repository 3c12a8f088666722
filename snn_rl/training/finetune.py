"""Fine-tuning of a spiking agent for few bits, before it becomes one of integers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch as th

from snn_rl.core.errors import UserError
from snn_rl.store.agents import Agent
from snn_rl.tasks.recipes import TAUGHT, Recipe
from snn_rl.training.conversion import load_ann
from snn_rl.training.stages import pruning_job, run_stage

PART = 4  # of a recipe's gradient steps one in so many, at as small a part of its learning rate


def finetuned(agent: Agent, ann: str | None, recipe: Recipe, bits: int, folder: Path, device: th.device) -> Agent:
    """An agent taught by an ANN while its weights are rounded; one that is in the folder already, or goes on from its
    checkpoint.

    Args:
        agent: spiking, of float numbers.
        ann: folder, shipped name or zip of the ANN; None for the one that taught the agent.
        recipe: of the environment.
        bits: of a weight.
        folder: where the agent is kept.
        device: where to train.

    Raises:
        UserError: if the agent has no teacher, or the folder holds another agent.
    """
    teacher = ann or (agent.made.teacher.name if agent.made.teacher else None)
    if teacher is None:
        raise UserError(f"no ANN taught '{agent.label}'; give one with --ann")
    numbers = recipe.prune
    steps = max(numbers.steps(agent.network.T) // PART, 1)
    short = dataclasses.replace(numbers, gradient_steps=(steps,), learning_rate=numbers.learning_rate / PART)
    recipe = dataclasses.replace(recipe, prune=short, half=False)  # half precision would move weights off their grid
    job = pruning_job(agent, load_ann(teacher, recipe), recipe, agent.network.T, folder, TAUGHT, agent.made.seed or 0)
    return run_stage(dataclasses.replace(job, weight_bits=bits), device)
