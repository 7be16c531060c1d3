"""The host's end of the stream to a guest: many requests in flight, answers by id.

A `Channel` turns frames (see `envs.guest`) into awaitable calls. Once the stream ends,
every call under way and every later one raises `SandboxLost`, with the cause.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections.abc import Callable
from typing import Any

from envs.diff import patch_of
from envs.sandbox import Command, Completed, FileProblem, Limits, SandboxLost

__all__ = ["Channel"]

HEAD = struct.Struct(">II")
# Beyond a command's own time-out: how long the guest may take to kill it and say so.
GRACE_SECONDS = 20.0


class Channel(asyncio.Protocol):
    """One guest's stream, as an asyncio protocol: bytes in, futures resolved.

    `unwrap` takes apart what a transport adds around the guest's bytes (Docker's
    multiplexed stream), and `lost` is called once when the stream ends.
    """

    def __init__(self, name: str, limits: Limits, unwrap: Callable[[bytes], bytes] = bytes) -> None:
        self.name = name
        self._limits = limits
        self._unwrap = unwrap
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[tuple[dict[str, Any], bytes]]] = {}
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._lost: str = ""
        loop = asyncio.get_running_loop()
        self._pending[0] = self._ready = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += self._unwrap(data)
        while len(buffer) >= HEAD.size:
            header, body = HEAD.unpack_from(buffer)
            end = HEAD.size + header + body
            if len(buffer) < end:
                return
            answer = json.loads(buffer[HEAD.size : HEAD.size + header].decode())
            content = bytes(buffer[HEAD.size + header : end])
            del buffer[:end]
            waiting = self._pending.pop(answer["id"], None)
            if waiting and not waiting.done():
                waiting.set_result((answer, content))
            elif "bye" in answer:
                self.abandon(answer["bye"])

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or (f"its stream ended ({exc})" if exc else "its process ended")
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(self.loss())
                waiting.exception()  # seen: nobody may be waiting for this one any more
        self._pending.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def loss(self) -> SandboxLost:
        """What every call raises once the stream has ended."""
        return SandboxLost(
            f"sandbox {self.name} is lost: {self._lost}; its files are gone, the attempt is sampled again"
        )

    # calls

    async def ready(self, seconds: float) -> None:
        """Wait for the guest's first word."""
        try:
            async with asyncio.timeout(seconds):
                word, _ = await self._ready
        except TimeoutError:
            self.abandon(f"no word from it within {seconds:.0f} s of its start")
            raise self.loss() from None
        if "error" in word:
            self.abandon(f"it could not be started ({word['error']})")
            raise self.loss()

    async def call(
        self, header: dict[str, Any], body: bytes = b"", seconds: float | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """Send one request and wait for its answer. Raises `SandboxLost` or `FileProblem`."""
        if self._lost or self._transport is None:
            raise self.loss()
        header["id"] = number = next(self._ids)
        text = json.dumps(header).encode()
        loop = asyncio.get_running_loop()
        self._pending[number] = waiting = loop.create_future()
        # A bare timer, which ends all calls: a guest that fails one stopped answering. It costs a tenth of a Timeout.
        patience = (seconds or self._limits.command_seconds) + GRACE_SECONDS
        watch = loop.call_later(patience, self.abandon, "it stopped answering")
        self._transport.write(HEAD.pack(len(text), len(body)) + text + body)
        try:
            answer, content = await waiting
        finally:
            watch.cancel()
            self._pending.pop(number, None)
        if "error" in answer:
            raise FileProblem(answer["error"])
        return answer, content

    async def run(self, command: Command) -> Completed:
        timeout = command.timeout or self._limits.command_seconds
        header = {
            "op": "run",
            "run": command.run,
            "cwd": command.cwd,
            "env": dict(command.env),
            "timeout": timeout,
            "cap": self._limits.output_bytes if command.output_cap is None else command.output_cap,
            "session": command.session,
        }
        answer, output = await self.call(header, command.stdin, timeout)
        return Completed(answer["rc"], output, answer["dropped"], answer["late"], answer["s"])

    async def patch(self, command: Command) -> bytes:
        """The patch that a `diff_command` gives. Raises `SandboxError` if it cannot be taken."""
        done = await self.run(command)
        if done.returncode:  # what runs in the sandbox may leave no process or memory for it
            await self.call({"op": "quiet"})
            done = await self.run(command)
        return patch_of(done)

    async def read(self, path: str) -> bytes:
        return (await self.call({"op": "read", "path": path}))[1]

    async def write(self, path: str, data: bytes) -> None:
        await self.call({"op": "write", "path": path}, data)

    def abandon(self, why: str) -> None:
        """Cut the life line: the guest ends, and calls under way raise `SandboxLost`."""
        self._lost = self._lost or why
        if self._transport is not None:
            self._transport.abort()
