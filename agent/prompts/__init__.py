"""Prompts are data: Markdown files with `$field` for a field of the task, saved whole with each run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template

from agent.trajectory import Message
from tasks.task import Task

__all__ = ["form_text", "opening", "prompt_texts"]

FOLDER = Path(__file__).parent


@cache
def prompt_texts() -> dict[str, str]:
    """The prompts of every attempt by name, as they stand in their files."""
    return {path.stem: path.read_text("utf-8").strip() for path in sorted(FOLDER.glob("*.md"))}


@cache
def form_text(name: str, tools: str) -> str:
    """What the opening says of the form of actions called `name`; `tools` tells each tool in that form."""
    text = (FOLDER / "actions" / f"{name}.md").read_text("utf-8").strip()
    return Template(text).substitute(tools=tools)


def opening(task: Task, instructions: str = "") -> list[Message]:
    """The messages that an attempt at `task` starts with. `instructions` tell the form of actions, where they must."""
    texts = prompt_texts()
    issue = Template(texts["issue"]).substitute(problem_statement=task.problem_statement.strip(), repo=task.repo)
    system = "\n\n".join(part for part in (texts["system"], instructions) if part)
    return [{"role": "system", "content": system}, {"role": "user", "content": issue}]
