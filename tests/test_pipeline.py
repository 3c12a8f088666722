"""The path of an agent on real CartPole: ANN, conversion, pruning; resumable at every stage."""

import dataclasses
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch as th

from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.sb3.sequences import Sequences
from snn_rl.store import agents
from snn_rl.store.agents import Agent
from snn_rl.store.card import Quality
from snn_rl.tasks.environments import make_vec_env
from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.view import View
from snn_rl.training import distill, td
from snn_rl.training.conversion import compare, convert, record_play
from snn_rl.training.distill import Distiller
from snn_rl.training.stages import pruning_job, run_stage

CPU = th.device("cpu")


def pruned(
    agent: Agent, ann: Agent | None, recipe: Recipe, T: int, folder: Path, objective: str = "distill", seed: int = 0
) -> Agent:
    """One stage of pruning."""
    return run_stage(pruning_job(agent, ann, recipe, T, folder, objective, seed), CPU, show=False)


def test_the_ann_is_trained_from_nothing_and_its_card_says_how(ann: Agent, tmp_path: Path) -> None:
    card = json.loads((tmp_path / "ann" / "card.json").read_text())
    assert (card["T"], card["env"], card["made"]["seed"], card["made"]["work"]) == (
        0,
        "CartPole-v1",
        0,
        {"number": 300, "unit": "environment steps"},
    )
    assert len(card["made"]["selection"]) == 2
    assert card["made"]["curve"]["return"][-1][0] == 300
    assert list((tmp_path / "tensorboard" / "ann").glob("events*"))


def test_a_learning_rate_stays_and_then_falls_to_zero() -> None:
    rate = td.falling(0.1, 0.25)  # over the last quarter
    assert [rate(remaining) for remaining in (1.0, 0.25, 0.125, 0.0)] == [0.1, 0.1, 0.05, 0.0]
    assert td.falling(0.1, 1.0)(0.5) == 0.05
    assert td.falling(0.1, 0.0)(0.0) == 0.1


def test_the_learner_follows_its_recipe(recipe: Recipe) -> None:
    settings = dataclasses.replace(recipe.train, tau=0.5, cool_down=0.5, n_envs=2, adam_eps=1e-4)
    changed = dataclasses.replace(recipe, train=settings, td=dataclasses.replace(recipe.td, adam_eps=1e-6))
    model = td.build(changed, 0, seed=0, frames=1, carry=False, device=CPU)
    assert (model.tau, model.lr_schedule(0.25)) == (0.5, settings.learning_rate / 2)
    assert model.policy.optimizer.param_groups[0]["eps"] == 1e-4
    again = td.build(
        changed, 1, seed=0, frames=1, carry=True, device=CPU, initial=QNetwork(model.policy.q_net.network.spec, 1)
    )
    assert again.policy.optimizer.param_groups[0]["eps"] == 1e-6  # the ANN's is too large for a spiking network's gradients
    spiking = changed.td
    assert (again.batch_size, again.sequence_length, again.burn_in) == (8, spiking.sequence_length, spiking.burn_in)
    assert again.lr_schedule(0.5) == spiking.learning_rate / 2
    online, target = ({p.data_ptr() for p in net.parameters()} for net in (again.policy.q_net, again.policy.q_net_target))
    assert not online & target
    assert (again.train_freq.frequency, again.gradient_steps) == (2, 1)  # in each of 2 environments: every 4 steps
    zeroed = td.build(changed, 1, seed=0, frames=1, carry=False, device=CPU)
    assert (zeroed.batch_size, zeroed.sequence_length) == (8 * spiking.sequence_length, 1)  # as much is learnt in a step
    odd = dataclasses.replace(changed, td=dataclasses.replace(spiking, train_freq=3))
    with pytest.raises(UserError, match=r"every 3 steps \(train_freq\) of 2 environments"):
        td.build(odd, 1, seed=0, frames=1, carry=True, device=CPU)


