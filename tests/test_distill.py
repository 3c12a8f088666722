"""The losses of distillation, and what is learnt in a step, by hand."""

import pytest
import torch as th
from conftest import counts, lively, mlp_spec

from snn_rl.core.network import QNetwork
from snn_rl.core.spec import spiking
from snn_rl.sb3.sequences import Sequences
from snn_rl.tasks.recipes import PruneRecipe
from snn_rl.tasks.view import View
from snn_rl.training import distill
from snn_rl.training.distill import Distiller, activity_penalty, distillation_loss, spike_penalty
from snn_rl.training.lesson import action_gap


def test_the_distillation_loss_is_zero_at_the_teacher_and_grows_away_from_it() -> None:
    teacher = th.tensor([[1.0, 2.0], [0.5, 0.0]])
    assert distillation_loss(teacher, teacher, 0.5) == 0
    assert distillation_loss(teacher.flip(1), teacher, 0.5) > 0.1
    # Far ahead both policies are sure, and only the Huber term is left: advantages +-50 and +-52, 0.1 * (|2| - 0.5)
    student, sure = th.tensor([[104.0, 0.0]]), th.tensor([[100.0, 0.0]])
    assert distillation_loss(student, sure, 1.0) == pytest.approx(0.15)


def test_the_activity_penalty_by_hand() -> None:
    share = [th.tensor([0.1, 0.2, 0.3]), th.tensor([0.4])]
    equal = [th.tensor([2.0, 0.0, 2.0]).view(1, 1, 1, 3), th.tensor([5.0]).view(1, 1, 1, 1)]
    assert float(activity_penalty(equal, share)) == pytest.approx(0.1 + 0.3 + 0.4)  # of equal ones: the cost of those not 0
    assert float(activity_penalty([100 * equal[0], equal[1]], share)) == pytest.approx(0.8)  # however large they are
    uneven = [th.tensor([1.0, 0.0, 3.0]).view(1, 1, 1, 3), th.zeros(1, 1, 1, 1)]
    assert float(activity_penalty(uneven, share)) == pytest.approx((0.1 + 0.9) ** 2 / (0.1 + 0.3 * 9))  # less than 0.4
    silent = [th.zeros(1, 1, 1, 3, requires_grad=True), th.zeros(1, 1, 1, 1)]
    penalty = activity_penalty(silent, share)
    penalty.backward()
    assert float(penalty.detach()) == 0
    assert th.isfinite(silent[0].grad).all()


def test_the_distillation_loss_looks_at_advantages_not_at_values() -> None:
    """In CartPole values are near 100 and actions differ by 0.05: an error in the level of the values would drown these."""
    student, teacher = th.randn(5, 3), th.randn(5, 3)
    levels = th.linspace(-100, 100, 5)[:, None]
    assert th.allclose(distillation_loss(student + levels, teacher, 0.7), distillation_loss(student, teacher, 0.7), rtol=1e-3)


def test_the_action_gap_is_the_median_of_best_minus_second() -> None:
    assert action_gap(th.tensor([[1.0, 3.0, 2.5], [0.0, 0.2, 0.0], [5.0, 1.0, 1.0]])) == pytest.approx(0.5)


def test_the_spike_penalty_is_the_part_of_all_accumulates_that_the_spikes_cause() -> None:
    spikes = [th.ones(2, 1, 3, 4), th.zeros(2, 1, 3, 2)]  # every neuron of the first layer, none of the second
    cost = [th.full((4,), 3 / 20), th.full((2,), 4 / 20)]  # fan-outs 3 and 4: 4 * 3 + 2 * 4 synapses
    assert spike_penalty(spikes, cost) == pytest.approx(12 / 20)


def test_an_update_learns_what_a_loop_of_single_decisions_says_behind_the_burn_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Membranes begin at rest, are zeroed where episodes start (in the burn-in too) and carried everywhere else."""
    student = lively(QNetwork(spiking(mlp_spec(2, 16, 8, 2), recurrent=True), T=2), decay=0.95)
    for synapses in student.recurrent.values():
        th.nn.init.normal_(synapses.weight)
    numbers = PruneRecipe(burn_in=3, sequence_length=4, learning_starts=30)
    learner = Distiller(student, QNetwork(mlp_spec(2, 8, 2), T=0), counts(5, 7), numbers, View(1), seed=0, temperature=1.0)
    L, B = 7, 2
    starts = th.zeros(L, B, dtype=th.bool)
    starts[1, 0] = starts[5, 1] = True
    nothing, none = th.zeros(L, B), th.zeros(L, B, dtype=th.bool)
    batch = Sequences(th.randn(L, B, 2), starts, ~none, nothing.long(), nothing, none, th.randn(L, B, 2))
    state, expected = None, []
    with th.no_grad():
        for observation, start in zip(batch.observations, starts, strict=True):
            q, state = student(observation, state, start)
            expected.append(q)
    at_rest = student.unroll(batch.observations[1:], None, starts[1:])[0][2:, 0]  # where an episode starts in the burn-in
    never = student.unroll(batch.observations)[0][3:, 0]
    assert th.allclose(th.stack(expected[3:])[:, 0], at_rest, atol=1e-5)
    assert not th.allclose(never, at_rest, atol=1e-2)
    learnt: list[th.Tensor] = []
    monkeypatch.setattr(distill, "distillation_loss", lambda q, *_: (learnt.append(q), q.square().sum())[1])
    monkeypatch.setattr(learner.buffer, "sample_sequences", lambda *_: batch)
    learner.update(0.0)
    assert th.allclose(learnt[0], th.stack(expected[3:]).flatten(0, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("teacher_frames", "carry", "asked", "trained"),
    [(1, True, None, False), (2, True, None, True), (1, False, None, True), (1, True, True, True), (2, True, False, False)],
)
def test_decays_are_trained_only_where_they_can_serve(
    teacher_frames: int, carry: bool, asked: bool | None, trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher that sees no more than the student, which carries its membranes, says nothing that memory could tell."""
    student = lively(QNetwork(mlp_spec(2, 16, 8, 2), T=2, carry=carry), decay=0.25)
    numbers, teacher = PruneRecipe(learning_starts=30, train_decays=asked), QNetwork(mlp_spec(2, 8, 2), T=0)
    learner = Distiller(student, teacher, counts(5, 7), numbers, View(1, teacher_frames), seed=0, temperature=1.0)
    L, B = learner.burn_in + learner.learnt, 8
    nothing, none = th.zeros(L, B), th.zeros(L, B, dtype=th.bool)
    batch = Sequences(th.randn(L, B, 2), none, ~none, nothing.long(), nothing, none, th.randn(L, B, 2))
    monkeypatch.setattr(learner.buffer, "sample_sequences", lambda *_: batch)
    thresholds = [lif.v_th.item() for lif in student.lifs]
    learner.update(0.0)
    assert all((lif.decay != 0.25) == trained for lif in student.lifs)
    assert all(lif.v_th != before for lif, before in zip(student.lifs, thresholds, strict=True))
