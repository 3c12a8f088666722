"""`train` from end to end with a tiny recipe: the folders it promises, the ablation, resuming, and refusing."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from snn_rl import train
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.store import agents
from snn_rl.tasks.environments import load_recipe
from snn_rl.tasks.recipes import Recipe
from snn_rl.training import match, run, stages, td


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(env_id: str, frames: int | None = None) -> Recipe:
        full = load_recipe(env_id, frames)
        return dataclasses.replace(
            full,
            train=dataclasses.replace(full.train, eval_freq=200, eval_episodes=2, learning_starts=50, net_arch=(16,)),
            convert=dataclasses.replace(full.convert, observations=80),
            prune=dataclasses.replace(
                full.prune,
                gradient_steps=(4,),
                batch_size=16,
                n_envs=8,
                learning_starts=80,
                evaluations=1,
                eval_episodes=2,
                stop_at_share=0.0,
            ),
            evaluate=dataclasses.replace(full.evaluate, episodes=2),
        )

    monkeypatch.setattr(run, "load_recipe", recipe)


def test_train_leaves_what_it_promises_and_resumes_without_redoing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = [
        "--env",
        "CartPole-v1",
        "--T",
        "1",
        "--ann",
        "scratch",
        "-n",
        "200",
        "--ablate",
        "--start",
        "5",
        "--out",
        str(out),
    ]
    assert train.main([*command, "--device", "cpu"]) == 0
    names = {"ann", "converted-T5", "T5", "T4", "T3", "T2", "T1", "converted-T1", "direct-T1"}
    assert {card.parent.name for card in out.glob("*/card.json")} == names
    assert (out / "report" / "reward_vs_T.png").is_file()
    scores = {name: set(agents.load(out / name).scores) for name in names}
    assert scores["T1"] == {"greedy", "greedy, membrane zeroed"}
    assert scores["ann"] == scores["T2"] == {"greedy"}
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/weights.safetensors")}
    assert train.main([*command, "--device", "cpu", "--resume"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    capsys.readouterr()
    with pytest.raises(UserError, match="exists already"):
        train.main(command)
    with pytest.raises(UserError, match="begun with seed = 0"):
        train.main([*command, "--seed", "1", "--resume"])


def test_where_training_straight_at_t_falls_short_the_stages_are_tried_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_recipe = run.load_recipe

    def recipe(env_id: str, frames: int | None = None) -> Recipe:
        small = tiny_recipe(env_id, frames)
        return dataclasses.replace(small, prune=dataclasses.replace(small.prune, stop_at_share=0.95))

    monkeypatch.setattr(run, "load_recipe", recipe)
    ann = [600.0]  # more than there is in an episode, then less than anybody gets
    of_ann = stages.confirming_returns

    def returns(network: QNetwork, *args: Any, **kwargs: Any) -> NDArray[np.float64]:
        number = match.EPISODES * (match.MORE if kwargs["more"] else 1)
        return of_ann(network, *args, **kwargs) if network.spiking else np.full(number, ann[0])

    monkeypatch.setattr(match, "EPISODES", 10)
    monkeypatch.setattr(stages, "confirming_returns", returns)
    command = ["--env", "CartPole-v1", "--T", "4", "--device", "cpu", "--out"]
    assert train.main([*command, str(tmp_path / "short")]) == 0
    assert "T4 falls short of its ANN" in capsys.readouterr().out
    names = {"ann", "converted-T4", "T4", "converted-T5", "T5", "pruned-T4"}
    assert {card.parent.name for card in (tmp_path / "short").glob("*/card.json")} == names
    assert train.main([*command, str(tmp_path / "chain"), "--start", "5"]) == 0
    said = capsys.readouterr().out
    assert "T4 falls short of its ANN" in said
    assert "training straight at T=4 is tried too: converted-T4, direct-T4" in said
    names = {"ann", "converted-T5", "T5", "T4", "converted-T4", "direct-T4"}
    assert {card.parent.name for card in (tmp_path / "chain").glob("*/card.json")} == names
    ann[0] = 1.0
    assert train.main([*command, str(tmp_path / "enough")]) == 0
    assert "as good as its ANN" in "".join(capsys.readouterr())
    assert {card.parent.name for card in (tmp_path / "enough").glob("*/card.json")} == {"ann", "converted-T4", "T4"}


def test_an_ann_that_cannot_be_had_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        train.main(["--env", "CartPole-v1", "--ann", "absent.zip", "--out", str(tmp_path / "run")])
    with pytest.raises(UserError, match="no ANN is shipped"):
        train.main(["--env", "Acrobot-v1", "--ann", "shipped", "--out", str(tmp_path / "run")])
    with pytest.raises(UserError, match="spiking agent"):
        train.main(["--env", "CartPole-v1", "--ann", "CartPole-v1/T1", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_t0_trains_the_ann_alone(tmp_path: Path) -> None:
    assert train.main(["--env", "CartPole-v1", "--T", "0", "--ann", "scratch", "-n", "200", "--out", str(tmp_path / "r")]) == 0
    assert [card.parent.name for card in (tmp_path / "r").glob("*/card.json")] == ["ann"]
    assert set(agents.load(tmp_path / "r" / "ann").scores) == {"greedy"}


def test_an_agent_that_sees_less_learns_from_an_ann_that_sees_all(tmp_path: Path) -> None:
    out = tmp_path / "r"
    assert train.main(["--env", "CartPoleNoVel-v1", "--T", "5", "--out", str(out), "--device", "cpu"]) == 0
    ann, spiking = agents.load(out / "ann"), agents.load(out / "T5")
    assert (ann.env, ann.observation_shape) == ("CartPole-v1", (4,))
    assert (spiking.env, spiking.observation_shape) == ("CartPoleNoVel-v1", (2,))
    assert spiking.made.teacher.name == "CartPole-v1/ann"
    assert (out / "report" / "CartPoleNoVel-v1" / "report.md").is_file()


def test_a_teacher_from_nothing_sees_all_and_keeps_to_the_budget(tmp_path: Path) -> None:
    out = tmp_path / "r"
    command = ["--env", "CartPoleNoVel-v1", "--T", "5", "--ann", "scratch", "-n", "200", "--out", str(out), "--device", "cpu"]
    assert train.main(command) == 0
    ann = agents.load(out / "ann")
    assert (ann.env, ann.observation_shape, str(ann.made.work)) == ("CartPole-v1", (4,), "200 environment steps")


def test_a_spiking_agent_may_see_fewer_frames_than_its_ann(tmp_path: Path) -> None:
    two = tmp_path / "two"
    common = ["--env", "CartPole-v1", "--device", "cpu"]
    assert (
        train.main([*common, "-n", "200", "--T", "0", "--frames", "2", "--out", str(two)]) == 0
    )  # more than the shipped ANN sees
    out = tmp_path / "one"
    assert train.main([*common, "--T", "5", "--frames", "1", "--ann", str(two / "ann-frames2"), "--out", str(out)]) == 0
    assert agents.load(out / "ann").observation_shape == (8,)
    assert (agents.load(out / "T5-frames1").observation_shape, agents.load(out / "T5-frames1").name) == ((4,), "T5-frames1")
    out = tmp_path / "as-many"  # what nobody asked for is not taken away
    assert train.main([*common, "--T", "5", "--ann", str(two / "ann-frames2"), "--out", str(out)]) == 0
    assert agents.load(out / "T5").observation_shape == (8,)


def test_a_recipe_may_say_how_many_frames_spiking_agents_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two, tiny_recipe = tmp_path / "two", run.load_recipe
    common = ["--env", "CartPole-v1", "--device", "cpu"]
    assert train.main([*common, "-n", "200", "--T", "0", "--frames", "2", "--out", str(two)]) == 0
    assert agents.load(two / "ann-frames2").name == "ann-frames2"  # it is not the one that others are compared with

    def recipe(env_id: str, frames: int | None = None) -> Recipe:
        return dataclasses.replace(tiny_recipe(env_id, frames), frames=2, spiking_frames=1)

    monkeypatch.setattr(run, "load_recipe", recipe)
    for name, options, seen in [("own", [], 1), ("asked", ["--frames", "2"], 2), ("no-memory", ["--no-carry"], 1)]:
        command = [*common, "--T", "5", "--ann", str(two / "ann-frames2"), "--out", str(tmp_path / name), *options]
        assert train.main(command) == 0
        assert {agents.load(card.parent).frames for card in (tmp_path / name).glob("T5*/card.json")} == {seen}
    assert train.main([*common, "-n", "200", "--T", "0", "--out", str(tmp_path / "ann")]) == 0
    assert agents.load(tmp_path / "ann" / "ann").frames == 2


def test_a_recipe_may_begin_at_the_last_t_and_a_zeroed_agent_is_called_so(tmp_path: Path) -> None:
    out = tmp_path / "r"
    assert load_recipe("CartPoleNoVel-v1").prune.start == 1
    assert train.main(["--env", "CartPoleNoVel-v1", "--T", "1", "--no-carry", "--out", str(out), "--device", "cpu"]) == 0
    assert {card.parent.name for card in out.glob("*/card.json")} == {"ann", "converted-T1-zeroed", "T1-zeroed"}
    agent = agents.load(out / "T1-zeroed")
    assert (agent.name, agent.network.carry, set(agent.scores)) == ("T1-zeroed", False, {"greedy"})


def test_an_ann_that_sees_less_learns_from_one_that_sees_all(tmp_path: Path) -> None:
    common = ["--T", "0", "--objective", "distill", "--device", "cpu", "--out"]
    out = tmp_path / "r"
    assert train.main(["--env", "CartPoleNoVel-v1", *common, str(out)]) == 0
    assert {card.parent.name for card in out.glob("*/card.json")} == {"ann", "ann-distill"}
    taught = agents.load(out / "ann-distill")
    assert (taught.env, taught.observation_shape, taught.network.T) == ("CartPoleNoVel-v1", (2,), 0)
    assert (taught.made.teacher.name, str(taught.made.work)) == ("CartPole-v1/ann", "4 gradient steps")
    assert taught.made.origin.how == "weights of CartPole-v1/ann for the inputs that are left"
    assert set(taught.scores) == {"greedy"}
    assert taught.scores["greedy"].energy.ratio is None
    before = (out / "ann-distill" / "weights.safetensors").stat().st_mtime_ns
    assert train.main(["--env", "CartPoleNoVel-v1", *common, str(out), "--resume"]) == 0
    assert (out / "ann-distill" / "weights.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="sees more than itself"):
        train.main(["--env", "CartPole-v1", *common, str(tmp_path / "same")])
    with pytest.raises(UserError, match=r"or add --ann scratch$"):
        train.main(["--env", "CartPoleNoVel-v1", "-n", "5000", *common, str(tmp_path / "same")])
    assert not (tmp_path / "same").exists()


def test_a_run_is_not_continued_from_another_ann(tmp_path: Path) -> None:
    out = tmp_path / "r"
    command = ["--env", "CartPoleNoVel-v1", "--T", "0", "--device", "cpu", "--out", str(out)]
    assert train.main([*command, "-n", "1200"]) == 0
    with pytest.raises(UserError, match="begun with objective = 'td'"):
        train.main([*command, "--objective", "distill", "--resume"])
    settings = json.loads((out / "settings.json").read_text())
    (out / "settings.json").write_text(json.dumps({**settings, "objective": "distill", "total_timesteps": None}))
    with pytest.raises(UserError, match="is another ANN than CartPole-v1/ann of 1 frame"):
        train.main([*command, "--objective", "distill", "--resume"])


def test_an_ann_of_fewer_frames_is_called_so_and_learns_without_a_penalty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, one, tiny_recipe = tmp_path / "two", tmp_path / "one", run.load_recipe

    def recipe(env_id: str, frames: int | None = None) -> Recipe:
        plain = tiny_recipe(env_id, frames)
        return dataclasses.replace(plain, prune=dataclasses.replace(plain.prune, spike_penalty=0.2))

    monkeypatch.setattr(run, "load_recipe", recipe)
    assert train.main(["--env", "CartPole-v1", "-n", "200", "--T", "0", "--frames", "2", "--out", str(two)]) == 0
    command = ["--env", "CartPole-v1", "--T", "0", "--objective", "distill", "--frames", "1", "--device", "cpu"]
    assert train.main([*command, "--ann", str(two / "ann-frames2"), "--out", str(one)]) == 0
    agent = agents.load(one / "ann-frames1-distill")
    assert (agent.observation_shape, agent.made.spike_penalty, agent.made.recipe["spike_penalty"]) == ((4,), 0.0, 0.0)


def test_by_reward_nobody_who_sees_more_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built, build = [], td.build

    def spy(recipe: Recipe, T: int, **kwargs: Any) -> Any:
        model = build(recipe, T, **kwargs)
        built.append((T, model.data_init, model.warm_up_eps))
        return model

    monkeypatch.setattr(td, "build", spy)
    out = tmp_path / "r"
    common = ["--objective", "td", "-n", "1200", "--device", "cpu"]
    command = ["--env", "CartPoleNoVel-v1", *common, "--start", "2", "--out", str(out)]
    assert train.main(command) == 0
    assert built == [(2, True, 1.0), (1, False, 0.01)]  # random play and a fit to it, in the first stage alone
    assert {card.parent.name for card in out.glob("*/card.json")} == {"T2-td", "T1-td"}  # no ANN, no conversion
    first, last = agents.load(out / "T2-td"), agents.load(out / "T1-td")
    assert (first.made.teacher, first.made.origin.how) == (None, "random weights")
    assert last.made.origin.name == "CartPoleNoVel-v1/T2-td"
    assert last.network.recurrent
    assert all(lif.decay.numel() == 16 for lif in last.network.lifs)  # the neurons that the recipe gives a conversion
    assert train.main([*command, "--resume"]) == 0
    assert len(built) == 2


def test_random_weights_are_for_reward_and_an_ann_may_be_given_all_the_same(tmp_path: Path) -> None:
    common = ["--objective", "td", "-n", "1200", "--device", "cpu", "--out"]
    given = ["--env", "CartPoleNoVel-v1", "--ann", "CartPoleNoVel-v1/ann", *common, str(tmp_path / "own")]
    assert train.main(given) == 0
    assert agents.load(tmp_path / "own" / "converted-T1").made.conversion
    two = ["--env", "CartPoleNoVel-v1", "--frames", "2", *common, str(tmp_path / "two")]
    assert train.main(two) == 0
    assert agents.load(tmp_path / "two" / "T1-frames2-td").observation_shape == (4,)
    for T, hint in (("1", "add --objective td, or"), ("0", "--T 0 has --ann scratch")):
        with pytest.raises(UserError, match=hint):
            train.main(["--env", "CartPole-v1", "--T", T, "--ann", "none", "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_what_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    for options in (
        ["--ann", "shipped", "--frames", "2"],
        ["--objective", "td", "--spike-penalty", "0.5"],
        ["--T", "0", "--ablate"],
    ):
        with pytest.raises(UserError):
            train.main(["--env", "CartPole-v1", *options, "--out", str(tmp_path / "r")])
    assert not (tmp_path / "r").exists()
