"""The prompts, as data: Markdown files with `$field` for a field of the task. They are saved with each run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template

from agent.trajectory import Message
from tasks.task import Task

__all__ = ["form_text", "opening", "prompt_texts", "with_brief"]

FOLDER = Path(__file__).parent


@cache
def prompt_texts() -> dict[str, str]:
    """The prompts of every attempt by name, as they stand in their files."""
    return {path.stem: path.read_text("utf-8").strip() for path in sorted(FOLDER.glob("*.md"))}


@cache
def form_text(name: str, tools: str) -> str:
    """The instructions for the form of actions called `name`; `tools` describes each tool in that form."""
    text = (FOLDER / "actions" / f"{name}.md").read_text("utf-8").strip()
    return Template(text).substitute(tools=tools)


def opening(task: Task, instructions: str = "", brief: str = "") -> list[Message]:
    """The first messages of an attempt at `task`.

    `instructions` explain the form of actions where the request itself does not. `brief` is the strategy's addition.
    """
    texts = prompt_texts()
    issue = Template(texts["issue"]).substitute(problem_statement=task.statement.strip(), repo=task.group)
    system = "\n\n".join(part for part in (texts["system"], instructions) if part)
    return [{"role": "system", "content": system}, {"role": "user", "content": with_brief(issue, brief)}]


def with_brief(statement: str, brief: str) -> str:
    """The statement, followed by the strategy's brief if there is one."""
    return f"{statement}\n\n{brief}" if brief else statement
