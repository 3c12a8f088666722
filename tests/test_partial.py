"""Tasks that hide something: what the agent sees, what its teacher sees, and what is left of the teacher's first layer."""

import dataclasses
from itertools import islice, pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from conftest import mlp_spec

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import UnconvertibleError
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.tasks.environments import begin, load_recipe, make_env, make_vec_env
from snn_rl.tasks.partial import FULL
from snn_rl.tasks.rollout import Stream
from snn_rl.training.conversion import convert, narrow, record_play


def test_velocities_are_hidden_and_the_rest_is_cartpole() -> None:
    hidden, plain = gym.make("CartPoleNoVel-v1"), gym.make("CartPole-v1")
    seen, info = hidden.reset(seed=3)
    full, _ = plain.reset(seed=3)
    assert seen.tolist() == full[[0, 2]].tolist()
    assert info[FULL].tolist() == full.tolist()
    assert hidden.observation_space.contains(seen)
    for action in (0, 1, 1, 0):
        seen, reward, terminated, truncated, info = hidden.step(action)
        full, *others, _ = plain.step(action)
        assert (seen.tolist(), [reward, terminated, truncated]) == (full[[0, 2]].tolist(), others)
        assert info[FULL].tolist() == full.tolist()


def test_flickering_shows_all_or_nothing_half_of_the_time_and_repeats_with_its_seed() -> None:
    def shown() -> list[bool]:
        env, out = gym.make("CartPoleFlicker-v1"), []
        observation, info = env.reset(seed=7)
        for step in range(400):
            assert (observation == 0).all() or (observation == info[FULL]).all()
            out.append(bool(observation.any()))
            observation, _, terminated, _, info = env.step(step % 2)
            if terminated:
                observation, info = env.reset()
        return out

    first = shown()
    assert 0.4 < np.mean(first) < 0.6
    assert first == shown()


def test_what_flickers_tells_nothing_of_the_hidden_state() -> None:
    env, agree = gym.make("CartPoleFlicker-v1"), []
    for seed in range(200):
        observation, info = env.reset(seed=seed)
        agree.append(bool(observation.any()) == bool(info[FULL][0] >= 0))
    assert 0.35 < np.mean(agree) < 0.65  # CartPole draws its state from the generator of the same seed


def test_an_episode_of_500_steps_is_the_longest() -> None:
    assert gym.spec("CartPoleNoVel-v1").max_episode_steps == gym.spec("CartPoleFlicker-v1").max_episode_steps == 500


def test_a_teacher_of_more_frames_sees_them_and_the_agent_the_newest() -> None:
    env = make_env(load_recipe("CartPole-v1"), frames=1, teacher_frames=3)
    observation, info = env.reset(seed=0)
    assert observation.shape == (4,)
    assert info[FULL].tolist() == [0.0] * 8 + observation.tolist()
    before = observation
    observation, *_, info = env.step(0)
    assert info[FULL].tolist() == [0.0] * 4 + before.tolist() + observation.tolist()


def test_a_hidden_frame_stays_hidden_while_it_is_in_the_stack_and_repeats_with_its_seed() -> None:
    recipe = dataclasses.replace(load_recipe("CartPole-v1"), flicker=0.5)

    def shown(frames: int) -> list[list[bool]]:
        env, out = make_env(recipe, frames=frames, teacher_frames=4), []
        observation, info = env.reset(seed=7)
        for step in range(400):
            stack, full = observation.reshape(frames, 4), info[FULL].reshape(4, 4)[4 - frames :]
            out.append([bool(frame.any()) for frame in stack])
            assert all(
                (frame == (truth if seen else 0)).all() for frame, truth, seen in zip(stack, full, out[-1], strict=True)
            )
            observation, _, terminated, _, info = env.step(step % 2)
            if terminated:
                break
        return out

    one, three = shown(1), shown(3)
    assert one == shown(1)
    assert [stack[-1] for stack in three] == [stack[0] for stack in one]
    assert all(now[:2] == before[1:] for before, now in pairwise(three))
    assert {True, False} == {stack[0] for stack in one}


def test_flickering_pong_hides_half_of_the_frames_and_its_teacher_sees_four() -> None:
    recipe = load_recipe("PongFlickerNoFrameskip-v4")
    env = make_env(recipe, teacher_frames=4)
    observation, info = begin(env, seed=3, start=5)
    plain, _ = begin(make_env(load_recipe("PongNoFrameskip-v4")), seed=3, start=5)
    assert info[FULL].tolist() == plain.tolist()
    seen = []
    for step in range(200):
        observation, *_, info = env.step(step % 6)
        seen.append(bool(observation.any()))
        assert observation.shape == (1, 84, 84)
        assert (observation == info[FULL][-1:] * seen[-1]).all()
    assert 0.35 < np.mean(seen) < 0.65
    ann = agents.load("PongNoFrameskip-v4/ann")
    agent = convert(
        ann, dataclasses.replace(recipe, convert=dataclasses.replace(recipe.convert, observations=80)), 1, frames=1
    )
    assert (agent.env, agent.observation_shape) == ("PongFlickerNoFrameskip-v4", (1, 84, 84))
    summed = ann.network.synapses[0][0].weight.sum(1, keepdim=True)
    assert th.allclose(agent.network.synapses[0][0].weight, summed, atol=1e-5)


