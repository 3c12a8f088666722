"""Evaluation: whole games, unclipped reward, the same starts for every agent, energy from the spikes of that play."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from snn_rl.core.network import QNetwork
from snn_rl.measure import opponents
from snn_rl.measure.energy import energy
from snn_rl.measure.stats import summary
from snn_rl.measure.technology import FP32, Technology
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import Returns, Score
from snn_rl.store.episodes import Episode
from snn_rl.store.provenance import versions
from snn_rl.tasks.players import Player
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.rollout import Start, starts
from snn_rl.tasks.workers import play_all

NOISY_EPISODES = 100  # with random or sticky actions no two games are the same


@dataclass(frozen=True)
class Protocol:
    """How an agent is evaluated.

    ``epsilon``: probability of a random action. ``sticky``: probability that the environment repeats the previous action; if
    None the recipe's (0 but for ids such as ``ALE/Pong-v5``). ``zeroed``: every decision starts from rest, whatever the agent
    was trained for. ``episodes``: how many; if None the recipe's number, with random or sticky actions at least 100.
    ``seed``: of the first episode; episode n has ``seed + n``.
    """

    epsilon: float = 0.0
    sticky: float | None = None
    zeroed: bool = False
    episodes: int | None = None
    seed: int = 0

    def in_(self, recipe: Recipe) -> Protocol:
        """The same where the stickiness of the recipe itself is not named."""
        return replace(self, sticky=None if self.sticky == recipe.sticky else self.sticky)

    def greedy(self, recipe: Recipe) -> bool:
        """Whether the agent's own actions are all there is to it: it then plays the same game from the same start."""
        return not self.epsilon and not (recipe.sticky if self.sticky is None else self.sticky)

    @property
    def name(self) -> str:
        """What cards and tables call it."""
        words = [f"epsilon {self.epsilon:g}"] * (self.epsilon > 0)
        words += [] if self.sticky is None else [f"sticky {self.sticky:g}"]
        return ", ".join((words or ["greedy"]) + ["membrane zeroed"] * self.zeroed)

    def starts(self, recipe: Recipe) -> list[Start]:
        """Where its episodes begin, the same for every agent.

        Raises:
            UserError: if there are none.
        """
        least = 0 if self.greedy(recipe) else NOISY_EPISODES
        return starts(recipe, max(recipe.evaluate.episodes, least) if self.episodes is None else self.episodes, self.seed)


GREEDY = Protocol()


@dataclass(frozen=True)
class Evaluation:
    """What an agent's play by a protocol came to; ``episodes`` in the order of its starts."""

    protocol: Protocol
    score: Score
    episodes: list[Episode] = field(repr=False)

    def __str__(self) -> str:
        return describe(self)

    def to_json(self) -> dict[str, Any]:
        """What ``evaluate --json`` writes."""
        played = [one.to_json() for one in self.episodes]
        written: dict[str, Any] = {}
        for key, value in self.score.to_json().items():
            written |= {"episodes": played, key: value} if key == "return" else {key: value}
        return written


@contextmanager
def carrying(network: QNetwork, carry: bool) -> Iterator[None]:
    """Whether the network carries its membranes, for a while."""
    own, network.carry = network.carry, carry
    try:
        yield
    finally:
        network.carry = own


