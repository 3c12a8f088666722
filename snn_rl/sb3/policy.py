"""Stable-Baselines3 policies around the spiking network.

They plug into stock ``stable_baselines3.DQN`` (each decision then starts from rest unless the caller passes a state to
``predict``) and into :class:`snn_rl.SpikingDQN`, which carries the membranes.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import maybe_transpose
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.dqn.policies import QNetwork as SB3QNetwork
from torch import Tensor, nn

from snn_rl.core.deciding import Observation, check_observation, decide
from snn_rl.core.errors import UserError
from snn_rl.core.lif import Decay
from snn_rl.core.network import QNetwork, State
from snn_rl.core.spec import Spec
from snn_rl.core.surrogate import USUAL
from snn_rl.sb3.building import balance_on_noise, check_fit, checked_decay, unfit
from snn_rl.sb3.layers import build_network, decider_of, pixel_scale
from snn_rl.tasks.parts import Joined, image_in

_STOCK = ("normalize_images", "optimizer_class", "optimizer_kwargs")  # arguments of DQNPolicy
FUSED = (th.optim.Adam, th.optim.AdamW)


class SpikingQNetwork(SB3QNetwork):
    """What Stable-Baselines3's DQN takes for its Q-network; ``network`` is what runs.

    Args:
        observation_space: of the policy.
        action_space: of the policy.
        network: takes such observations and has one output per action.
    """

    def __init__(self, observation_space: spaces.Box, action_space: spaces.Discrete, network: QNetwork) -> None:
        BasePolicy.__init__(self, observation_space, action_space)  # the parent would make layers of its own
        self.network = network

    def forward(self, obs: PyTorchObs) -> Tensor:
        """Q-values ``(batch, actions)`` of decisions made from rest: what stock DQN learns from."""
        return self.network(obs)[0]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("observation_space", "action_space", "network")}


class SpikingPolicy(DQNPolicy):
    """A DQN policy with LIF neurons. Its layers are those of ``spec``, or those of a feature extractor with ``net_arch``
    behind it, as in Stable-Baselines3, with LIF neurons in place of the ReLUs. T surrounds the convolutions too.

    Untrained, its thresholds are balanced on random observations, so that every layer spikes.

    Args:
        observation_space: vector or image, or the parts that SpikingDQN joined.
        action_space: discrete.
        lr_schedule: Stable-Baselines3's.
        net_arch: widths of the dense layers of LIF neurons.
        activation_fn: ReLU is what LIF neurons take the place of; an ANN (T = 0) may have Tanh.
        features_extractor_class: Conv2d, Linear, AvgPool2d, Flatten and ReLU in a row.
        features_extractor_kwargs: for its constructor.
        T: timesteps per decision, at least 1. (0 builds the ANN, for comparison through the same code.)
        carry: keep the membranes from one environment step to the next. SpikingDQN says whether; in a stock DQN, which learns
            without memory, leave it out.
        decay: initial decay of every layer, in (0, 1]; a pair gives each channel its own, spread between the two.
        recurrent: synapses within each dense layer, from its spikes to its current at the next timestep.
        spec: the whole network as plain JSON, as under ``network`` in an agent's card: see
            :data:`~snn_rl.core.spec.Spec`. It takes the place of ``net_arch``, the feature extractor and ``recurrent``.
        input_scale: with ``spec``, the factor on the observation; None is 1/255 for images and 1 for vectors.
        surrogate: gradient that spikes pass backward, ``SHAPE:HEIGHT`` of :mod:`~snn_rl.core.surrogate`, such as
            ``arctan:0.5``.
        balance: balance the thresholds; false where those of a file follow.
        kwargs: DQNPolicy's: ``normalize_images``, ``optimizer_class``, ``optimizer_kwargs``.

    Raises:
        UserError: if T is negative, a decay is out of range, the observations are a Dict, ``spec`` comes together with what
            it takes the place of, or does not fit the observations or the actions.
        UnconvertibleError: if the feature extractor, the activation or a layer of ``spec`` has no spiking counterpart.
    """

    q_net: SpikingQNetwork
    q_net_target: SpikingQNetwork
    standard_extractor: ClassVar[type[BaseFeaturesExtractor]] = FlattenExtractor
    of_parts: ClassVar[type[BaseFeaturesExtractor]] = FlattenExtractor  # of observations in parts with an image

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        *,
        T: int = 1,
        carry: bool = False,
        decay: Decay | list[float] = 0.5,
        recurrent: bool = False,
        surrogate: str = str(USUAL),
        spec: Spec | None = None,
        input_scale: float | None = None,
        balance: bool = True,
        **kwargs: Any,
    ) -> None:
        if not isinstance(observation_space, spaces.Box):
            raise UserError(
                f"a spiking policy sees one vector or image, got {observation_space}: use SpikingDQN, which joins the parts, "
                "or gymnasium.wrappers.FlattenObservation(env)"
            )
        if not isinstance(T, int) or T < 0:
            raise UserError(f"T must be at least 1 for a spiking policy (0 is the ANN), got {T}")
        shape_of = {
            "net_arch": net_arch is not None,
            "activation_fn": activation_fn is not nn.ReLU,
            "features_extractor_class": features_extractor_class is not None,
            "features_extractor_kwargs": bool(features_extractor_kwargs),
            "recurrent": recurrent,
        }
        if spec is not None and any(shape_of.values()):
            extra = ", ".join(name for name, given in shape_of.items() if given)
            raise UserError(f"spec says which layers a policy has: leave out {extra}, or leave out spec")
        if spec is None and input_scale is not None:
            raise UserError("input_scale goes with spec: without one, normalize_images says whether pixels are scaled")
        if unknown := [key for key in kwargs if key not in _STOCK]:
            hint = "; a spiking policy is for DQN and SpikingDQN" if "use_sde" in unknown else ""
            raise UserError(f"a spiking policy has no argument {', '.join(unknown)}: see help(snn_rl.SpikingMlpPolicy){hint}")
        self.spec, self.balance = spec, balance
        self.spiking: dict[str, Any] = {"T": T, "carry": carry, "decay": checked_decay(decay), "surrogate": surrogate}
        self.spiking |= {"recurrent": recurrent} if spec is None else {"spec": spec, "input_scale": input_scale}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch,
            activation_fn,
            features_extractor_class or (self.standard_extractor if image_in(observation_space) is None else self.of_parts),
            features_extractor_kwargs,
            **kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        """As Stable-Baselines3 does, with Adam in one pass over the weights where the device has that."""
        given = self.optimizer_kwargs
        if self.optimizer_class in FUSED and self.device.type in ("cpu", "cuda") and not {"fused", "foreach"} & given.keys():
            self.optimizer_kwargs = {**given, "fused": True}
        super()._build(lr_schedule)
        self.optimizer_kwargs = given  # which is saved: a file says nothing of how it is computed

    def make_q_net(self) -> SpikingQNetwork:
        space, actions = cast(spaces.Box, self.observation_space), cast(spaces.Discrete, self.action_space)
        network = self._read() if self.spec is None else self._build_spec(self.spec, space, actions)
        network.learn_by(self.spiking["surrogate"])
        if network.T and self.balance:
            balance_on_noise(network, space, self.spiking["decay"])
        return SpikingQNetwork(space, actions, network).to(self.device)

    def _read(self) -> QNetwork:
        """The network of a feature extractor and ``net_arch``, with the weights that Stable-Baselines3 gives them."""
        space, kind = cast(spaces.Box, self.observation_space), self.features_extractor_class
        if (kind is CombinedExtractor) != (image_in(space) is not None):  # parts without an image are joined already
            raise unfit(space, kind)
        try:
            seen = {"observation_space": space.parts.as_dict()} if image_in(space) and isinstance(space, Joined) else {}
            stock = SB3QNetwork(**self._update_features_extractor({**self.net_args, **seen}, features_extractor=None))
        except (AssertionError, RuntimeError) as error:  # as a NatureCNN says that it sees no such observations
            raise unfit(space, kind) from error
        decays, recurrent = isinstance(self.spiking["decay"], tuple), self.spiking["recurrent"]
        return decider_of(stock).read(self.spiking["T"], self.spiking["carry"], decays=decays, recurrent=recurrent)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        space = self.observation_space
        if self.features_extractor_class is CombinedExtractor and isinstance(space, Joined):
            return CombinedExtractor(space.parts.as_dict(), **self.features_extractor_kwargs)
        return super().make_features_extractor()

    def _build_spec(self, spec: Spec, space: spaces.Box, actions: spaces.Discrete) -> QNetwork:
        scale = self.spiking["input_scale"]
        scale = pixel_scale(space, self.normalize_images) if scale is None else scale
        network = build_network(spec, self.spiking["T"], scale, self.spiking["carry"])
        check_fit(network, space, actions)
        if isinstance(self.spiking["decay"], tuple) and any(lif.decay.dim() == 0 for lif in network.lifs):
            raise UserError('a pair of decays needs "decays" in every layer of neurons of spec; give one number, or name them')
        return network

    def fill(self, network: QNetwork) -> None:
        """Gives the online and the target network the weights, thresholds and decays of a network with the same layers."""
        for q_net in (self.q_net, self.q_net_target):
            q_net.network.load_state_dict(network.state_dict())

    def initial_state(self, n_envs: int) -> State:
        """Membranes at rest for ``n_envs`` environments: see :data:`~snn_rl.core.network.State`."""
        return self.q_net.network.initial_state(n_envs, cast(tuple[int, ...], self.observation_space.shape))

    def advance(
        self, observation: Observation, state: State | None, episode_start: NDArray[Any] | None
    ) -> tuple[Tensor, State, bool]:
        """One decision: Q-values ``(n_envs, actions)``, the new membranes, and whether the observation was a batch."""
        if isinstance(self.observation_space, Joined):
            observation = self.observation_space.parts.seen(observation)
        check_observation(observation)
        self.set_training_mode(False)
        shape = cast(tuple[int, ...], self.observation_space.shape)
        if np.ndim(cast(NDArray[Any], observation)) in (len(shape), len(shape) + 1):  # others are refused below
            observation = maybe_transpose(cast(NDArray[Any], observation), self.observation_space)
        return decide(self.q_net.network, observation, shape, state, episode_start, "the policy")

    def predict(  # type: ignore[override]  # the state is tensors, not numpy arrays
        self,
        observation: Observation,
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
        parameters = super()._get_constructor_parameters() | self.spiking
        if "spec" in parameters:
            for name in ("net_arch", "activation_fn", "features_extractor_class", "features_extractor_kwargs"):
                del parameters[name]
        return parameters


class SpikingMlpPolicy(SpikingPolicy):
    """For vectors: ``net_arch`` (default 64, 64) layers of LIF neurons, or any ``spec``."""


class SpikingCnnPolicy(SpikingPolicy):
    """For images: NatureCNN (Mnih et al. 2015) with LIF neurons, or any ``spec``."""

    standard_extractor = NatureCNN


class SpikingMultiInputPolicy(SpikingPolicy):
    """For a Dict of vectors and numbers, which SpikingDQN joins: ``net_arch`` (default 64, 64) layers of LIF neurons, or any
    ``spec``. An image among the parts goes through NatureCNN's layers first, with LIF neurons, as in Stable-Baselines3."""

    of_parts = CombinedExtractor
