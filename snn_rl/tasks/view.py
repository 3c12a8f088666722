"""What an agent sees of its environment, and what the teacher that helps to make it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from snn_rl.tasks.recipes import Recipe


@dataclass(frozen=True)
class View:
    """How many frames an agent sees, and what its teacher sees beyond them.

    The teacher is the ANN that is converted and that labels observations in distillation.

    Attributes:
        frames: stacked in an observation of the agent, at least 1.
        teacher_frames: stacked in an observation of its teacher; 0 where there is no teacher.
        hidden: the recipe hides something from the agent (components, frames that flicker), but not from its teacher.
        frame_by_frame: the environment hides it in each frame, before frames are stacked. A teacher then sees one frame.
    """

    frames: int
    teacher_frames: int = 0
    hidden: bool = False
    frame_by_frame: bool = False

    @classmethod
    def of(cls, recipe: Recipe, frames: int, teacher_env: str, teacher_frames: int) -> Self:
        """The view of an agent of ``recipe``'s environment whose teacher plays ``teacher_env``: the same environment, or the
        one with nothing hidden."""
        hidden = teacher_env != recipe.id
        return cls(frames, teacher_frames, hidden, hidden and not recipe.flicker)

    @property
    def teacher_sees_more(self) -> bool:
        """Whether the teacher sees anything that the agent does not see."""
        return self.hidden or self.teacher_frames > self.frames

    def suffix(self, default_frames: int) -> str:
        """What the name of an agent adds where its frames are not the default number: ``-frames1``, else nothing."""
        return "" if self.frames == default_frames else f"-frames{self.frames}"

    def described(self) -> str:
        """What is seen, in words: ``1 frame (teacher: 4)``."""
        frames = f"{self.frames} frame{'s' if self.frames > 1 else ''}"
        if not self.teacher_sees_more:
            return frames
        return f"{frames} (teacher: {self.teacher_frames}{', nothing hidden' if self.hidden else ''})"