@pytest.mark.parametrize(("trained", "epsilon"), [(False, 1.0), (True, 0.02)])
def test_what_cannot_play_yet_begins_learning_from_reward_with_random_play(
    trained: bool, epsilon: float, ann: Agent, recipe: Recipe
) -> None:
    settings = dataclasses.replace(recipe.train, data_init=True, exploration_final_eps=0.02)
    initial = QNetwork(ann.network.spec, 1)
    model = td.build(
        dataclasses.replace(recipe, train=settings),
        1,
        seed=0,
        frames=1,
        carry=True,
        device=CPU,
        initial=initial,
        trained=trained,
    )
    assert (model.data_init, model.exploration_initial_eps) == (not trained, epsilon)


def test_a_conversion_is_compared_on_play_that_it_was_not_calibrated_with(
    ann: Agent, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[set[int]] = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        venv = make_vec_env(*args, **kwargs)
        seeds.append(set(venv._seeds))
        return venv

    monkeypatch.setattr(sys.modules[convert.__module__], "make_vec_env", noted)
    convert(ann, recipe, 1)
    calibration, held_out = seeds
    assert len(calibration | held_out) == len(calibration) + len(held_out) > 0


def test_conversion_keeps_the_weights_and_reports_every_t(ann: Agent, recipe: Recipe) -> None:
    converted = convert(ann, recipe, 3)
    quality = converted.made.conversion
    assert list(quality) == ["T=3", "T=2", "T=1"]
    assert all(0 <= row.agreement <= 1 and row.q_error > 0 for row in quality.values())
    first = converted.network.synapses[0].state_dict()
    assert all(th.equal(value, ann.network.synapses[0].state_dict()[key]) for key, value in first.items())
    # The amplitude of the first layer's spikes is folded into the second layer's weights.
    ratio = converted.network.synapses[1][0].weight / ann.network.synapses[1][0].weight
    assert th.allclose(ratio, converted.network.lifs[0].v_th.expand_as(ratio))


def test_compare_finds_no_difference_between_an_ann_and_itself(ann: Agent, recipe: Recipe) -> None:
    play = record_play(ann, recipe, 20, seed=0)
    assert compare(ann.network, ann.network, play) == Quality(1.0, 0.0, {})


def test_a_spike_penalty_buys_fewer_spikes(ann: Agent, recipe: Recipe, tmp_path: Path) -> None:
    agent = convert(ann, recipe, 1)
    play, rates = record_play(ann, recipe, 100, seed=5), []
    for weight in (0.0, 10.0):
        prune = dataclasses.replace(recipe.prune, gradient_steps=(60,), spike_penalty=weight)
        costly = dataclasses.replace(recipe, prune=prune)
        folder = tmp_path / f"penalty-{weight}" / "T1"
        stage = pruned(agent, ann, costly, 1, folder)
        assert stage.made.spike_penalty == weight
        rates.append(sum(compare(stage.network, ann.network, play).spike_rate.values()))
    assert rates[1] < 0.9 * rates[0]


@pytest.mark.parametrize("objective", ["distill", "td"])
def test_each_stage_starts_from_the_one_before_and_is_kept(objective: str, ann: Agent, recipe: Recipe, tmp_path: Path) -> None:
    agent = convert(ann, recipe, 2)
    for T in (2, 1):
        agent = pruned(agent, ann, recipe, T, tmp_path / f"T{T}", objective)
        stored = agents.load(tmp_path / f"T{T}")
        assert stored.network.T == T
        assert stored.made.objective == objective
        state = agent.network.state_dict()
        assert all(th.equal(value, state[key]) for key, value in stored.network.state_dict().items())
    assert not list(tmp_path.glob(".*.checkpoint*"))


def test_an_interrupted_stage_goes_on_at_the_update_where_it_stopped(
    ann: Agent, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = convert(ann, recipe, 1)
    seen: list[float] = []
    update: Callable[[Distiller, float], float] = Distiller.update

    def counted(self: Distiller, progress: float) -> float:
        if len(seen) == 4:
            signal.raise_signal(signal.SIGINT)
        seen.append(progress)
        return update(self, progress)

    monkeypatch.setattr(Distiller, "update", counted)
    with pytest.raises(KeyboardInterrupt, match="after 5 of 6"):
        pruned(agent, ann, recipe, 1, tmp_path / "T1")
    assert not (tmp_path / "T1").exists()
    seen.append(-1)
    pruned(agent, ann, recipe, 1, tmp_path / "T1")
    assert seen[6:] == [pytest.approx(5 / 6)]


def test_distillation_moves_the_student_towards_its_teacher(ann: Agent, recipe: Recipe, tmp_path: Path) -> None:
    longer = dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, gradient_steps=(150,)))
    agent = convert(ann, longer, 1)
    play = record_play(ann, longer, 100, seed=5)
    before = compare(agent.network, ann.network, play).q_error
    stage = pruned(agent, ann, longer, 1, tmp_path / "T1")
    assert compare(stage.network, ann.network, play).q_error < before


