"""A chat-completions server that does everything wrong that a server can, as often as it is told, and keeps the books.

It plays one conversation (a command, then submit), each answer with a usage of its own. A
request may be met with any `Kind` of fault; which one is `plan`'s to say, from the number
of the request and of the turn it asks for. `served` is what its answers told of tokens,
counted when the last byte was written: what a client must have counted too.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from agent.models.faults import Kind
from agent.models.scripted import say
from agent.trajectory import Usage
from tests.helpers import Answer, Listener

__all__ = ["FaultServer", "Plan"]

Plan = Callable[[int, int], Kind | None]

HANGS = 600.0
TURNS = [say(("bash", {"command": "true"})), say(("submit", {}))]
HTML = {"content-type": "text/html"}
STATUS: Mapping[Kind, int] = {
    Kind.BAD_REQUEST: 400,
    Kind.KEY: 401,
    Kind.QUOTA: 402,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.REQUEST_TIME_OUT: 408,
    Kind.CONFLICT: 409,
    Kind.UNPROCESSABLE: 422,
    Kind.TOO_EARLY: 425,
    Kind.RATE_LIMIT: 429,
    Kind.SERVER_ERROR: 500,
    Kind.NOT_IMPLEMENTED: 501,
    Kind.BAD_GATEWAY: 502,
    Kind.UNAVAILABLE: 503,
    Kind.GATEWAY_TIME_OUT: 504,
    Kind.OVERLOADED: 529,
}


def faulty(kind: Kind, good: dict[str, Any]) -> Answer:
    """How the server meets a request in place of `good`; `ENDLESS` and `UNREACHABLE` are more than an answer."""
    if kind in STATUS:
        return Answer(STATUS[kind], {"error": {"message": f"this is {kind}"}})
    whole = json.dumps(good).encode()
    return {
        Kind.BROKEN_OFF: Answer(body=good, cut=len(whole) // 2),
        Kind.TIME_OUT: Answer(body=good, wait=HANGS),
        Kind.CONTEXT: Answer(400, {"error": {"message": "maximum context length is 8 tokens"}}),
        Kind.TOO_LARGE: Answer(413, b"<h1>413 Request Entity Too Large</h1>", HTML),
        Kind.RATE_LIMIT_TOLD: Answer(429, {"error": "slow down"}, {"retry-after": "0.05"}),
        Kind.HTML: Answer(body=b"<html>Welcome</html>", headers=HTML),
        Kind.NO_COMPLETION: Answer(body={**good, "choices": [None]}),
        Kind.NO_CHOICES: Answer(body={**good, "choices": []}),
        Kind.FAILED: Answer(body={**good, "choices": [{**one, "finish_reason": "error"} for one in good["choices"]]}),
        Kind.HOLLOW: Answer(
            body={"choices": [{**one, "message": {"content": ""}, "finish_reason": "stop"} for one in good["choices"]]}
        ),
        Kind.UNPARSED: Answer(400, {"error": {"code": "tool_use_failed", "failed_generation": "<tool_call>?"}}),
        Kind.NO_CONTENT: Answer(
            body={
                **good,
                "choices": [{**one, "message": {**one["message"], "content": None}} for one in good["choices"]],
            }
        ),
        Kind.BROKEN_UTF8: Answer(body=whole.replace(b"said here", b"s\xe9id h\xff")),
        Kind.NO_USAGE: Answer(body={key: value for key, value in good.items() if key != "usage"}),
    }[kind]


class FaultServer(Listener):
    """Answers by its plan: which fault, if any, the request of this number meets at this turn."""

    def __init__(self, plan: Plan = lambda number, turn: None) -> None:
        super().__init__()
        self._plan = plan
        self.served = Usage()
        self.met: Counter[Kind | None] = Counter()
        self.requests = 0

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if head.startswith("get"):
            writer.write(Answer(body={"data": []}).encoded())
            return True
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        asked = json.loads(await reader.readexactly(length))
        turn = sum(one["role"] == "assistant" for one in asked["messages"])
        self.requests += 1
        kind = self._plan(self.requests, turn)
        self.met[kind] += 1
        good = self._completion(self.requests, turn, asked.get("n", 1))
        if kind is Kind.ENDLESS:
            await _drip(writer)
        answer = Answer(body=good) if kind is None else faulty(kind, good)
        if answer.wait:
            await reader.read(1)  # until the client has had enough
            return False
        writer.write(answer.encoded())
        await writer.drain()
        if answer.status == 200 and answer.cut is None and isinstance(answer.body, dict | bytes):
            self.served += _told(answer.body)
        return answer.cut is None

    @staticmethod
    def _completion(number: int, turn: int, count: int) -> dict[str, Any]:
        message = {**TURNS[min(turn, len(TURNS) - 1)], "content": "said here"}
        usage = {
            "prompt_tokens": 1000 + number % 97,
            "completion_tokens": 10 + number % 7,
            "prompt_tokens_details": {"cached_tokens": 900},
            "completion_tokens_details": {"reasoning_tokens": number % 5},
        }
        choices = [{"index": at, "message": message, "finish_reason": "tool_calls"} for at in range(count)]
        return {"choices": choices, "usage": usage}


async def _drip(writer: asyncio.StreamWriter) -> None:
    """An answer that goes on for ever, a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


def _told(body: dict[str, Any] | bytes) -> Usage:
    """The usage in an answer, as it was sent."""
    try:
        usage = (json.loads(body.decode("utf-8", "replace")) if isinstance(body, bytes) else body)["usage"]
    except (ValueError, KeyError):
        return Usage()
    return Usage(
        usage["prompt_tokens"],
        usage["completion_tokens"],
        usage["prompt_tokens_details"]["cached_tokens"],
        usage["completion_tokens_details"]["reasoning_tokens"],
    )
