"""A question, and the answers that count as right."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.task import Task

__all__ = ["AnswerTask", "as_question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTask(Task):
    """One question; its statement is the question, its group the subject. Any of `answers` is right."""

    answers: tuple[str, ...]

    @property
    def criteria(self) -> tuple[str, ...]:
        return self.answers


def as_question(task: Task) -> AnswerTask:
    """The task as a question. Raises `TypeError` for a task of another suite."""
    if not isinstance(task, AnswerTask):
        raise TypeError(f"task {task.id} is a {type(task).__name__} and not one of the suite answers")
    return task
