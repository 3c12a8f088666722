"""What an agent sees and what its teacher sees, by hand."""

import dataclasses

import pytest

from snn_rl.tasks.recipes import Recipe
from snn_rl.tasks.view import View

CARTPOLE = Recipe("CartPole-v1")
HIDDEN = Recipe("CartPoleNoVel-v1", teacher="CartPole-v1")
FLICKER = Recipe("PongFlickerNoFrameskip-v4", teacher="PongNoFrameskip-v4", flicker=0.5)


@pytest.mark.parametrize(
    ("recipe", "frames", "teacher", "view"),
    [
        (CARTPOLE, 1, ("CartPole-v1", 1), View(1, 1)),
        (CARTPOLE, 1, ("CartPole-v1", 4), View(1, 4)),
        (HIDDEN, 1, ("CartPole-v1", 1), View(1, 1, hidden=True, frame_by_frame=True)),
        (HIDDEN, 1, ("CartPoleNoVel-v1", 1), View(1, 1)),  # a teacher from which as much is hidden
        (FLICKER, 1, ("PongNoFrameskip-v4", 4), View(1, 4, hidden=True)),  # whole frames: the teacher may see a stack
    ],
)
def test_what_is_hidden_is_what_a_teacher_of_another_environment_sees(
    recipe: Recipe, frames: int, teacher: tuple[str, int], view: View
) -> None:
    assert View.of(recipe, frames, *teacher) == view


@pytest.mark.parametrize(
    ("view", "more"),
    [(View(4), False), (View(1, 1), False), (View(2, 1), False), (View(1, 2), True), (View(1, 1, hidden=True), True)],
)
def test_a_teacher_sees_more_by_its_frames_or_by_what_is_hidden(view: View, more: bool) -> None:
    assert view.teacher_sees_more == more


def test_a_name_tells_frames_that_are_not_the_default() -> None:
    assert (View(1).suffix(4), View(4).suffix(4)) == ("-frames1", "")


def test_a_view_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        View(1).frames = 2
