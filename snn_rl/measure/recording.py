"""What every neuron of an agent does while it plays: spikes and membranes of each layer at each timestep, as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork, State, membranes_first
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.sb3.zips import load_agent
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import begin, load_recipe, make_env
from snn_rl.tasks.rollout import Start, check_fits, random_actions, starts


@dataclass(frozen=True, repr=False)
class LayerRecord:
    """A layer of neurons over N decisions of T timesteps.

    Attributes:
        spikes: ``(N, T, *neurons)`` bool; ``neurons`` is ``(channels, height, width)`` behind a convolution, else a number.
        membranes: ``(N, T, *neurons)`` float32: the potential after the timestep, its reset included.
        v_th: the threshold.
        decay: part of the potential that a timestep keeps: ``()`` or what broadcasts to ``neurons``.
    """

    spikes: NDArray[np.bool_]
    membranes: NDArray[np.float32]
    v_th: float
    decay: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"LayerRecord(spikes and membranes {self.spikes.shape}, v_th {self.v_th:.3g})"


@dataclass(frozen=True, repr=False)
class Recording:
    """An agent at play, decision by decision: N decisions of all episodes, one behind the other.

    Attributes:
        agent: ``ENV/NAME``.
        T: timesteps per decision.
        layers: by name (``conv1``, ``fc1``, ...), first to last; the readout does not fire and is not among them.
        q: ``(N, actions)`` float32, Q-values or logits.
        actions: ``(N,)`` int, that were taken.
        rewards: ``(N,)`` float.
        episode: ``(N,)`` int, to which episode a decision belongs, from 0.
    """

    agent: str
    T: int
    layers: dict[str, LayerRecord]
    q: NDArray[np.float32]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    episode: NDArray[np.int64]

    def __repr__(self) -> str:
        layers = ", ".join(f"{name} {'x'.join(map(str, one.spikes.shape[2:]))}" for name, one in self.layers.items())
        return f"Recording({self.agent}: {len(self.actions)} decisions of {self.T} timestep{'s' * (self.T > 1)}; {layers})"


def record(
    agent: Agent | str | Path,
    episodes: int = 1,
    *,
    decisions: int | None = None,
    seed: int = 0,
    epsilon: float = 0.0,
) -> Recording:
    """Plays an agent and keeps what its neurons do.

    Args:
        agent: a spiking one, or its folder, or its shipped name. Its environment is built as its recipe says. Of an agent of
            integers the membranes are given in parts of ``v_th``, as those of the agent that it was made from.
        episodes: that are played, from the starts of an evaluation.
        decisions: stop after so many in all; None for whole episodes. A decision of Pong is 20,000 neurons, 100 KB at T=1.
        seed: of the first episode.
        epsilon: probability of a random action.

    Raises:
        UserError: for an ANN, and for numbers out of range.
    """
    agent = agent if isinstance(agent, Agent) else load_agent(agent)
    network = agent.network
    if not network.spiking:
        raise UserError(f"{agent.label} is an ANN, whose neurons do not spike; give a spiking agent")
    if isinstance(network, IntegerNetwork):
        network = IntegerNetwork(network.integers)  # the reference: an engine that plays it does not show its timesteps
    if decisions is not None and decisions < 1:
        raise UserError(f"decisions must be at least 1, got {decisions}")
    recipe = load_recipe(agent.env, agent.frames, agent.module)
    rows: list[_Row] = []
    for n, start in enumerate(starts(recipe, episodes, seed)):
        env = make_env(recipe, frames=agent.frames)
        check_fits(network, cast(tuple[int, ...], env.observation_space.shape), env.action_space)
        for row in _episode(network, env, start, n, epsilon):
            rows.append(row)
            if len(rows) == decisions:
                break
        env.close()
        if len(rows) == decisions:
            break
    layers = {}
    for n, (name, lif) in enumerate(zip(network.layer_names, network.lifs, strict=False)):
        spikes, membranes = (np.stack([getattr(row, key)[n] for row in rows]) for key in ("spikes", "membranes"))
        layers[name] = LayerRecord(spikes, membranes, lif.v_th.item(), lif.decay.detach().cpu().numpy())
    return Recording(
        agent.label,
        network.T,
        layers,
        np.stack([row.q for row in rows]),
        np.array([row.action for row in rows]),
        np.array([row.reward for row in rows]),
        np.array([row.episode for row in rows]),
    )


@dataclass(frozen=True)
class _Row:
    """One decision."""

    episode: int
    q: NDArray[np.float32]
    action: int
    reward: float
    spikes: list[NDArray[np.bool_]]
    membranes: list[NDArray[np.float32]]


def _episode(network: QNetwork, env: Any, start: Start, episode: int, epsilon: float) -> Iterator[_Row]:
    """The decisions of one episode."""
    device, rng = next(network.parameters()).device, random_actions(start)
    observation, _ = begin(env, *start)
    state: State | None = None
    done, decide = False, _integers if isinstance(network, IntegerNetwork) else _floats
    while not done:
        with th.no_grad():
            q, state, spikes, membranes = decide(network, th.as_tensor(observation, device=device), state)
        action = int(q.argmax())
        if epsilon and rng.random() < epsilon:
            action = int(rng.integers(len(q)))
        observation, reward, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
        yield _Row(episode, q, action, float(reward), spikes, membranes)


Decided = tuple[NDArray[np.float32], State, list[NDArray[np.bool_]], list[NDArray[np.float32]]]
"""Values ``(actions,)``, the state after the decision, and of each layer the spikes and the membranes ``(T, *neurons)``."""


def _floats(network: QNetwork, observation: Tensor, state: State | None) -> Decided:
    """What :meth:`~snn_rl.core.network.QNetwork.unroll` computes in one decision, one timestep after the other."""
    x = (observation.float() * network.input_scale)[None]  # (T or 1, *observation)
    recurrent, before = dict(network.recurrent.items()), network.state_by_layer(state if network.carry else None)
    after, spikes, membranes = list[State](), list[NDArray[np.bool_]](), list[NDArray[np.float32]]()
    for n, lif in enumerate(network.lifs):
        current, own = network.with_numbers(n, network.synapses[n](x), observation), before[n]
        z, v = list[Tensor](), list[Tensor]()
        for t in range(network.T):
            i = current[t if len(current) > 1 else 0]
            out, own = lif.unroll(i[None, None, None], own, th.ones(1, 1, device=i.device), 1, recurrent.get(str(n)))
            z.append(out[0, 0, 0])
            v.append(own[0][0])
        x = th.stack(z)
        after.append(own or ())
        spikes.append(x.bool().cpu().numpy())
        membranes.append(th.stack(v).float().cpu().numpy())
    q = network.with_numbers(len(network.lifs), network.synapses[-1](x.float().mean(0, keepdim=True)), observation)[0]
    return q.cpu().numpy(), membranes_first(after), spikes, membranes


def _integers(network: QNetwork, observation: Tensor, state: State | None) -> Decided:
    """The same of integers; membranes in parts of ``v_th``."""
    network = cast(IntegerNetwork, network)
    v = list(network.initial_state(1, observation.shape) if state is None or not network.carry else state)
    z = dict(zip(map(int, network.recurrent), v[len(network.neurons) :], strict=True))
    del v[len(network.neurons) :]
    seen, total = th.as_tensor(network.integers.seen(observation[None].cpu().numpy())), th.zeros(())
    spikes, membranes = [list[Tensor]() for _ in v], [list[Tensor]() for _ in v]
    for _ in range(network.T):
        sent, readout = network.timestep(seen, v, z)
        total = total + readout[0]
        for n, neurons in enumerate(network.integers.neurons):
            unit = (neurons.v_th / th.as_tensor(neurons.threshold)).view(-1, *[1] * (v[n].dim() - 2))
            spikes[n].append(sent[n][0])
            membranes[n].append(v[n][0] * unit)
    q = total.double() * network.integers.form.q_scale
    shown = [th.stack(own).bool().numpy() for own in spikes], [th.stack(own).float().numpy() for own in membranes]
    return q.float().numpy(), (*v, *z.values()), *shown
