"""Measures the client CPU of one request: this project's client, plain `openai` and plain httpx, in one run.

    python benchmarks/client.py [--requests 1000] [--at-once 8] [--rounds 5]

The server answers at once and runs as a process of its own. Each client sends the same conversation of two messages
with the same tools, and parses the answer as far as it usually does. Rounds are interleaved, so that a busy machine
affects all clients equally. The median CPU time per request of this process alone is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import openai
from instant_server import serving

from agent.actions.native import schemas
from agent.agent import AttemptScope, AttemptSpec
from agent.models.chat import ChatModel
from agent.tools import TOOLS
from agent.trajectory import Message

SCHEMAS = schemas(TOOLS)
MESSAGES: list[Message] = [
    {"role": "system", "content": "You mend software. " * 40},
    {"role": "user", "content": "An issue: the ledger rounds twice.\n" * 60},
]
# The library that `openai` itself stands on, whichever of the two that is.
http = import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])

Ask = Callable[[], Awaitable[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with serving() as url:
        asyncio.run(compare(url, arguments))


async def compare(url: str, arguments: argparse.Namespace) -> None:
    body: dict[str, Any] = {"model": "instant", "messages": MESSAGES, "tools": SCHEMAS, "seed": 1}
    sdk = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    plain = http.AsyncClient(base_url=url, headers={"authorization": "Bearer none"})
    ours = ChatModel("instant", [url], "none", {})

    async def by_httpx() -> Any:
        response = await plain.post("/chat/completions", json=body)
        response.raise_for_status()
        return json.loads(response.content)["choices"][0]["message"]

    async def by_openai() -> Any:
        return (await sdk.chat.completions.create(**body)).choices[0].message

    async def by_us() -> Any:
        return (await ours.reply(MESSAGES, SCHEMAS, scope=AttemptScope(AttemptSpec("task", 0, 1)))).message

    clients: dict[str, Ask] = {http.__name__: by_httpx, "openai": by_openai, "ours": by_us}
    taken: dict[str, list[float]] = {name: [] for name in clients}
    for ask in clients.values():
        await spend(ask, 50, arguments.at_once)
    for _ in range(arguments.rounds):
        for name, ask in clients.items():
            taken[name].append(await spend(ask, arguments.requests, arguments.at_once))
    least = statistics.median(taken[http.__name__])
    print(f"{arguments.requests} requests, {arguments.at_once} at once, {os.cpu_count()} processors")
    for name, rounds in taken.items():
        median = statistics.median(rounds)
        print(f"  {name:8} {median * 1e6:6.0f} us CPU a request   {median / least:.2f} x {http.__name__}")
    await ours.close()
    await plain.aclose()
    await sdk.close()


async def spend(ask: Ask, requests: int, at_once: int) -> float:
    """CPU seconds a request."""
    left = iter(range(requests))

    async def client() -> None:
        for _ in left:
            await ask()

    before = time.process_time()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return (time.process_time() - before) / requests


if __name__ == "__main__":
    main()
