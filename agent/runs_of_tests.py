"""The commands of an attempt that ran tests, with what they printed, read from its conversation.

A command runs tests if it is a call of `run_tests`, or if it is no call of a tool for files and names a test runner or
a test file that Python is to run. In a form of actions without tool calls, the text of the reply is the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agent.conversation import call_of, text_of
from agent.trajectory import Message

__all__ = ["runs_of_tests"]

RUNNERS = re.compile(  # repeats are bounded, so that a text takes no more than its length
    r"\b(?:py\.?test|unittest|nose2?|nosetests|tox|nox|trial|ctest|jest|mocha|vitest|rspec|phpunit)\b"
    r"|\b(?:runtests\.py|bin/test|testbin|runtest)\b|\b(?:manage|setup)\.py\s+test\b"
    r"|\bmake\b[^|;&\n]{0,200}\b(?:test|check)|\b(?:npm|yarn|go|cargo|mvn|gradle|dotnet)\s+(?:run\s+)?test\b"
    r"|\bpython[\d.]*\s+(?:-\S{1,200}\s+(?:\w{1,200}\s+)?){0,20}[\w./-]{0,200}test[\w./-]{0,200}\.py\b"
)
FILE_TOOLS = {"view", "search", "edit", "submit", "read", "write", "grep", "glob", "ls", "str_replace_editor"}
RESULT = re.compile(r"^Result of ([\w-]+):$", re.M)


def runs_of_tests(messages: Sequence[Message]) -> Iterator[str]:
    """Each command that ran tests, with its output below it."""
    outputs = {message.get("tool_call_id"): message for message in messages if message.get("role") == "tool"}
    for at, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        calls = message.get("tool_calls") or ()
        for call in calls:
            tool, command = call_of(call)
            if _runs_tests(tool.lower(), command):
                yield f"{command}\n{text_of(outputs.get(call.get('id'), {}))}"
        if not calls and at + 1 < len(messages) and messages[at + 1].get("role") == "user":
            reply, shown = text_of(message), text_of(messages[at + 1])
            names = {name.lower() for name in RESULT.findall(shown)}
            if any(_runs_tests(name, reply) for name in names):
                yield f"{reply}\n{shown}"


def _runs_tests(tool: str, command: str) -> bool:
    return tool == "run_tests" or (tool not in FILE_TOOLS and bool(RUNNERS.search(command)))
