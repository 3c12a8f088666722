"""The ANNs that an agent's energy is compared with: of its shape, and given all that the agent has.

The dense ANN; one that skips zeros; one that was trained to be less active; and one that computes only what changed since the
last decision. The last three see what the agent sees while it plays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from snn_rl.core.counts import Counts
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import NEURONS, Spec, has_lstm
from snn_rl.measure.energy import UJ, Operations
from snn_rl.measure.technology import Technology
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import Energy, Opponents, read
from snn_rl.store.files import CARD, folder_name
from snn_rl.tasks.catalogue import base_id

ANN, SPARSE = "ann", "sparse"
NO_ANN = "no ANN of its shape is beside the agent or shipped"
NO_SPARSE = (
    "no ANN of its shape that was trained to be less active is beside the agent or shipped; train --T 0 --objective distill "
    "--spike-penalty W makes one"
)
UNCOUNTED = "layers of weights follow each other with no neurons between: changes are not counted through them"
UNCOUNTED_LSTM = "an LSTM multiplies what it sent itself, which always changes: changes are not counted through it"


@dataclass(frozen=True)
class Found:
    """The ANNs of an agent's shape, ``ann`` and ``sparse``, as far as there are such."""

    networks: Mapping[str, QNetwork] = field(default_factory=dict)

    @property
    def watching(self) -> tuple[QNetwork, ...]:
        """Those that look at what the agent sees."""
        return tuple(self.networks.values())


def shape(spec: Spec) -> Spec:
    """What two networks have in common that multiply as much: all but the kind of their neurons."""
    return [layer for layer in spec if layer["type"] not in NEURONS]


def find(agent: Agent) -> Found:
    """The ANNs of an agent's shape and environment: those beside its folder, else shipped ones. An ANN is its own opponent."""
    found: dict[str, QNetwork] = {}
    if not agent.network.spiking:
        found[SPARSE if agent.made.spike_penalty else ANN] = agent.network
    for other in _candidates(agent):
        kind = SPARSE if other.made.spike_penalty else ANN
        if kind not in found and shape(other.network.spec) == shape(agent.network.spec):
            found[kind] = other.network
    return Found({kind: network for kind, network in found.items() if network is not agent.network})


def _candidates(agent: Agent) -> Iterator[Agent]:
    beside = [] if agent.path is None else sorted(agent.path.resolve().parent.glob(f"*/{CARD}"))
    named = f"{folder_name(base_id(agent.env))}/ann"
    places: list[str | Path] = [card.parent for card in beside]
    places += [name for name in agents.shipped() if name.startswith(named)]
    for place in places:
        try:
            card, _ = read(agents.find(place))
            fits = (card.T, card.frames, tuple(card.observation_shape)) == (0, agent.frames, agent.observation_shape)
            if fits and card.integer is None and base_id(card.env) == base_id(agent.env):
                yield agents.load(place)
        except UserError:  # one that is damaged or half written is nobody's opponent
            continue


def compared(agent: Agent, cost: Energy, own: Counts, found: Mapping[str, Counts], technology: Technology) -> Energy:
    """An energy with the opponents in it.

    Args:
        agent: whose energy it is.
        cost: of its own operations.
        own: these.
        found: operations of the ANNs that :func:`find` found.
        technology: whose prices it is at.
    """
    counted = dict(found)
    if not own.spiking:
        counted[SPARSE if agent.made.spike_penalty else ANN] = own
    why = {}
    ann, sparse = counted.get(ANN), counted.get(SPARSE)
    changes = [Operations.changed(one) for one in counted.values()]
    least = [one.uj(technology) for one in changes if one is not None]
    if ann is None:
        why["nonzero"] = NO_ANN
    if sparse is None:
        why["sparse"] = NO_SPARSE
    if not least:
        uncounted = UNCOUNTED_LSTM if has_lstm(agent.network.spec) else UNCOUNTED
        why["changes"] = uncounted if counted else NO_ANN
    price = technology.mac_pj * UJ
    opponents = Opponents(
        dense=cost.ann_uj,
        nonzero=None if ann is None else ann.effective_macs * price,
        sparse=None if sparse is None else sparse.effective_macs * price,
        changes=min(least, default=None),
        nulls=frozenset({"nonzero", "sparse", "changes"}),
    )
    spent = [one for one in (cost.snn_uj, cost.change_uj) if one is not None]
    ratio = opponents.strongest / min(spent) if own.spiking and min(spent) else None
    return replace(cost, opponents=opponents, opponents_missing=why or None, ratio_strongest=ratio)