def evaluate(
    agent: Agent,
    recipe: Recipe,
    protocol: Protocol = GREEDY,
    *,
    technology: Technology = FP32,
    progress: bool = False,
    processes: int = 1,
) -> Evaluation:
    """Plays an agent.

    Args:
        agent: who plays.
        recipe: of its environment.
        protocol: how.
        technology: whose prices the energy is at.
        progress: show a bar.
        processes: play in at most so many, where that pays, see :func:`~snn_rl.tasks.workers.play_all`.

    Raises:
        UserError: for options out of range and for an agent that does not fit the environment.
    """
    carry, T = agent.network.carry and not protocol.zeroed, agent.network.T
    protocol = replace(protocol.in_(recipe), zeroed=carry != agent.network.carry)
    begins = protocol.starts(recipe)
    found = opponents.find(agent)
    player = Player(agent.network, recipe, agent.frames, protocol.epsilon, protocol.sticky, True, found.watching)
    before = [one.length for one in agent.episodes if one.protocol == protocol.name]
    usual = sum(before) / len(before) if before else None
    total = None if usual is None else round(usual * len(begins))
    with Progress(total, "decisions", f"evaluate {agent.label}", progress) as bar, carrying(agent.network, carry):
        if progress:
            bar.say(f"{bar.description}: {len(begins)} episodes, {protocol.name}")
        played = play_all(player, begins, processes=processes, progress=bar, usual=usual)
    assert played.tally is not None
    counter, *watching = played.tally.counters
    own = counter.counts()
    seen = {kind: one.counts() for kind, one in zip(found.networks, watching, strict=True) if one.decisions}
    score = Score(
        agent=agent.label,
        weights=agents.fingerprint(agent.network),
        env=agent.env,
        T=T,
        frames=agent.frames,
        carry=bool(T and carry),
        epsilon=protocol.epsilon,
        sticky=recipe.sticky if protocol.sticky is None else protocol.sticky,
        returns=Returns.from_json(summary(played.returns)),
        spike_rate=counter.rates() if T else None,
        engine="torch" if agent.network.changes is None else "event",
        energy=opponents.compared(agent, energy(own, technology), own, seen, technology),
        versions=versions(),
    )
    name, seed = protocol.name, agent.made.seed
    episodes = [
        Episode(seed, name, n, begin.start, begin.seed, float(total), int(length))
        for n, (begin, total, length) in enumerate(zip(begins, played.returns, played.lengths, strict=True))
    ]
    return Evaluation(protocol, score, episodes)


def add_score(agent: Agent, result: Evaluation) -> None:
    """Puts an evaluation into an agent's card (without its episodes) and its episodes into ``episodes.csv``, in the place of
    those of the same training and protocol."""
    name = result.protocol.name
    agent.scores[name] = result.score
    agent.episodes = [one for one in agent.episodes if (one.protocol, one.training_seed) != (name, agent.made.seed)]
    agent.episodes += result.episodes


def describe(result: Evaluation) -> str:
    """One line for a person."""
    score, cost = result.score, result.score.energy
    reward = score.returns
    text = f"{score.agent}: return {reward.mean:.2f} (min {reward.min:g}, max {reward.max:g}, {len(result.episodes)} episodes)"
    if score.spike_rate is not None:
        text += "; spikes per neuron and timestep " + ", ".join(
            f"{name} {rate:.3f}" for name, rate in score.spike_rate.items()
        )
    if cost is None:
        return text
    if cost.snn_uj is None or cost.ratio is None:
        text += f"; {cost.ann_uj:.3g} µJ per decision"
    else:
        ratio, word = (cost.ratio, "less") if cost.ratio >= 1 else (1 / cost.ratio, "more")
        text += f"; {cost.snn_uj:.3g} µJ per decision, {ratio:.2f} times {word} than the dense ANN of its shape"
    return f"{text} ({(cost.technology or '').partition(' (')[0]})"


def score(agent: Agent, recipe: Recipe, ablate: bool = False, processes: int = 1) -> None:
    """Evaluates a saved agent by the recipe's protocol, where asked for with the membrane zeroed too; stores it."""
    assert agent.path is not None
    ablate = ablate and agent.network.carry
    protocols = [GREEDY, replace(GREEDY, zeroed=True)][: 1 + ablate]
    missing = [protocol for protocol in protocols if protocol.name not in agent.scores]
    for protocol in missing:
        result = evaluate(agent, recipe, protocol, progress=True, processes=processes)
        add_score(agent, result)
        print(("membrane zeroed: " if protocol.zeroed else "") + describe(result))
    if not missing:
        return
    agents.save_scores(agent)
    if ablate and agent.made.conversion is None:  # what is trained shall use its memory
        carried, zeroed = (agent.scores[protocol.name].returns.ci95 for protocol in protocols)
        if zeroed[0] > carried[1]:
            words = "plays better with its membranes zeroed, as evaluate --no-carry does; train --no-carry trains it so"
            print(f"{agent.label} {words}")
