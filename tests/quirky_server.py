"""A chat-completions server with a quirk: it answers each request as a function of its body says.

It plays one conversation (a command that writes a file, then submit). A `Quirk` is given the body of a request and the
number of the turn that it asks for, and returns an `Answer` in place of the good one, or None.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.helpers import Answer, Listener

__all__ = ["Body", "Quirk", "QuirkyServer", "answer", "call", "refuse", "size_of"]

Body = dict[str, Any]
Quirk = Callable[[Body, int], Answer | None]
USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


def call(name: str, arguments: dict[str, Any], call_id: str = "call_a1") -> dict[str, Any]:
    """A tool call as a server gives it."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def answer(message: dict[str, Any], finish_reason: str = "tool_calls", **fields: Any) -> Answer:
    """A completion with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return Answer(body={"choices": [choice], "usage": USAGE, **fields})


def refuse(message: Any, status: int = 400, **fields: Any) -> Answer:
    """A refusal in these words."""
    return Answer(status, {"error": {"message": message, **fields}})


def size_of(body: Body) -> int:
    """The characters of a conversation."""
    return len(json.dumps(body["messages"]))


def good(turn: int) -> Answer:
    name, arguments = ("bash", {"command": "echo x > note.txt"}) if turn == 0 else ("submit", {})
    return answer({"content": None, "tool_calls": [call(name, arguments, f"call_{turn}")]})


class QuirkyServer(Listener):
    """Answers by its quirk; `bodies` are all requests, and `paths` and `headers` those of each."""

    def __init__(self, quirk: Quirk = lambda body, turn: None, port: int = 0) -> None:
        super().__init__(port)
        self._quirk = quirk
        self.bodies: list[Body] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        if head[0].startswith("GET"):
            writer.write(Answer(body={"data": []}).encoded())
            return True
        body = json.loads(data)
        self.bodies.append(body)
        self.paths.append(head[0].split()[1])
        self.headers.append(headers)
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        given = self._quirk(body, turn) or good(turn)
        writer.write(given.encoded())
        await writer.drain()
        return given.cut is None
