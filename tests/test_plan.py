"""Plans: what a run is made of, from what, seeing what, in which folders and at what cost; nothing is trained."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from snn_rl import train
from snn_rl.core.errors import UserError
from snn_rl.store import agents
from snn_rl.store.card import ENVIRONMENT_STEPS, GRADIENT_STEPS, Work
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.view import View
from snn_rl.training import planning, run
from snn_rl.training.options import Options
from snn_rl.training.plan import Given, Plan

CARTPOLE, PONG = Given("CartPole-v1/ann", "CartPole-v1", 1), Given("PongNoFrameskip-v4/ann", "PongNoFrameskip-v4", 4)
TWO = Given("two/ann-frames2", "CartPole-v1", 2)


def plan(
    env: str = "CartPole-v1", given: Given | None = None, recipes: planning.Recipes = load_recipe, **options: Any
) -> Plan:
    return planning.plan(Options(env, **options), given, recipes)


def names(made: Plan) -> list[str]:
    return [agent.name for agent in made.agents]


def changed(**fields: Any) -> planning.Recipes:
    """CartPole's recipe with other values."""

    def recipe(env_id: str, frames: int | None = None) -> Recipe:
        return dataclasses.replace(load_recipe(env_id, frames), **fields)

    return recipe


# What is made, in which order, from what


def test_one_agent_at_one_t_is_trained_straight_and_by_stages_only_if_it_falls_short() -> None:
    made = plan(given=CARTPOLE)
    assert names(made) == ["ann", "converted-T1", "T1"]
    assert [agent.name for agent in made.perhaps] == ["converted-T5", "T5", "T4", "T3", "T2", "pruned-T1"]
    assert [agent.start for agent in made.perhaps] == ["ann", "converted-T5", "T5", "T4", "T3", "T2"]
    assert made.work == [Work(3_000, GRADIENT_STEPS)]
    said = str(made).partition("only if T1 falls short of its ANN:\n")
    assert said[0].split()[-3:] == ["3,000", "gradient", "steps"]  # all together
    assert [line.split()[0] for line in said[2].splitlines()] == [agent.name for agent in made.perhaps]
    assert plan(given=CARTPOLE, T=3).perhaps[-1].name == "pruned-T3"
    never_compared = changed(prune=dataclasses.replace(load_recipe("CartPole-v1").prune, stop_at_share=0.0))
    for decided in (
        plan(given=CARTPOLE, start=1),
        plan(given=CARTPOLE, T=5),
        plan(given=CARTPOLE, objective="td"),
        plan(given=CARTPOLE, objective="td", start=5),
        plan(given=CARTPOLE, recipes=never_compared),
    ):
        assert decided.otherwise == ()


def test_a_stage_of_pruning_that_falls_short_is_trained_straight_too() -> None:
    made = plan(given=CARTPOLE, start=5, T=3)
    assert [(either.short, [agent.name for agent in either.agents]) for either in made.otherwise] == [
        ("T4", ["converted-T4", "direct-T4"]),
        ("T3", ["converted-T3", "direct-T3"]),
    ]
    assert [agent.start for agent in made.perhaps] == ["ann", "converted-T4", "ann", "converted-T3"]
    assert [agent.T for agent in made.perhaps] == [4, 4, 3, 3]
    assert "only if T4 falls short of its ANN:\nconverted-T4" in str(made)
    ablated = plan(given=CARTPOLE, start=5, T=3, ablate=True)  # has the last one anyway
    assert [either.short for either in ablated.otherwise] == ["T4"]


def test_a_chain_is_the_ann_its_conversion_and_a_stage_for_each_t() -> None:
    made = plan(given=CARTPOLE, start=5)
    assert names(made) == ["ann", "converted-T5", "T5", "T4", "T3", "T2", "T1"]
    assert [agent.how for agent in made.agents] == ["given", "converted"] + ["distill"] * 5
    assert [agent.T for agent in made.agents] == [0, 5, 5, 4, 3, 2, 1]
    assert [agent.start for agent in made.agents] == ["", *names(made)[:-1]]
    assert made.notes == ("ANN: shipped",)


def test_an_ablation_converts_straight_to_t_and_trains_from_there() -> None:
    made = plan(given=CARTPOLE, ablate=True, start=5)
    assert names(made)[-2:] == ["converted-T1", "direct-T1"]
    assert [agent.start for agent in made.agents[-2:]] == ["ann", "converted-T1"]


