"""The objective ``td``: Q-learning from reward with ``SpikingDQN``. Needs no teacher; also trains the ANN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast

import torch as th
from gymnasium import spaces

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.sb3.dqn import SpikingDQN
from snn_rl.sb3.policy import SpikingPolicy
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made
from snn_rl.tasks.environments import make_env, make_vec_env
from snn_rl.tasks.parts import image_in, sees_image, stacked
from snn_rl.tasks.recipes import Recipe

NATURE_PIXELS = 36  # the smallest image that NatureCNN's kernels fit into


def falling(rate: float, part: float) -> Callable[[float], float]:
    """A learning-rate schedule of Stable-Baselines3: constant, then down to 0 over the last ``part`` of training."""
    return lambda remaining: rate * min(remaining / part, 1.0) if part else rate


def untrained(recipe: Recipe, T: int, *, seed: int, frames: int, carry: bool) -> Agent:
    """A spiking agent with random weights: the layers of the recipe's ANN, with the decays and the recurrent synapses that a
    conversion would give it.

    Raises:
        UserError: for images that are too small for NatureCNN.
    """
    env = make_env(recipe, frames=frames)
    space = env.observation_space
    th.manual_seed(seed)
    policy = SpikingDQN.policy_aliases[_policy(space)](
        space,
        cast(spaces.Discrete, env.action_space),
        lambda _: 0.0,
        T=T,
        carry=carry,
        decay=recipe.convert.decay_at(T),
        recurrent=recipe.convert.recurrent,
        **_layers(recipe, space),
    )
    made = Made(how="random weights", random=f"seed {seed}")
    return Agent(recipe.id, f"random-T{T}", cast(SpikingPolicy, policy).q_net.network, space.shape or (), frames, made)


def check_returns(agent: Agent) -> None:
    """Refuses an agent whose values are logits: learning by reward goes on from Q-values.

    Raises:
        UserError: saying so.
    """
    if agent.made.logits:
        raise UserError(
            f"'{agent.label}' gives logits of a policy, and td goes on from Q-values: let it teach (--objective distill), or "
            "learn from random weights (train --objective td --ann none)"
        )


@dataclass(frozen=True)
class _Numbers:
    """The recipe's numbers of learning by reward that differ between ANNs and spiking networks."""

    learning_rate: float
    cool_down: float
    adam_eps: float
    train_freq: int
    batch_size: int
    advantage_alpha: float

    @classmethod
    def of_ann(cls, recipe: Recipe) -> Self:
        """Those of an ANN, which learns from single transitions."""
        own = recipe.train
        return cls(own.learning_rate, own.cool_down, own.adam_eps, own.train_freq, own.batch_size, advantage_alpha=0.0)

    @classmethod
    def of_spiking(cls, recipe: Recipe, carry: bool) -> Self:
        """Those of a spiking network, which learns from sequences, or from as many single steps if it carries nothing."""
        own = recipe.td
        samples = own.batch_size * (1 if carry else own.sequence_length)
        return cls(own.learning_rate, 1.0, own.adam_eps, own.train_freq, samples, own.advantage_alpha)


def _rhythm(recipe: Recipe, every: int) -> tuple[int, int]:
    """Steps that each environment plays between trainings, and gradient steps of a training.

    Args:
        recipe: of the environment.
        every: environment steps between trainings, over all environments.

    Raises:
        UserError: if ``every`` does not fit the number of environments.
    """
    n_envs = recipe.train.n_envs
    if every % n_envs and n_envs % every:
        raise UserError(
            f"the recipe of '{recipe.id}' trains every {every} steps (train_freq) of {n_envs} environments "
            "(n_envs); one of the two must be a multiple of the other"
        )
    return max(every // n_envs, 1), recipe.train.gradient_steps * max(n_envs // every, 1)


def _policy(space: spaces.Space[Any]) -> str:
    """The name of the policy for such observations."""
    return "CnnPolicy" if len(space.shape or ()) == 3 else "MlpPolicy" if image_in(space) is None else "MultiInputPolicy"


def _layers(recipe: Recipe, space: spaces.Space[Any], initial: QNetwork | None = None) -> dict[str, Any]:
    """The layers of a policy, as arguments of its constructor: those of ``initial``; without it, NatureCNN for images and the
    recipe's layers for vectors and behind an image with others beside it.

    Raises:
        UserError: for images that are too small for NatureCNN.
    """
    if initial is not None:
        return {"spec": initial.spec, "input_scale": initial.input_scale}
    shape = image_in(space) or space.shape or ()
    dense = {"net_arch": list(recipe.train.net_arch)} if len(space.shape or ()) == 1 else {}
    if len(shape) == 3 and min(shape[1:]) < NATURE_PIXELS:
        raise UserError(
            f"'{recipe.id}' has images of {shape[1]}x{shape[2]} pixels and NatureCNN, which is trained from nothing, needs "
            f"{NATURE_PIXELS}x{NATURE_PIXELS}: train a DQN with a feature extractor of your own and give its zip with --ann"
        )
    return dense


def build(
    recipe: Recipe,
    T: int,
    *,
    seed: int,
    frames: int,
    carry: bool,
    device: th.device,
    initial: QNetwork | None = None,
    trained: bool = False,
) -> SpikingDQN:
    """A learner for an environment, with the recipe's numbers.

    ``initial`` gives the weights to start from. Unless it is ``trained`` to play already, learning begins with random play,
    and where the recipe says ``data_init`` the network is fitted to that.

    Raises:
        UserError: for images that are too small for NatureCNN, where there is no ``initial``, and for a ``train_freq`` that
            does not fit ``n_envs``.
        UnconvertibleError: for an ``initial`` that ``data_init`` cannot fit.
    """
    settings, own = recipe.train, _Numbers.of_spiking(recipe, carry) if T else _Numbers.of_ann(recipe)
    train_freq, gradient_steps = _rhythm(recipe, own.train_freq)
    eps = settings.exploration_final_eps if trained else 1.0
    venv = make_vec_env(recipe, settings.n_envs, seed=seed, frames=frames, resumable=True)
    space = venv.observation_space
    model = SpikingDQN(
        _policy(space),
        venv,
        T=T,
        carry=carry,
        sequence_length=recipe.td.sequence_length,
        burn_in=recipe.td.burn_in,
        n_steps=settings.n_steps,
        advantage_alpha=own.advantage_alpha,
        data_init=settings.data_init and not trained,
        learning_rate=falling(own.learning_rate, own.cool_down),
        buffer_size=settings.buffer_size,
        learning_starts=settings.learning_starts,
        batch_size=own.batch_size,
        gamma=settings.gamma,
        train_freq=train_freq,
        gradient_steps=gradient_steps,
        target_update_interval=settings.target_update_interval,
        tau=settings.tau,
        exploration_initial_eps=eps,
        warm_up_eps=eps,
        exploration_fraction=settings.exploration_fraction,
        exploration_final_eps=settings.exploration_final_eps,
        max_grad_norm=settings.max_grad_norm,
        bfloat16=sees_image(space),
        surrogate=recipe.prune.surrogate,
        policy_kwargs={"optimizer_kwargs": {"fused": True, "eps": own.adam_eps}, **_layers(recipe, space, initial)},
        replay_buffer_kwargs={"frame_stack": stacked(space, frames), "verbose": 1},
        seed=seed,
        device=device,
    )
    if initial is not None:
        model.policy.fill(initial)
    return model
