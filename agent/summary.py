"""Summaries: the model compacts the older turns of an attempt, so that the conversation fits its window again.

The request for a summary is a conversation of its own: the statement and the older turns as one text, so that any
server takes it. What the attempt has read with the tool `view` is listed by us, and not left to the model.

Guarantees: the request and its answer are recorded with the summary, which stands in the conversation as a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from agent.actions.sanitize import spoken
from agent.conversation import FEEDBACK, SUMMARY
from agent.trajectory import EXCHANGE, Exchange, Message

__all__ = ["PURPOSE", "SHORTER", "FilesRead", "summary_message", "summary_prompt", "summary_request"]

PURPOSE = "summary"
# The most characters of one message in the request, tried one after the other until the request fits.
SHORTER = (8_000, 2_000, 500)
NOTHING = "(the model gave no summary)"
ROW = re.compile(r"^ *(\d+)\t", re.MULTILINE)


def summary_prompt() -> str:
    """The text that asks for a summary, with `$statement` and `$turns` to be filled in."""
    return (Path(__file__).parent / "prompts" / "summary" / "summary.md").read_text("utf-8").strip()


def summary_request(opening: Sequence[Message], older: Sequence[Message], most: int) -> tuple[Message, ...]:
    """The messages that ask for a summary of `older`; each message is shortened to `most` characters."""
    statement = next((_text(message) for message in reversed(opening) if message["role"] == "user"), "")
    turns = "\n\n".join(f"[{_author(message)}]\n{_shortened(_said(message), most)}" for message in older)
    text = Template(summary_prompt()).safe_substitute(statement=_shortened(statement, 4 * most), turns=turns)
    return ({"role": "user", "content": text},)


def summary_message(part: tuple[int, int], exchange: Exchange, read: Sequence[str]) -> Message:
    """The summary as a message. `part` is the range of messages in whose place it is sent."""
    told = "".join(f"\n- {line}" for line in read)
    parts = [
        f"[summary of your work so far, in the place of {part[1] - part[0]} messages]",
        spoken(exchange.reply).strip() or NOTHING,
        f"You have viewed these lines; view them again only where you need their exact text:{told}" if told else "",
    ]
    content = "\n\n".join(filter(None, parts))
    return {"role": "user", "content": content, SUMMARY: list(part), EXCHANGE: exchange.record()}


class FilesRead:
    """The lines of files that an attempt has viewed, and the files that it has edited since."""

    def __init__(self) -> None:
        self._lines: dict[str, list[tuple[int, int]]] = {}
        self._edited: set[str] = set()

    def note(self, tool: str, arguments: Mapping[str, Any], observation: str) -> None:
        """Note what one action showed or changed."""
        path = str(arguments.get("path") or ".").removeprefix("./")
        if tool == "edit" and observation.startswith(f"[{arguments.get('path')} written]"):
            self._edited.add(path)
        elif tool == "view" and (rows := ROW.findall(observation)):
            self._edited.discard(path)
            ranges = sorted([*self._lines.get(path, ()), (int(rows[0]), int(rows[-1]))])
            joined = [ranges[0]]
            for first, last in ranges[1:]:
                if first <= joined[-1][1] + 1:
                    joined[-1] = joined[-1][0], max(joined[-1][1], last)
                else:
                    joined.append((first, last))
            self._lines[path] = joined

    @property
    def told(self) -> list[str]:
        """A line for each file."""
        return [
            f"{path}: lines {', '.join(f'{first}-{last}' for first, last in ranges)}"
            + (" (edited since)" if path in self._edited else "")
            for path, ranges in self._lines.items()
        ]


def _author(message: Message) -> str:
    if FEEDBACK in message:
        return "feedback"
    if SUMMARY in message:
        return "summary"
    return "you" if message["role"] == "assistant" else "result"


def _said(message: Message) -> str:
    """A message as text, with its calls."""
    calls = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    told = [f"{call.get('name')} {call.get('arguments')}" for call in calls]
    return "\n".join(filter(None, [_text(message), *told]))


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n[... {len(text) - most} characters left out ...]\n{text[-(most // 2) :]}"
