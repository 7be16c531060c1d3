"""A process that ends with this program: a server and all that it starts, under a guard (`agent.servers.guard`).

Guarantees: the process ends when it is stopped, when this program ends, and when this program is killed; everything
that it started ends with it. It has a session of its own, so Ctrl-C at the terminal reaches this program alone, which
then ends the process.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["OwnedProcess"]

GUARD = Path(__file__).with_name("guard.py")
GRACE_SECONDS = 5.0  # between asking it to end and killing it
GONE_SECONDS = 20.0  # by when the guard itself should have done all it can


class OwnedProcess:
    """One process. Made by `start`; needs one `stop`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str], output: int) -> OwnedProcess:
        """Run `command` with its standard output and errors going to the descriptor `output`."""
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(GUARD.absolute()), str(GRACE_SECONDS)),
                *command,
                stdin=asyncio.subprocess.PIPE,  # the life line
                stdout=output,
                stderr=output,
                env=dict(env),
                start_new_session=True,
            )
        )
        try:
            return cls(await asyncio.shield(starting))
        except asyncio.CancelledError:
            # Cancelling the start itself would kill the guard, and what the server has started by then would go on.
            await cls(await starting).stop()
            raise

    async def wait(self) -> int:
        """Its exit status, 128 + N for signal N, once nothing of it is left."""
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def stop(self) -> None:
        """End it. Idempotent; if this is cancelled, the process ends all the same."""
        if self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(GONE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
