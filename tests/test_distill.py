"""The losses of distillation, by hand."""

import pytest
import torch as th

from snn_rl.distill import action_gap, distillation_loss, spike_penalty


def test_the_distillation_loss_is_zero_at_the_teacher_and_grows_away_from_it() -> None:
    teacher = th.tensor([[1.0, 2.0], [0.5, 0.0]])
    assert distillation_loss(teacher, teacher, 0.5) == 0
    assert distillation_loss(teacher.flip(1), teacher, 0.5) > 0.1
    # One action: the policies agree whatever the values, only the Huber term is left: 0.1 * (|2| - 0.5)
    assert distillation_loss(th.tensor([[3.0]]), th.tensor([[1.0]]), 1.0) == pytest.approx(0.15)


def test_the_action_gap_is_the_median_of_best_minus_second() -> None:
    assert action_gap(th.tensor([[1.0, 3.0, 2.5], [0.0, 0.2, 0.0], [5.0, 1.0, 1.0]])) == pytest.approx(0.5)


def test_the_spike_penalty_is_the_part_of_all_accumulates_that_the_spikes_cause() -> None:
    spikes = [th.ones(2, 1, 3, 4), th.zeros(2, 1, 3, 2)]  # every neuron of the first layer, none of the second
    cost = [th.full((4,), 3 / 20), th.full((2,), 4 / 20)]  # fan-outs 3 and 4: 4 * 3 + 2 * 4 synapses
    assert spike_penalty(spikes, cost) == pytest.approx(12 / 20)