def test_more_timesteps_than_any_agent_had_are_said_to_be_untested() -> None:
    assert any("more than 5 timesteps per decision are untested" in note for note in plan(given=CARTPOLE, T=9).notes)
    assert not any("untested" in note for note in plan(given=CARTPOLE, T=5).notes)


def test_stages_may_begin_at_another_t() -> None:
    assert names(plan(given=CARTPOLE, start=2)) == ["ann", "converted-T2", "T2", "T1"]
    assert names(plan(given=CARTPOLE, T=3, start=5)) == ["ann", "converted-T5", "T5", "T4", "T3"]
    assert names(plan("CartPoleNoVel-v1", CARTPOLE)) == ["ann", "converted-T1", "T1"]  # where its recipe says start = 1


def test_t0_is_the_ann_alone() -> None:
    (ann,) = plan(T=0).agents
    assert (ann.name, ann.how, ann.T) == ("ann", "ann", 0)
    assert plan(T=0).notes == ("ANN: scratch",)


def test_an_ann_that_sees_less_learns_from_one_that_sees_all() -> None:
    made = plan("CartPoleNoVel-v1", CARTPOLE, T=0, objective="distill")
    assert names(made) == ["ann", "narrowed", "ann-distill"]
    assert [agent.kept for agent in made.agents] == [True, False, True]
    assert made.agents[-1].start == "narrowed"
    assert made.agents[-1].recipe.prune.spike_penalty == 0  # it has no spikes
    fewer = plan(given=TWO, T=0, objective="distill", frames=1)
    assert names(fewer)[-1] == "ann-frames1-distill"


def test_by_reward_nobody_who_sees_more_helps() -> None:
    made = plan("CartPoleNoVel-v1", objective="td", start=2)
    assert names(made) == ["random-T2", "T2-td", "T1-td"]
    assert [agent.kept for agent in made.agents] == [False, True, True]
    assert made.recipe.train.data_init
    assert made.notes == ("ANN: none",)
    own = Given("CartPoleNoVel-v1/ann", "CartPoleNoVel-v1", 1)
    assert names(plan("CartPoleNoVel-v1", own, objective="td", ann=own.where)) == ["ann", "converted-T1", "T1-td"]
    assert names(plan(given=CARTPOLE, objective="td", start=1)) == ["ann", "converted-T1", "T1-td"]  # nothing is hidden


def test_random_weights_may_be_asked_for() -> None:
    made = plan(ann="none", objective="td", start=1)
    assert (names(made), made.notes) == (["random-T1", "T1-td"], ())


# What is seen, and how names tell it


def test_what_is_hidden_from_agents_their_teacher_sees() -> None:
    made = plan("CartPoleNoVel-v1", CARTPOLE)
    assert made.view == View(1, 1, hidden=True, frame_by_frame=True)
    assert made.agents[0].view == View(1)


def test_a_teacher_from_nothing_sees_all_and_keeps_to_the_budget() -> None:
    made = plan("CartPoleNoVel-v1", ann="scratch", total_timesteps=5_000)
    ann = made.agents[0]
    assert (ann.name, ann.how, ann.recipe.id) == ("ann", "ann", "CartPole-v1")
    assert ann.work == Work(5_000, ENVIRONMENT_STEPS)


def test_fewer_frames_than_the_ann_s_are_in_the_names() -> None:
    made = plan(given=TWO, ann=TWO.where, frames=1, start=5)
    assert names(made)[:3] == ["ann", "converted-T5-frames1", "T5-frames1"]
    assert made.view == View(1, 2)
    as_many = plan(given=TWO, ann=TWO.where, start=5)  # what nobody asked for is not taken away
    assert names(as_many)[:3] == ["ann", "converted-T5", "T5"]
    assert as_many.view == View(2, 2)


def test_an_ann_of_another_number_of_frames_is_called_so() -> None:
    assert names(plan(T=0, frames=2)) == ["ann-frames2"]


def test_pong_s_agents_see_one_frame_of_the_four_of_their_ann() -> None:
    made = plan("PongNoFrameskip-v4", PONG)
    assert names(made) == ["ann", "converted-T1-frames1", "T1-frames1"]
    assert made.view == View(1, 4)
    assert made.recipe.convert.decay == (0.05, 0.95)  # of the recipe for one frame
    assert names(plan("PongNoFrameskip-v4", PONG, frames=4))[:2] == ["ann", "converted-T5"]
    scratch = plan("PongNoFrameskip-v4", ann="scratch")
    assert (scratch.agents[0].name, scratch.agents[0].view.frames) == ("ann", 4)
    alone = plan("PongNoFrameskip-v4", T=0)
    assert (names(alone), alone.view.frames) == (["ann"], 4)


