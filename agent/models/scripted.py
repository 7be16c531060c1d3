"""The model `scripted:FILE`: plays the same lines in each attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.agent import AttemptScope
from agent.models.model import ModelRefused, Reply
from agent.trajectory import Message, Usage

__all__ = ["Scripted", "say"]

FORM = 'JSON list of messages such as {"role": "assistant", "content": "..."}'


def say(*calls: tuple[str, Mapping[str, Any]], text: str | None = None) -> Message:
    """An assistant message that calls tools: `say(("bash", {"command": "ls"}))`."""
    tool_calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for number, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": text, "tool_calls": tool_calls}


class Scripted:
    """Answers turn t with line t, and submits after the last line."""

    name = "scripted"

    def __init__(self, lines: Sequence[Message], usage: Usage | None = None) -> None:
        self._lines, self._usage = lines, usage or Usage()

    @classmethod
    def from_file(cls, path: Path) -> Scripted:
        """Read a JSON file: a list of assistant messages, at least one. Raises `ModelRefused`."""
        try:
            lines = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelRefused(f"script {path} cannot be read: {error}; give a {FORM}") from None
        if not isinstance(lines, list):
            raise ModelRefused(f"script {path} is not a list; give a {FORM}")
        if not lines:
            raise ModelRefused(f"script {path} holds no message; give a {FORM}")
        for number, line in enumerate(lines, 1):
            if not isinstance(line, dict):
                raise ModelRefused(f"script {path}: item {number} is not an object; give a {FORM}")
            if line.get("role") != "assistant":
                raise ModelRefused(
                    f"script {path}: item {number} has the role {line.get('role')!r}, and a script holds what the "
                    'model says; write "role": "assistant"'
                )
        return cls(lines)

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        turn = scope.turn(messages)
        return Reply(self._lines[turn] if turn < len(self._lines) else say(("submit", {})), self._usage)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass
