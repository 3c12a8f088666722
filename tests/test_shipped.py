"""What is shipped is run: every agent in the catalogue is loaded, played again, and compared with its card."""

import numpy as np
import pytest
import torch as th

from snn_rl import load_agent
from snn_rl.core.synops import OperationCounter
from snn_rl.store import agents
from snn_rl.store.files import data_folder
from snn_rl.tasks.environments import load_recipe, make_env
from snn_rl.tasks.rollout import play, starts

PLAYED = 10  # episodes that are played again here; of games two, which take minutes over all agents


def test_the_catalogue_holds_the_promised_agents() -> None:
    chain = {"ann", "converted-T5", "T5", "T4", "T3", "T2", "T1"}
    one_frame = {
        "ann-frames1-distill",
        "ann-frames1-sparse",
        "T5-frames1",
        "T5-frames1-zeroed",
        "T1-frames1",
        "T1-frames1-zeroed",
    }
    hidden = {"ann", "T1", "T1-zeroed", "T1-td", "T5", "T5-zeroed"}
    for env, names in {
        "CartPole-v1": chain | {"T1-int8"},
        "PongNoFrameskip-v4": chain | one_frame | {"T1-td", "T1-frames1-int8"},
        "FreewayNoFrameskip-v4": {"ann", "T1"},
        "CartPoleNoVel-v1": hidden | {"T1-int8"},
        "CartPoleFlicker-v1": hidden,
        "PongFlickerNoFrameskip-v4": {"T1", "T1-zeroed", "T1-int8"},
    }.items():
        assert names <= {name.split("/")[1] for name in agents.shipped() if name.split("/")[0] == env}


@pytest.mark.parametrize("name", agents.shipped())
def test_an_agent_plays_as_its_card_says(name: str) -> None:
    th.set_num_threads(1)
    agent = load_agent(name, engine="event" if "-int" in name else None)
    recipe = load_recipe(agent.env, agent.frames)
    begins = starts(recipe, 2 if recipe.atari else PLAYED, seed=0)
    returns = np.zeros(len(begins))
    envs = [make_env(recipe, frames=agent.frames) for _ in begins]
    counter = OperationCounter(agent.network, agent.observation_shape)
    for decision in play(agent.network, envs, begins):
        counter.update(decision.observation, decision.layers)
        returns[decision.episode] += decision.reward
    own = [one for one in agent.episodes if (one.protocol, one.training_seed) == ("greedy", agent.made.seed)]
    stored = [one.returned for one in own if one.episode < len(begins)]
    assert len(stored) == len(begins)
    # Another processor rounds otherwise, and a game may then take another turn: near, not equal. Three standard errors.
    limit = max(agent.scores["greedy"].returns.std * 3 * (2 / len(begins)) ** 0.5, 1.0)
    assert abs(returns.mean() - np.mean(stored)) <= limit
    if agent.network.T:  # an agent that never wins would pass the above whatever it does
        assert counter.rates() == pytest.approx(agent.scores["greedy"].spike_rate, rel=0.25)


@pytest.mark.parametrize("name", agents.shipped())
def test_a_card_is_what_its_episodes_say(name: str) -> None:
    agent = load_agent(name)
    for protocol, score in agent.scores.items():
        mates = [one for one in agent.episodes if (one.protocol, one.training_seed) == (protocol, agent.made.seed)]
        assert np.mean([one.returned for one in mates]) == pytest.approx(score.returns.mean)
        assert (score.T, score.frames, score.env) == (agent.network.T, agent.frames, agent.env)


def test_the_catalogue_holds_no_code() -> None:
    for folder in (data_folder("agents"), data_folder("envs")):
        assert not [path for path in folder.rglob("*") if path.suffix in (".py", ".pkl", ".pth", ".zip")]
