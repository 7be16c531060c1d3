"""Prompts are data: Markdown files with `$field` for a field of the task, saved whole with each run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template

from agent.trajectory import Message
from tasks.task import Task

__all__ = ["opening", "prompt_texts"]


@cache
def prompt_texts() -> dict[str, str]:
    """The prompts by name, as they stand in their files."""
    return {path.stem: path.read_text("utf-8").strip() for path in sorted(Path(__file__).parent.glob("*.md"))}


def opening(task: Task) -> list[Message]:
    """The messages that an attempt at `task` starts with."""
    texts = prompt_texts()
    issue = Template(texts["issue"]).substitute(problem_statement=task.problem_statement.strip(), repo=task.repo)
    return [{"role": "system", "content": texts["system"]}, {"role": "user", "content": issue}]
