"""A sandbox whose patch is taken in passing, while commands go on to use it."""

from __future__ import annotations

from envs.sandbox import Command, Completed, Peeking, Sandbox, SandboxError, Snapshot

__all__ = ["InPassing"]


class InPassing:
    """The sandbox of an attempt under way, for whoever collects its submission without ending the attempt.

    Everything is done as in the sandbox, but `diff` ends no process and changes nothing (see `Peeking`), and `quiet`
    and `close` do nothing. Where no file has changed, the patch is that of the last call.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._patch = sandbox, b""

    async def run(self, command: Command) -> Completed:
        return await self._sandbox.run(command)

    async def read(self, path: str) -> bytes:
        return await self._sandbox.read(path)

    async def write(self, path: str, data: bytes) -> None:
        await self._sandbox.write(path, data)

    async def diff(self) -> bytes:
        if not isinstance(self._sandbox, Peeking):
            raise SandboxError("this kind of sandbox gives its patch at the end of an attempt alone")
        patch = await self._sandbox.peek()
        if patch is not None:
            self._patch = patch
        return self._patch

    async def quiet(self) -> None:
        pass

    async def snapshot(self) -> Snapshot:
        return await self._sandbox.snapshot()

    async def close(self) -> None:
        pass
