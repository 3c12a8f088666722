"""Which of a policy's tensors are the network that decides, algorithm by algorithm, and which algorithms can be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

from snn_rl.core.errors import UserError

READABLE = "DQN, QR-DQN, PPO, A2C and RecurrentPPO with discrete actions can be read"


@dataclass(frozen=True)
class Layout:
    """Where the zips of an algorithm keep the network that decides.

    Attributes:
        bodies: what the names of the feature extractor's tensors begin with; the first that occurs counts.
        heads: the same of the dense layers behind it, in order.
        others: the same of tensors that do not decide: target networks and critics.
        activation: between the dense layers, unless the zip says another.
        quantiles: the last layer gives quantiles of the return, whose mean is the Q-value.
        logits: the last layer gives logits of a policy, no Q-values.
        lstm: what the names of the tensors of an LSTM begin with that comes before the dense layers; "" for none.
    """

    bodies: tuple[str, ...]
    heads: tuple[str, ...]
    others: tuple[str, ...]
    activation: str = "ReLU"
    quantiles: bool = False
    logits: bool = False
    lstm: str = ""

    @property
    def note(self) -> str:
        """What a card has to say of the values; "" for plain Q-values."""
        if self.logits:
            return "; its values are logits of its policy, no Q-values"
        return "; its Q-values are the means of its quantiles" if self.quantiles else ""


DQN = Layout(("q_net.features_extractor.",), ("q_net.q_net.",), ("q_net_target.",))
QR_DQN = Layout(
    ("quantile_net.features_extractor.",),
    ("quantile_net.quantile_net.",),
    ("quantile_net_target.",),
    quantiles=True,
)
ACTOR_CRITIC = Layout(
    ("pi_features_extractor.", "features_extractor."),
    ("mlp_extractor.shared_net.", "mlp_extractor.policy_net.", "action_net."),  # the first: before Stable-Baselines3 1.8
    ("features_extractor.", "vf_features_extractor.", "mlp_extractor.value_net.", "value_net."),
    activation="Tanh",
    logits=True,
)
RECURRENT = dataclasses.replace(
    ACTOR_CRITIC, others=(*ACTOR_CRITIC.others, "lstm_critic.", "critic."), lstm="lstm_actor."
)  # sb3-contrib's RecurrentPPO


def layout_of(names: Collection[str], path: object) -> Layout:
    """The layout of a zip.

    Args:
        names: of its tensors.
        path: of the zip, for messages.

    Raises:
        UserError: if it is of an algorithm that cannot be read.
    """
    if any(name.startswith("lstm_actor.") for name in names):
        return RECURRENT
    if any(name.startswith("q_net.q_net.") for name in names):
        return DQN
    if any(name.startswith("quantile_net.quantile_net.") for name in names):
        return QR_DQN
    if "action_net.weight" in names:
        return ACTOR_CRITIC
    other = "SAC, TD3 or DDPG" if any(name.startswith("actor.") for name in names) else "none that is known here"
    raise UserError(f"'{path}' is an agent of another algorithm ({other}); only {READABLE}")


def check_actions(who: str, actions: str) -> None:
    """Refuses an agent that does what no agent here does.

    Args:
        who: the model or its file, for messages.
        actions: the class of its action space, such as ``Box``; "" where nobody says.

    Raises:
        UserError: for other actions than discrete ones.
    """
    if actions == "Box":
        raise UserError(f"{who} has continuous actions; only {READABLE}")
    if actions in ("MultiDiscrete", "MultiBinary"):
        raise UserError(
            f"{who} has {actions} actions, several at a time; an agent chooses one: let the environment number their "
            "combinations (Discrete), and train it anew"
        )