@pytest.mark.parametrize("env_id", ["CartPoleNoVel-v1", "CartPoleFlicker-v1"])
def test_the_stream_gives_what_a_teacher_sees_also_where_an_episode_begins(env_id: str) -> None:
    venv = make_vec_env(load_recipe(env_id), 2, seed=0)
    width = venv.observation_space.shape[0]
    steps = list(islice(Stream(QNetwork(mlp_spec(width, 8, 2), T=1), venv, 1.0, np.random.default_rng(0)), 80))
    assert sum(step.done.sum() for step in steps) > 2
    for step in steps:
        seen = step.full[:, [0, 2]] if width == 2 else step.full
        assert (step.observation == seen)[step.observation.any(1)].all()
    begins = np.concatenate([step.full[step.episode_start] for step in steps])
    assert (np.abs(begins) <= 0.05).all()  # CartPole's initial states, velocities included


def test_the_first_layer_keeps_what_is_seen_and_takes_on_the_kernels_of_lost_frames() -> None:
    conv = {"type": "Conv2d", "in_channels": 3, "out_channels": 1, "kernel_size": [1, 1], "stride": [1, 1], "padding": [0, 0]}
    tail = [{"type": "ReLU"}, {"type": "Flatten"}, {"type": "Linear", "in_features": 1, "out_features": 2}]
    ann = QNetwork([conv, *tail], T=0)
    with th.no_grad():
        ann.synapses[0][0].weight[0, :, 0, 0] = th.tensor([1.0, 2.0, 4.0])
    assert narrow(ann, 3, 1).synapses[0][0].weight.flatten().tolist() == [7.0]
    assert narrow(ann, 3, 2).synapses[0][0].weight.flatten().tolist() == [3.0, 4.0]
    scene = th.rand(1, 1, 1, 1)  # at rest: the same in all frames
    assert th.allclose(narrow(ann, 3, 1)(scene)[0], ann(scene.expand(1, 3, 1, 1))[0])
    dense = QNetwork(mlp_spec(4, 2, 2), T=0)
    left = narrow(dense, 1, 1, observed=(0, 2))
    assert th.equal(left.synapses[0][0].weight, dense.synapses[0][0].weight[:, [0, 2]])
    image = QNetwork([{"type": "Flatten"}, *mlp_spec(12, 2, 2)], T=0)
    scene = th.rand(1, 1, 2, 2)
    assert th.allclose(narrow(image, 3, 1)(scene)[0], image(scene.expand(1, 3, 2, 2))[0], atol=1e-6)
    pool = {"type": "AvgPool2d", "kernel_size": 1}
    with pytest.raises(UnconvertibleError, match="begins with AvgPool2d"):
        narrow(QNetwork([pool, {"type": "Flatten"}, *mlp_spec(4, 2, 2)], T=0), 2, 1)


def test_an_ann_that_sees_all_is_converted_for_an_agent_that_does_not() -> None:
    ann, recipe = agents.load("CartPole-v1/ann"), load_recipe("CartPoleNoVel-v1")
    play = record_play(ann, recipe, 30, 0, 1)
    assert (play.observations.shape[2:], play.of_teacher.shape[2:]) == ((2,), (4,))
    assert th.equal(play.observations, play.of_teacher[..., [0, 2]])
    agent = convert(ann, recipe, 1)
    assert (agent.env, agent.observation_shape, agent.frames) == ("CartPoleNoVel-v1", (2,), 1)
    assert agent.made.conversion["T=1"].agreement > 0
    assert agent.network.lifs[0].decay.numel() == 256


def test_an_agent_cannot_see_more_than_its_ann() -> None:
    recipe = load_recipe("CartPole-v1")
    ann = Agent("CartPole-v1", "ann", QNetwork(mlp_spec(4, 8, 2), T=0), (4,))
    with pytest.raises(UserError, match="cannot see 2"):
        convert(ann, recipe, 1, frames=2)
    two = Agent("CartPole-v1", "ann", QNetwork(mlp_spec(8, 8, 2), T=0), (8,), frames=2)
    with pytest.raises(UserError, match="it may see one"):
        convert(two, load_recipe("CartPoleFlicker-v1"), 1, frames=1)