def test_thresholds_and_decays_can_be_frozen(ann: Agent, recipe: Recipe, tmp_path: Path) -> None:
    frozen = dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, neuron_rate=0.0))
    before = convert(ann, recipe, 1)
    as_at_first = {}
    for name, one in (("trained", recipe), ("frozen", frozen)):
        after = pruned(before, ann, one, 1, tmp_path / name)
        decays = zip(before.network.lifs, after.network.lifs, strict=True)
        as_at_first[name] = all(lif.v_th == 1 for lif in after.network.lifs) and all(
            th.equal(a.raw_decay, b.raw_decay) for a, b in decays
        )
        assert not th.equal(next(before.network.synapses.parameters()), next(after.network.synapses.parameters()))
    assert as_at_first == {"trained": False, "frozen": True}


def test_what_cannot_be_pruned_or_converted_is_said(ann: Agent, recipe: Recipe, tmp_path: Path) -> None:
    spiking = convert(ann, recipe, 1)
    with pytest.raises(UserError, match="at least 1"):
        convert(ann, recipe, 0)
    with pytest.raises(UserError, match="spiking already; convert its ANN"):
        convert(spiking, recipe, 1)
    with pytest.raises(UserError, match="the objective 'distill' needs the ANN: give --ann, or use --objective td"):
        pruned(spiking, None, recipe, 1, tmp_path / "x")
    with pytest.raises(UserError, match="convert it first"):
        pruned(ann, ann, recipe, 1, tmp_path / "x")


def test_a_time_limits_extra_slot_is_not_learnt(ann: Agent, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The observation at which a time limit cut an episode off was never labelled: learning it would teach zeros."""
    learner = Distiller(
        convert(ann, recipe, 1).network, ann.network, make_vec_env(recipe, 2, seed=0), recipe.prune, View(1), 0, 1.0
    )
    seen: list[th.Tensor] = []
    monkeypatch.setattr(distill, "distillation_loss", lambda q, labels, _: (seen.append(labels), q.sum())[1])
    batch = Sequences(
        observations=th.zeros(12, 1, 4),
        starts=th.zeros(12, 1, dtype=th.bool),
        acted=th.ones(12, 1, dtype=th.bool),
        actions=th.zeros(12, 1, dtype=th.int64),
        rewards=th.zeros(12, 1),
        terminated=th.zeros(12, 1, dtype=th.bool),
        labels=th.arange(24.0).reshape(12, 1, 2),
    )
    batch.acted[7] = False
    monkeypatch.setattr(learner.buffer, "sample_sequences", lambda *_: batch)
    learner.update(0.0)
    assert seen[0].tolist() == [[2.0 * n, 2.0 * n + 1] for n in range(learner.burn_in, 12) if n != 7]


def test_a_stage_of_other_parents_is_not_taken_for_this_one(ann: Agent, recipe: Recipe, tmp_path: Path) -> None:
    pruned(convert(ann, recipe, 1), ann, recipe, 1, tmp_path / "T1", seed=0)
    with pytest.raises(UserError, match=r"holds another agent \(its seed differs\); choose another --out or remove it"):
        pruned(convert(ann, recipe, 1), ann, recipe, 1, tmp_path / "T1", seed=1)
    with pytest.raises(UserError, match="its from differs"):
        pruned(convert(ann, recipe, 1, seed=7), ann, recipe, 1, tmp_path / "T1", seed=0)
    faster = dataclasses.replace(recipe, prune=dataclasses.replace(recipe.prune, learning_rate=0.125))
    with pytest.raises(UserError, match=r"was made with learning_rate = .*the recipe says 0.125 now"):
        pruned(convert(ann, recipe, 1), ann, faster, 1, tmp_path / "T1", seed=0)