@pytest.mark.parametrize(
    ("options", "frames"), [({}, 1), ({"frames": 2}, 2), ({"carry": False}, 1), ({"T": 0, "ann": "scratch"}, 2)]
)
def test_a_recipe_may_say_how_many_frames_spiking_agents_see(options: dict[str, Any], frames: int) -> None:
    given = None if options.get("ann") == "scratch" else TWO
    made = plan(given=given, recipes=changed(frames=2, spiking_frames=1), **({"ann": TWO.where, "T": 5} | options))
    assert made.agents[-1].view.frames == frames
    assert ("-frames1" in made.agents[-1].name) == (frames == 1)


def test_a_zeroed_agent_is_called_so() -> None:
    assert names(plan("CartPoleNoVel-v1", CARTPOLE, carry=False)) == ["ann", "converted-T1-zeroed", "T1-zeroed"]


def test_another_objective_than_the_recipe_s_is_in_the_name() -> None:
    assert names(plan(given=CARTPOLE, objective="td", start=1))[-1] == "T1-td"
    by_reward = changed(prune=dataclasses.replace(load_recipe("CartPole-v1").prune, objective="td", start=1))
    assert names(plan(given=CARTPOLE, recipes=by_reward))[-1] == "T1"
    assert names(plan(given=CARTPOLE, recipes=by_reward, objective="distill"))[-1] == "T1-distill"


def test_folder_and_settings_are_those_of_the_options() -> None:
    made = plan("PongNoFrameskip-v4", PONG, seed=3)
    assert made.out == Path("runs/PongNoFrameskip-v4-T1-seed3")
    assert plan(given=CARTPOLE, out=Path("x")).out == Path("x")
    assert made.settings == {
        "env": "PongNoFrameskip-v4",
        "seed": 3,
        "frames": 1,
        "carry": True,
        "ann": None,
        "objective": "distill",
        "spike_penalty": None,
        "start": None,
        "total_timesteps": None,
        "recipe_set": None,
    }
    assert plan(given=CARTPOLE, recipe_set=("prune.batch_size=8",)).settings["recipe_set"] == ["prune.batch_size=8"]


def test_a_number_of_the_recipe_that_is_set_anew_is_that_of_every_training() -> None:
    made = run.plan_for(
        Options("CartPole-v1", ann="scratch", recipe_set=("train.total_timesteps=30000", "prune.batch_size=8"))
    )
    assert {agent.recipe.train.total_timesteps for agent in made.agents} == {30_000}
    assert {agent.recipe.prune.batch_size for agent in made.agents} == {8}


# What it costs


def test_the_cost_is_known_before_anything_is_trained() -> None:
    made = plan("PongNoFrameskip-v4", ann="scratch", frames=4)
    recipe = load_recipe("PongNoFrameskip-v4")
    steps = recipe.prune.gradient_steps
    assert [agent.work for agent in made.agents[2:]] == [Work(number, GRADIENT_STEPS) for number in reversed(steps)]
    assert made.work == [Work(recipe.train.total_timesteps, ENVIRONMENT_STEPS), Work(sum(steps), GRADIENT_STEPS)]


