"""The host's end of the stream to a guest: many requests at a time, answers matched by id.

A `Channel` turns frames (see `envs.guest`) into awaitable calls. Once the stream ends, every call in progress and every
later one raises `SandboxLost` with the cause.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections.abc import Callable
from typing import Any

from envs.diff import SMALLER_FILE, PatchSpec, Survey, take_patch
from envs.sandbox import (
    Command,
    Completed,
    FileProblem,
    Limits,
    Patch,
    SandboxExhausted,
    SandboxLost,
)

__all__ = ["Channel"]

HEAD = struct.Struct(">II")
GRACE_SECONDS = 20.0  # after a command's own time-out, for the guest to kill it and to answer


class Channel(asyncio.Protocol):
    """The stream of one guest, as an asyncio protocol.

    `unwrap` removes what a transport adds around the guest's bytes (Docker's multiplexed stream). `closed` is done once
    the stream has ended.
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
        self._exhausted = False
        self.unfiltered = ""  # why system calls are not filtered, once it is ready
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
                self.abandon(answer["bye"], exhausted=answer.get("exhausted", False))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or (f"its stream ended ({exc})" if exc else "its process ended")
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(self.loss())
                waiting.exception()  # marks it as retrieved, for its caller may be gone
        self._pending.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def loss(self) -> SandboxLost:
        """The error that every call raises once the stream has ended."""
        if self._exhausted:
            return SandboxExhausted(f"sandbox {self.name} is lost: {self._lost}; its files are gone")
        return SandboxLost(
            f"sandbox {self.name} is lost: {self._lost}; its files are gone, the attempt is sampled again"
        )

    # calls

    async def ready(self, seconds: float) -> None:
        """Wait for the guest's first frame. Raises `SandboxLost`."""
        try:
            async with asyncio.timeout(seconds):
                answer, _ = await self._ready
        except TimeoutError:
            self.abandon(f"it did not answer within {seconds:.0f} s of its start")
            raise self.loss() from None
        if "error" in answer:
            self.abandon(f"it could not be started ({answer['error']})")
            raise self.loss()
        self.unfiltered = answer.get("unfiltered", "")

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
        # A plain timer costs a tenth of an asyncio.timeout. It ends all calls, for a guest that misses one is dead.
        longest = (seconds or self._limits.command_seconds) + GRACE_SECONDS
        timer = loop.call_later(longest, self.abandon, "it stopped answering")
        self._transport.write(HEAD.pack(len(text), len(body)) + text + body)
        try:
            answer, content = await waiting
        finally:
            timer.cancel()
            self._pending.pop(number, None)
        if "error" in answer:
            raise FileProblem(answer["error"])
        return answer, content

    async def run(self, command: Command) -> Completed:
        return await self._run(command)

    async def _run(self, command: Command, **more: Any) -> Completed:
        """`more` are further fields of the request."""
        timeout = self._seconds(command)
        try:
            answer, output = await self.call({**self._request(command), **more}, command.stdin, timeout)
        except FileProblem as problem:  # the guest itself has no memory left
            return Completed(127, f"{problem}\n".encode(), 0, False, 0.0)
        return _completed(answer, output)

    def _seconds(self, command: Command) -> float:
        return command.timeout or self._limits.command_seconds

    def _request(self, command: Command) -> dict[str, Any]:
        return {
            "op": "run",
            "run": command.run,
            "cwd": command.cwd,
            "env": dict(command.env),
            "timeout": self._seconds(command),
            "cap": self._limits.output_bytes if command.output_cap is None else command.output_cap,
            "session": command.session,
        }

    async def quiet(self) -> None:
        """End every process in the sandbox but the guest."""
        await self.call({"op": "quiet"})

    async def patch(self, spec: PatchSpec) -> Patch:
        """End all processes and take the patch. Raises `SandboxError` if none can be taken."""
        await self.quiet()
        found = (await self.call({"op": "survey", "size": SMALLER_FILE}))[0]
        return await self._take(spec, _survey(found))

    async def _take(self, spec: PatchSpec, survey: Survey) -> Patch:
        async def run(command: Command) -> Completed:
            return await self._run(command, keep=spec.scratch[0])

        return await take_patch(run, spec, survey)

    async def peek(self, spec: PatchSpec, known: int | None, *, overlay: bool) -> tuple[int | None, Patch | None]:
        """The state of the files, and the patch; None if the state is as `known`. See `Peeking` and `envs.guest`.

        An ordinary patch takes one request. With `overlay` only what was copied up is looked at. Raises `SandboxError`.
        """
        command = spec.command()
        look = {"op": "peek", "known": known, "overlay": overlay, "size": SMALLER_FILE, "keep": spec.scratch[0]}
        answer, output = await self.call({**self._request(command), **look}, command.stdin, self._seconds(command))
        if not answer["changed"]:
            return answer["state"], None
        found = _survey(answer["survey"]) if "survey" in answer else Survey()
        if "survey" not in answer and not (done := _completed(answer, output)).returncode and not done.dropped:
            return answer["state"], Patch(output)
        return answer["state"], await self._take(spec, found)

    async def read(self, path: str) -> bytes:
        return (await self.call({"op": "read", "path": path}))[1]

    async def write(self, path: str, data: bytes) -> None:
        await self.call({"op": "write", "path": path}, data)

    def exhaust(self, why: str) -> None:
        """Note that commands inside ended the guest, which its end does not tell: from now on calls say so."""
        self._lost, self._exhausted = why, True

    def abandon(self, why: str, *, exhausted: bool = False) -> None:
        """Close the stream: the guest ends, and calls in progress raise `SandboxLost` with this cause.

        With `exhausted` they raise `SandboxExhausted`.
        """
        if not self._lost:
            self._lost, self._exhausted = why, exhausted
        if self._transport is not None:
            self._transport.abort()


def _completed(answer: dict[str, Any], output: bytes) -> Completed:
    return Completed(answer["rc"], output, answer["dropped"], answer["late"], answer["s"])


def _survey(found: dict[str, Any]) -> Survey:
    large = tuple((size, path) for size, path in found["large"])
    return Survey(large, tuple(found["unreadable"]), tuple(found["nested"]), found["complete"])
