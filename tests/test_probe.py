"""Linear probes of hidden quantities: against regressions that one can do by hand, and the command on a real agent."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch as th
from conftest import lively, mlp_spec

from snn_rl import probe as command
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import spiking
from snn_rl.measure import probe, ridge
from snn_rl.measure.hidden import Hidden
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.rollout import Start


def episodes(n: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(40, width)) for _ in range(n)]


@pytest.mark.parametrize("width", [3, 60])  # fewer inputs than steps, and more
def test_a_linear_quantity_is_found_and_an_unrelated_one_is_not(width: int) -> None:
    inputs = episodes(6, width)
    linear = [5 + x @ np.arange(width) for x in inputs]
    fitted = ridge.fit(inputs, linear)
    assert fitted.r_squared > (0.999 if width == 3 else 0.5)
    assert np.corrcoef(fitted.read(inputs[-1]), linear[-1])[0, 1] > 0.7
    noise = [np.random.default_rng(n).normal(size=40) for n in range(6)]
    assert ridge.fit(inputs, noise).r_squared < 0.1


@pytest.mark.parametrize("width", [3, 60])
def test_the_weights_solve_the_equations_of_ridge_regression(width: int) -> None:
    [x], y = episodes(1, width), np.random.default_rng(1).normal(size=40)
    for penalty, weights in zip(ridge.PENALTIES, ridge._ridge(x, y), strict=True):
        assert np.allclose(x.T @ (y - x @ weights), penalty * 40 * weights, atol=1e-6)  # the gradient is zero


def test_unknown_steps_are_left_out() -> None:
    inputs = episodes(3, 2)
    wanted = [x[:, 0].copy() for x in inputs]
    for y in wanted:
        y[::2] = np.nan
    assert ridge.fit(inputs, wanted).r_squared > 0.999


def test_what_cannot_be_probed_is_said() -> None:
    with pytest.raises(UserError, match="at least 3 episodes"):
        ridge.fit(episodes(2, 2), [np.zeros(40)] * 2)
    with pytest.raises(UserError, match="never changes"):
        ridge.fit(episodes(3, 2), [np.zeros(40)] * 3)
    with pytest.raises(UserError, match=r"no step .* has the hidden quantity"):
        ridge.fit(episodes(3, 2), [np.full(40, np.nan)] * 3)


def test_a_change_is_that_since_the_step_before_and_unknown_where_a_value_is() -> None:
    moving = Hidden(("speed",), lambda env, info: np.zeros(1), change=True)
    values = np.array([[1.0], [4.0], [np.nan], [5.0], [3.0]])
    assert np.array_equal(moving.quantities(values)[:, 0], [np.nan, 3, np.nan, np.nan, -2], equal_nan=True)
    assert Hidden(("place",), moving.read).quantities(values) is values


def agent(folder: Path, carry: bool = True, recurrent: bool = False) -> Path:
    network = QNetwork(spiking(mlp_spec(2, 12, 8, 2), decays=True, recurrent=recurrent), T=1, carry=carry)
    for lif in lively(network).lifs:
        lif.set(decay=(0.1, 0.9))
    agents.save(Agent("CartPoleNoVel-v1", "T1", network, (2,)), folder)
    return folder


@pytest.mark.parametrize("recurrent", [False, True])
def test_zeroed_membranes_know_only_the_last_observation_and_carried_ones_more(tmp_path: Path, recurrent: bool) -> None:
    one = agents.load(agent(tmp_path / "T1", recurrent=recurrent))
    _, trace = probe.trace(one, load_recipe("CartPoleNoVel-v1"), [Start(1, None), Start(0, None)])
    assert len(trace.observations) == len(trace.hidden) == int(trace.total)
    assert {name: v.shape[1] for name, v in trace.membranes.items()} == {"fc1": 12, "fc2": 8}
    rest = probe.zeroed(one.network, trace.observations, (2,))
    assert np.allclose(rest["fc1"][0], trace.membranes["fc1"][0], atol=1e-6)  # at the first step both begin from rest
    assert not np.allclose(rest["fc1"][3], trace.membranes["fc1"][3], atol=1e-3)
    state = None
    for observation in trace.observations:
        _, state = one.network(th.as_tensor(observation[None]), state)
    assert np.allclose(state[0].detach().numpy()[0], trace.membranes["fc1"][-1], atol=1e-6)


def test_settling_is_unrolling_from_rest_a_few_steps_before(tmp_path: Path) -> None:
    one = agents.load(agent(tmp_path / "T1"))
    observations = np.random.default_rng(0).normal(size=(60, 2))
    with th.no_grad():
        q, _ = one.network.unroll(th.as_tensor(observations)[:, None])
        one.network.synapses[-1][-1].bias -= q.median(0).values[0]  # both actions take turns
        q, _ = one.network.unroll(th.as_tensor(observations)[:, None])
    trace = probe.Trace(observations, q[:, 0].argmax(-1).numpy(), {}, np.zeros((60, 1)), 0.0)
    shares = probe.settling(one, [trace])
    alone = one.network(th.as_tensor(observations[41:]))[0].argmax(-1).numpy()
    assert shares["0"] == (alone == trace.greedy[41:]).mean()
    assert shares["0"] < shares["40"] == 1  # the slowest membrane keeps 0.9^40 of a wrong beginning
    assert probe.settling(one, []) == {}


def test_the_command_leaves_a_figure_and_its_numbers(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command.main([str(agent(tmp_path / "T1")), "--out", str(out), "--episodes", "6"]) == 0
    record = json.loads((out / "memory.json").read_text())
    assert set(record["r_squared"]) == {"cart velocity", "pole angular velocity"}
    assert set(record["r_squared"]["cart velocity"]) == {"observation", "fc1", "fc2"}
    assert (out / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_the_ball_of_pong_has_a_velocity_once_it_is_in_play() -> None:
    recipe = load_recipe("PongNoFrameskip-v4")
    spec = [
        {"type": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 8, "stride": 8},
        {"type": "ReLU"},
        {"type": "Flatten"},
        {"type": "Linear", "in_features": 200, "out_features": 6},
    ]
    pong = Agent(recipe.id, "T1", QNetwork(spec, T=1, input_scale=1 / 255), (1, 84, 84))
    [trace] = probe.trace(pong, recipe, [Start(0, 1)])
    moving = trace.hidden[np.isfinite(trace.hidden).all(1)]
    assert 0.3 < len(moving) / len(trace.hidden) < 1
    assert 1 <= np.median(np.abs(moving[:, 0])) <= 16  # pixels in four emulator frames
    assert -21 <= trace.total < 0


def test_agents_without_anything_to_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="carries no membranes"):
        command.main([str(agent(tmp_path / "T1", carry=False)), "--out", str(tmp_path / "out")])
    whole = str(agent(tmp_path / "T2"))
    with pytest.raises(UserError, match="--episodes must be at least 1, got 0"):
        command.main([whole, "--out", str(tmp_path / "out"), "--episodes", "0"])
    with pytest.raises(UserError, match="what is hidden in CartPole-v1 is not known here; known: CartPoleNoVel-v1"):
        command.main(["CartPole-v1/T1", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