def test_a_plan_is_the_same_data_for_the_same_options_and_cannot_be_changed() -> None:
    assert plan(given=CARTPOLE) == plan(given=CARTPOLE)
    seeds = [planning.plan(dataclasses.replace(Options("CartPole-v1"), seed=seed), CARTPOLE, load_recipe) for seed in (0, 1)]
    assert [one.out.name for one in seeds] == ["CartPole-v1-T1-seed0", "CartPole-v1-T1-seed1"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        seeds[0].options = Options("CartPole-v1")


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert train.main(["--env", "CartPoleNoVel-v1", "--out", str(out), "--device", "cpu", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for words in ("ANN: shipped", "copy of CartPole-v1/ann", "converted from ann", "nothing hidden", "9,000 gradient steps"):
        assert words in " ".join(printed.split())
    assert not out.exists()
    assert list(tmp_path.iterdir()) == []


# Which ANN is taken


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({}, "CartPole-v1/ann"),
        ({"ann": "shipped"}, "CartPole-v1/ann"),
        ({"ann": "my.zip"}, "my.zip"),
        ({"ann": "scratch"}, None),
        ({"T": 0}, None),
        ({"T": 0, "objective": "distill"}, "CartPole-v1/ann"),
        ({"env": "CartPoleNoVel-v1"}, "CartPole-v1/ann"),
        ({"env": "CartPoleNoVel-v1", "objective": "td"}, None),
        ({"env": "Acrobot-v1"}, None),
    ],
)
def test_the_ann_is_the_one_asked_for_else_the_shipped_one(options: dict[str, Any], where: str | None) -> None:
    asked = Options(**({"env": "CartPole-v1"} | options))
    assert planning.ann_to_look_at(asked, load_recipe(asked.env), ["CartPole-v1/ann"]) == where


def test_more_frames_than_the_shipped_ann_sees_are_trained_from_nothing() -> None:
    made = plan(given=CARTPOLE, frames=2)
    assert (made.ann, made.agents[0].how, made.agents[0].view.frames) == (None, "ann", 2)
    assert made.notes == ("ANN: scratch (CartPole-v1/ann sees only 1 frame(s))",)


def test_planning_reads_the_ann_that_is_there() -> None:
    made = run.plan_for(Options("CartPole-v1"))
    assert made == plan(given=CARTPOLE)
    assert CARTPOLE.where in agents.shipped()


def test_an_ann_that_sees_as_much_can_learn_to_be_less_active() -> None:
    made = plan(given=CARTPOLE, T=0, objective="distill", spike_penalty=0.5)
    assert [agent.name for agent in made.agents] == ["ann", "narrowed", "ann-sparse"]
    last = made.agents[-1]
    assert (last.recipe.prune.spike_penalty, last.work.number) == (0.5, planning.SPARSE_STEPS)


# What is refused


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"T": -1}, None, "--T must be at least 1, or 0 for the ANN alone, got -1"),
        ({"total_timesteps": 0}, None, "--total-timesteps must be at least 1"),
        ({"T": 0, "total_timesteps": 1_000}, None, "--total-timesteps 1,000 is too few: in the first 1,000 .*; give more"),
        ({"total_timesteps": 5_000}, CARTPOLE, "for training by reward.*add --ann scratch or --objective td"),
        ({"T": 0, "total_timesteps": 5_000, "ann": "x"}, CARTPOLE, "for training by reward.*add --ann scratch$"),
        ({"T": 3, "start": 2}, CARTPOLE, "--start must be at least --T, got 2 and 3"),
        ({"T": 0, "spike_penalty": 0.5}, None, "--spike-penalty with --T 0 .* add --objective distill"),
        ({"T": 0, "carry": False}, None, "--no-carry is for spiking agents"),
        ({"T": 0, "start": 2}, None, "--start is for spiking agents"),
        ({"T": 0, "ablate": True}, None, "--ablate is for spiking agents"),
        ({"extractor": "a:B"}, CARTPOLE, "--extractor is for an SB3 zip"),
        ({"objective": "td", "spike_penalty": 0.5}, CARTPOLE, "term of the objective distill"),
        ({"ann": "none"}, None, "add --objective td, or"),
        ({"ann": "none", "T": 0}, None, "--T 0 has --ann scratch"),
        ({"ann": "shipped", "frames": 2}, CARTPOLE, "sees 1 frame.*fewer than 2"),
        ({"T": 0, "objective": "distill"}, CARTPOLE, "learns from one that sees more than itself"),
        (
            {"env": "CartPoleNoVel-v1", "frames": 2},
            CARTPOLE,
            "learns from the ANN of CartPole-v1 frame by frame; use one frame",
        ),
        (
            {"env": "CartPoleNoVel-v1", "ann": TWO.where},
            TWO,
            "learns from the ANN of CartPole-v1 frame by frame; use one frame",
        ),
        (
            {"env": "CartPoleNoVel-v1", "ablate": True},
            CARTPOLE,
            "--ablate compares with stages from a higher T, but .* is trained straight at T=1 here; leave it out",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any], given: Given | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(given=given, **options)


def test_a_shipped_ann_has_to_be_there() -> None:
    with pytest.raises(UserError, match="no ANN is shipped for Acrobot-v1"):
        planning.ann_to_look_at(Options("Acrobot-v1", ann="shipped"), load_recipe("Acrobot-v1"), agents.shipped())
