"""Stable-Baselines3 policies around the spiking network.

They plug into stock ``stable_baselines3.DQN`` (each decision then starts from rest unless the caller passes a state to
``predict``) and into :class:`snn_rl.SpikingDQN`, which carries the membranes.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space, maybe_transpose
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.dqn.policies import QNetwork as SB3QNetwork
from torch import Tensor, nn

from snn_rl.core.deciding import check_observation, decide
from snn_rl.core.errors import UserError
from snn_rl.core.initialise import balance_thresholds
from snn_rl.core.lif import MIN_DECAY, Decay
from snn_rl.core.network import State
from snn_rl.sb3.layers import check_in_order, leaves, read_layers

INITIAL_PERCENTILE = 80.0  # a fifth of the neurons of an untrained network spike at its first timestep


class SpikingQNetwork(SB3QNetwork):
    """Stable-Baselines3's Q-network with LIF neurons in place of its ReLUs; ``network`` is what runs.

    It is built from the same feature extractor and ``net_arch`` as the ANN. T surrounds the convolutions too.
    Untrained, its thresholds are balanced on random observations, so that every layer spikes.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Discrete,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        T: int = 1,
        carry: bool = True,
        decay: Decay = 0.5,
        recurrent: bool = False,
    ) -> None:
        super().__init__(
            observation_space, action_space, features_extractor, features_dim, net_arch, activation_fn, normalize_images
        )
        scale = 1 / 255 if is_image_space(observation_space) and normalize_images else 1.0
        named = [*leaves("features_extractor", features_extractor), *leaves("q_net", self.q_net)]
        self.network = read_layers(named, T, scale, carry, decays=isinstance(decay, tuple), recurrent=recurrent)
        ann = read_layers(named, 0, scale)
        check_in_order(ann, observation_space.shape, super().forward, type(features_extractor).__name__)
        self.features_extractor = nn.Identity()  # type: ignore[assignment]  # its layers are in the network now
        del self.q_net
        if T:
            low, high = (th.as_tensor(bound.astype(np.float32)) for bound in (observation_space.low, observation_space.high))
            if not is_image_space(observation_space):  # many bounds are infinite
                low, high = low.clamp(min=-1), high.clamp(max=1)
            random = low + (high - low) * th.rand(64, *observation_space.shape)
            try:
                balance_thresholds(self.network, random, INITIAL_PERCENTILE, decay)
            except UserError:  # by chance a tiny layer is never driven: its threshold stays at 1, learning may wake it
                for lif in self.network.lifs:
                    lif.set(decay=decay)

    def forward(self, obs: PyTorchObs) -> Tensor:
        """Q-values ``(batch, actions)`` of decisions made from rest: what stock DQN learns from."""
        return self.network(obs)[0]


class SpikingPolicy(DQNPolicy):
    """A DQN policy with LIF neurons.

    Args:
        observation_space: vector or image.
        action_space: discrete.
        lr_schedule: Stable-Baselines3's.
        T: timesteps per decision, at least 1. (0 builds the ANN, for comparison through the same code.)
        carry: keep the membranes from one environment step to the next.
        decay: initial decay of every layer, in (0, 1]; a pair gives each channel its own, spread between the two.
        recurrent: synapses within each dense layer, from its spikes to its current at the next timestep.
        kwargs: DQNPolicy's: ``net_arch``, ``features_extractor_class``, ``optimizer_class``, ...

    Raises:
        UserError: if T is negative, a decay is out of range, or the observations are a Dict.
        UnconvertibleError: if the feature extractor or the activation has no spiking counterpart.
    """

    q_net: SpikingQNetwork
    q_net_target: SpikingQNetwork

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *args: Any,
        T: int = 1,
        carry: bool = True,
        decay: Decay | list[float] = 0.5,
        recurrent: bool = False,
        **kwargs: Any,
    ) -> None:
        if not isinstance(observation_space, spaces.Box):
            raise UserError(f"a spiking policy takes one vector or image, got the observation space {observation_space}")
        if not isinstance(T, int) or T < 0:
            raise UserError(f"T must be at least 1 for a spiking policy (0 is the ANN), got {T}")
        values = tuple(decay) if isinstance(decay, (list, tuple)) else (decay, decay)  # a saved pair comes back as a list
        if len(values) != 2 or not all(MIN_DECAY <= value <= 1 for value in values):
            raise UserError(f"decay must be a number in [{MIN_DECAY}, 1] or a pair of them, got {decay}")
        if isinstance(decay, list):
            decay = (values[0], values[1])
        self.spiking: dict[str, Any] = {"T": T, "carry": carry, "decay": decay, "recurrent": recurrent}
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    def make_q_net(self) -> SpikingQNetwork:
        args = self._update_features_extractor(self.net_args, features_extractor=None)
        return SpikingQNetwork(**args, **self.spiking).to(self.device)

    def initial_state(self, n_envs: int) -> State:
        """Membranes at rest for ``n_envs`` environments: see :data:`~snn_rl.core.network.State`."""
        return self.q_net.network.initial_state(n_envs, cast(tuple[int, ...], self.observation_space.shape))

    def advance(
        self, observation: NDArray[Any] | tuple[Any, Any], state: State | None, episode_start: NDArray[Any] | None
    ) -> tuple[Tensor, State, bool]:
        """One decision: Q-values ``(n_envs, actions)``, the new membranes, and whether the observation was a batch."""
        check_observation(observation)
        self.set_training_mode(False)
        shape = cast(tuple[int, ...], self.observation_space.shape)
        if np.ndim(observation) in (len(shape), len(shape) + 1):  # others are refused below
            observation = maybe_transpose(cast(NDArray[Any], observation), self.observation_space)
        return decide(self.q_net.network, observation, shape, state, episode_start, "the policy")

    def predict(  # type: ignore[override]  # the state is tensors, not numpy arrays
        self,
        observation: NDArray[Any] | tuple[Any, Any],
        state: State | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], State]:
        """Greedy action and the membranes after it: Stable-Baselines3's contract for recurrent policies.

        Args:
            observation: one, or one per environment.
            state: what the previous call returned; None for rest.
            episode_start: per environment, true where an episode begins and the membrane has to be zeroed.
            deterministic: without effect; exploration belongs to the algorithm.

        Raises:
            UserError: as :func:`~snn_rl.core.deciding.decide`.
        """
        q, state, vectorized = self.advance(observation, state, episode_start)
        action = q.argmax(1).cpu().numpy()
        return (action if vectorized else action[0]), state

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.spiking


class SpikingMlpPolicy(SpikingPolicy):
    """For vectors: ``net_arch`` (default 64, 64) layers of LIF neurons."""

    def __init__(
        self,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


class SpikingCnnPolicy(SpikingPolicy):
    """For images: NatureCNN (Mnih et al. 2015) with LIF neurons."""

    def __init__(self, *args: Any, features_extractor_class: type[BaseFeaturesExtractor] = NatureCNN, **kwargs: Any) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)
