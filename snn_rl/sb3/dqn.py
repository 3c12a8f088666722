"""``SpikingDQN``: Stable-Baselines3's DQN, acting (see ``acting``) and learning with membranes that are carried across
environment steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize, unwrap_vec_wrapper
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.initialise import initialize, standardizable
from snn_rl.core.network import mixed_precision
from snn_rl.core.surrogate import USUAL
from snn_rl.sb3.described import Description
from snn_rl.sb3.hints import Hints
from snn_rl.sb3.joined import as_vectors, joinable
from snn_rl.sb3.policy import SpikingCnnPolicy, SpikingMlpPolicy, SpikingMultiInputPolicy, SpikingPolicy
from snn_rl.sb3.replay import SequenceReplayBuffer
from snn_rl.sb3.saving import STOCK, SavedDQN
from snn_rl.sb3.sequences import Sequences, n_step_returns, normalized
from snn_rl.sb3.starting import check_policy, check_returns, converted, known_env, learner, made_env, read_ann
from snn_rl.sb3.td_loss import td_loss
from snn_rl.tasks.parts import stacked

SPIKE_LOG_INTERVAL = 100  # gradient steps between two measurements of the spike rates
INIT_WINDOWS = 1_000  # of the first play, to which ``data_init`` fits the network


class SpikingDQN(SavedDQN):
    """DQN whose network is spiking and whose membranes are carried from one environment step to the next.

    Acting keeps one membrane per environment, advances it at every step (random actions included) and zeroes it where that
    environment's episode ended. Learning draws sequences from the replay buffer: the first ``burn_in`` steps only bring
    the membranes into a plausible state, the next ``sequence_length`` are learnt by back-propagation through time. The
    target network goes through the same steps with membranes of its own. Double DQN and n-step returns.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` (observations in parts) or a
            :class:`~snn_rl.sb3.policy.SpikingPolicy`.
        env: as in Stable-Baselines3.
        T: timesteps per decision. 0 trains the ANN through the same code.
        carry: keep the membranes between environment steps; if False, every decision starts from rest.
        sequence_length: learnt environment steps per sequence.
        burn_in: environment steps before them.
        double_q: choose the bootstrap action with the online network (van Hasselt et al. 2016).
        n_steps: of the returns.
        advantage_alpha: of advantage learning (Bellemare et al. 2016), in [0, 1): in a table of Q-values it would widen the
            gap between the best action and the others 1 / (1 - alpha) times. For tasks in which that gap is small. 0 is DQN.
        data_init: before the first update, fit the untrained network to what the first play held: its currents to the
            observations and its Q-values to the mean return (see :func:`~snn_rl.core.initialise.initialize`).
        warm_up_eps: probability of a random action before ``learning_starts``; 1 as in DQN, less where the network can
            play already.
        batch_size: sequences per gradient step.
        surrogate: gradient that spikes pass backward, ``SHAPE:HEIGHT``: one of :data:`~snn_rl.core.surrogate.SHAPES` and its
            height at the threshold, such as ``arctan:0.5``. The usual one is the paper's.
        bfloat16: compute products in bfloat16 where the processor has it.
        policy_kwargs: of :class:`~snn_rl.sb3.policy.SpikingPolicy`; ``spec`` there says the whole network.
        kwargs: DQN's other arguments.

    Attributes:
        network_description: the network without its weights, in plain JSON; readable in the zip that ``save`` writes.

    Raises:
        UserError: if ``sequence_length`` or ``n_steps`` is below 1, ``burn_in`` below 0 or ``advantage_alpha`` not in [0, 1),
            the replay buffer does not fit into memory or holds no sequence of that length, or it is of a class that holds no
            sequences.
        UnconvertibleError: if ``data_init`` cannot fit the network.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": SpikingMlpPolicy,
        "CnnPolicy": SpikingCnnPolicy,
        "MultiInputPolicy": SpikingMultiInputPolicy,
    }

    def __init__(
        self,
        policy: str | type[SpikingPolicy],
        env: GymEnv | str,
        *,
        T: int = 1,
        carry: bool = True,
        sequence_length: int = 8,
        burn_in: int = 4,
        double_q: bool = True,
        n_steps: int = 1,
        advantage_alpha: float = 0.0,
        data_init: bool = False,
        warm_up_eps: float = 1.0,
        buffer_size: int = 100_000,
        bfloat16: bool = False,
        surrogate: str = str(USUAL),
        policy_kwargs: dict[str, Any] | None = None,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        if sequence_length < 1 or n_steps < 1 or burn_in < 0:
            raise UserError("sequence_length and n_steps must be at least 1 and burn_in at least 0")
        if not 0 <= advantage_alpha < 1:
            raise UserError(f"advantage_alpha must be at least 0 and below 1, got {advantage_alpha}")
        check_policy(policy, self.policy_aliases)
        if {"T", "carry", "surrogate"} & (policy_kwargs or {}).keys():
            raise UserError(
                "give T, carry and surrogate to SpikingDQN itself, not in policy_kwargs: SpikingDQN(policy, env, T=1)"
            )
        super().__init__(
            policy,
            cast(GymEnv | str, known_env(env, _init_setup_model)),
            buffer_size=buffer_size,
            policy_kwargs={**(policy_kwargs or {}), "T": T, "carry": carry, "surrogate": surrogate},
            replay_buffer_class=replay_buffer_class or SequenceReplayBuffer,
            _init_setup_model=False,
            **kwargs,
        )
        self.T, self.carry = T, carry
        stateless = T == 0 or not carry  # nothing is remembered: single steps, as in plain DQN
        self.sequence_length = 1 if stateless else sequence_length
        self.burn_in = 0 if stateless else burn_in
        self.double_q, self.n_steps, self.data_init, self.bfloat16 = double_q, n_steps, data_init, bfloat16
        self.advantage_alpha, self.warm_up_eps = advantage_alpha, warm_up_eps
        self.normalizes_observations = False  # told to those who read the saved file: the statistics are not in it
        if _init_setup_model:
            self._setup_model()

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        return as_vectors(SavedDQN._wrap_env(joinable(env), verbose, monitor_wrapper))

    def _setup_model(self) -> None:
        buffer_class = self.replay_buffer_class or SequenceReplayBuffer
        if not issubclass(buffer_class, SequenceReplayBuffer):  # that of a stock DQN, where load() comes here
            raise UserError(f"{buffer_class.__name__} holds no sequences: leave replay_buffer_class out; {STOCK}")
        n_steps, self.n_steps = self.n_steps, 1  # the parent would look for its own n-step buffer
        kwargs = {"seed": self.seed, "verbose": self.verbose, **self.replay_buffer_kwargs}
        frames = None if self.env is None else unwrap_vec_wrapper(self.env, VecFrameStack)
        if frames is not None:
            kwargs.setdefault("frame_stack", stacked(self.observation_space, frames.stacked_obs.n_stack))
        self.replay_buffer_kwargs = kwargs
        super()._setup_model()
        self.n_steps = n_steps
        if self.data_init:
            standardizable(self.policy.q_net.network)  # said now, not after the first play
        buffer = self.replay_buffer
        needed = self._window + buffer.frame_stack - 1  # a full ring has lost the frames before its oldest slot
        if buffer.buffer_size < needed:
            raise UserError(
                f"a buffer_size of {self.buffer_size:,} is {buffer.buffer_size:,} steps in each of {self.n_envs} environments "
                f"and a sequence takes {needed}; use a buffer_size of at least {needed * self.n_envs:,}"
            )
        shape = cast(tuple[int, ...], self.observation_space.shape)
        self.network_description = Description.of(self.policy.q_net.network, shape).to_json()  # for those who read the zip

    @property
    def _window(self) -> int:
        """Slots of a sequence with all that its last return needs."""
        return self.burn_in + self.sequence_length + self.n_steps

    @classmethod
    def from_sb3(
        cls,
        model: BaseAlgorithm | str | Path,
        env: GymEnv | str,
        T: int = 1,
        *,
        carry: bool = True,
        extractor: str | None = None,
        activation: str | None = None,
        vecnormalize: VecNormalize | str | Path | None = None,
        trust_pickle: bool = False,
        **kwargs: Any,
    ) -> Self:
        """A learner that starts from the conversion of an ANN: with its weights, and thresholds from its play in ``env``.

        Args:
            model: a live DQN, QR-DQN, PPO, A2C or RecurrentPPO with discrete actions, or the zip of one, which is read
                without unpickling anything.
            env: what it plays. The conversion plays 2,000 steps in it.
            T: timesteps per decision, at least 1.
            carry: keep the membranes between environment steps.
            extractor: ``module:Class`` of a zip's custom feature extractor, imported from the user's own code.
            activation: ``ReLU`` or ``Tanh``, of a zip that does not say it.
            vecnormalize: under which a zip's agent learnt, or the file that ``VecNormalize.save`` wrote; its mean and scale go
                into the first layer. A live model brings its own, and an ``env`` that is wrapped so needs none.
            trust_pickle: that file is a pickle, which runs whatever its author put there; only with this it is read.
            kwargs: the other arguments of the constructor, but for ``policy``. ``warm_up_eps`` and
                ``exploration_initial_eps`` are 0.05 where they are not given. PPO, A2C and RecurrentPPO, whose values are
                logits, need ``data_init=True``.

        Raises:
            UserError: if the model cannot be read, is spiking already, or does not fit the environment.
            UnconvertibleError: naming the module that has no spiking counterpart.
        """
        venv = made_env(cls, env)
        ann = read_ann(model, venv, Hints(extractor, activation, vecnormalize, trust_pickle))
        check_returns(ann.made.logits, "the model", kwargs.get("data_init", False))
        return learner(cls, converted(ann.network, venv, T, carry, kwargs.get("seed")), venv, kwargs)

    def train(self, gradient_steps: int, batch_size: int = 32) -> None:
        """``gradient_steps`` updates from ``batch_size`` sequences each."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        if not self.replay_buffer.windows(self._window).any():
            return  # not enough play yet, as after loading a model without its replay buffer
        if self.data_init and not self._n_updates:
            self._initialize()
        losses = []
        for _ in range(gradient_steps):
            batch = normalized(self.replay_buffer.sample_sequences(batch_size, self._window), self._vec_normalize_env)
            spikes: list[Tensor] = []
            with mixed_precision(self.device, self.bfloat16):
                loss = self._loss(batch, spikes)
            self.policy.optimizer.zero_grad()
            loss.backward()
            th.nn.utils.clip_grad_norm_(self.policy.q_net.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            losses.append(loss.detach())
            self._n_updates += 1
            if self.T and self._n_updates % SPIKE_LOG_INTERVAL == 0:
                for name, z in zip(self.policy.q_net.network.layer_names, spikes, strict=False):
                    self.logger.record(f"snn/spike_rate/{name}", float(z.detach().mean()))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", float(th.stack(losses).mean()))

    def _initialize(self) -> None:
        """Fits both networks to the first play. The mean return is the constant that solves its own Bellman equation."""
        batch = normalized(self.replay_buffer.sample_sequences(INIT_WINDOWS, 1 + self.n_steps), self._vec_normalize_env)
        returns = n_step_returns(batch, 0, 1, self.n_steps, self.gamma)
        acted = batch.acted[:1]
        going_on = float(returns.discount[acted].mean())
        value = float(returns.reward[acted].mean()) / (1 - going_on) if going_on < 1 else 0.0
        initialize(self.policy.q_net.network, batch.observations[0], value)
        self.policy.q_net_target.load_state_dict(self.policy.q_net.state_dict())

    def _loss(self, batch: Sequences, record: list[Tensor] | None = None) -> Tensor:
        return td_loss(
            self.policy.q_net.network,
            self.policy.q_net_target.network,
            batch,
            burn_in=self.burn_in,
            length=self.sequence_length,
            n_steps=self.n_steps,
            gamma=self.gamma,
            double_q=self.double_q,
            advantage_alpha=self.advantage_alpha,
            record=record,
        )
