"""What a student begins with, by hand."""

from pathlib import Path

import pytest
import torch as th
from conftest import mlp_spec

from snn_rl.core.initialise import keep_memory
from snn_rl.core.network import QNetwork
from snn_rl.store.agents import Agent
from snn_rl.store.card import Made
from snn_rl.tasks.recipes import ConvertRecipe, Recipe
from snn_rl.tasks.view import View
from snn_rl.training.conversion import convert
from snn_rl.training.jobs import Job
from snn_rl.training.lesson import Lesson, first_student


def job(start: Agent, ann: Agent, recipe: Recipe, T: int) -> Job:
    return Job(recipe, "distill", T, View(1, 1), 0, Path("T"), start, ann)


@pytest.mark.parametrize("T", [1, 3])
def test_the_student_of_a_conversion_has_lively_neurons_and_the_values_of_its_ann(ann: Agent, recipe: Recipe, T: int) -> None:
    lesson = Lesson.of(ann, recipe, 1, seed=0)
    student = first_student(job(convert(ann, recipe, T), ann, recipe, T), lesson)
    currents = student.synapses[0](lesson.observations)
    assert th.allclose(currents.mean(0), th.zeros(16), atol=1e-3)
    assert th.allclose(currents.std(0), th.ones(16), atol=1e-2)
    assert all(lif.v_th == 1 for lif in student.lifs)
    with th.no_grad():
        q = student(lesson.observations)[0]
    assert th.allclose(q.mean(0), lesson.values.mean(0), atol=0.2 * float(lesson.values.std()) + 0.05)


def test_a_lesson_is_what_the_ann_says_of_its_own_play(ann: Agent, recipe: Recipe) -> None:
    lesson = Lesson.of(ann, recipe, 1, seed=0)
    with th.no_grad():
        assert th.allclose(ann.network(lesson.observations)[0], lesson.values, atol=1e-5)


def test_a_trained_agent_goes_on_from_its_weights_and_forgets_as_much_per_decision(ann: Agent, recipe: Recipe) -> None:
    trained = convert(ann, recipe, 4)
    trained.made = Made(how="trained")
    for lif in trained.network.lifs:
        lif.set(decay=0.81, v_th=0.7)
    student = first_student(job(trained, ann, recipe, 2), Lesson.of(ann, recipe, 1, seed=0))
    assert th.equal(student.synapses[0][-1].weight, trained.network.synapses[0][-1].weight)
    for lif in student.lifs:
        assert lif.decay.item() == pytest.approx(0.81**2)  # 0.81 ** 4 per decision, now in two timesteps
        assert lif.v_th.item() == pytest.approx(0.7)


def test_memory_is_kept_within_the_bounds_of_decays() -> None:
    network = QNetwork(mlp_spec(2, 3, 2), T=1)
    network.lifs[0].set(decay=0.1)
    keep_memory(network, 5)
    assert network.lifs[0].decay.item() == pytest.approx(1e-3)  # 0.1 ** 5 is below the least decay


def test_where_the_recipe_says_no_decay_a_twentieth_is_left_for_the_next_decision() -> None:
    recipe = ConvertRecipe()
    assert [recipe.decay_at(T) ** T for T in (1, 2, 5)] == [pytest.approx(0.05)] * 3
    assert ConvertRecipe(decay=0.3).decay_at(5) == 0.3
