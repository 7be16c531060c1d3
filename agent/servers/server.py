"""A model server of our own: started for the run, restarted when it dies, ended with the run.

Guarantees: it answers at `url` from the moment `start` returns; that address never changes,
so an outage heals once it is back. A server that dies while it starts is not tried again:
that is a mistake in what was asked for, told in one line with its cause from the log. One
that dies later is restarted, at most `RESTARTS` times within an hour; then `keep` raises.
How it ends in every case is told by `agent.servers.process`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

from agent.models.http import HttpError, HttpTransport
from agent.models.model import ModelRefused
from agent.servers.log import Log
from agent.servers.port import LOOPBACK, Port
from agent.servers.process import Owned
from agent.servers.spec import ServerLost, Spec, Tell

__all__ = ["Server", "serving"]

RESTARTS = 3
WITHIN_SECONDS = 3600.0
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.05, 1.0
SIGN_SECONDS = 10.0  # for one sign of life
NOTE_CHARS = 100


class Server:
    """One server. `tell` gets a line for the display, and an empty one when there is nothing to say."""

    def __init__(self, spec: Spec, clock: Callable[[], float] = time.monotonic) -> None:
        self.spec = spec
        self.tell: Tell = lambda text: None
        self._clock = clock
        self._port = Port()
        self.url = f"http://{LOOPBACK}:{self._port.number}/v1"
        self._wire = HttpTransport(self.url, None)
        self._log = Log(Path(os.devnull))
        self._process: Owned | None = None
        self._deaths: list[float] = []  # when

    async def start(self, log: Path) -> None:
        """Bring it up, with its output added to the file `log`. Raises `ModelRefused` if it does not come up."""
        self._log = Log(log)
        await self.spec.fetch(self.tell)
        died = await self._come_up("starting")
        if died and "address already in use" in died.lower():
            self._port.let_go()  # it wants the port to itself
            died = await self._come_up("starting")
        if died:
            raise ModelRefused(f"{self.spec.what} {died}; its log: {log}")
        self.tell("")

    async def keep(self) -> NoReturn:
        """Restart it whenever it dies. Raises `ServerLost` when that does not help."""
        assert self._process is not None
        died = ""
        while True:
            died = died or how_it_ended(await self._process.wait(), self._log)
            now = self._clock()
            self._deaths = [when for when in self._deaths if now - when < WITHIN_SECONDS] + [now]
            count = len(self._deaths)
            if count > RESTARTS:
                raise ServerLost(
                    f"{self.spec.what} died {count} times within {(now - self._deaths[0]) / 60:.0f} min; the last time "
                    f"it {died}; its log: {self._log.path}. "
                    "Nothing recorded is lost; mend the cause and give the same command again"
                )
            died = await self._come_up(f"it {died}; restart {count} of {RESTARTS}")
            if not died:
                self.tell("")

    async def stop(self) -> None:
        """End it. Idempotent."""
        try:
            if self._process is not None:
                await self._process.stop()
        finally:
            self._port.let_go()
            await self._wire.close()

    async def _come_up(self, why: str) -> str:
        """Start it and wait until it answers. Returns how it ended if it did instead."""
        command, began = self.spec.command(self._port.number), self._clock()
        try:
            output = self._log.begin(command)
        except OSError as error:
            raise ModelRefused(f"the log {self._log.path} cannot be written: {error.strerror}") from None
        try:
            env = {name: value for name, value in os.environ.items() if name not in self.spec.hidden}
            self._process = await Owned.start(command, env, output)
        finally:
            os.close(output)
        ended, look = asyncio.create_task(self._process.wait()), FIRST_LOOK_SECONDS
        try:
            while not ended.done():
                seconds = self._clock() - began
                self.tell(f"{self.spec.what}: {why}, {seconds:.0f} s   {self._log.last[:NOTE_CHARS]}".rstrip())
                if await self._answers():
                    return ""
                if seconds > self.spec.start_seconds:
                    await self._process.stop()
                    return f"did not answer within {self.spec.start_seconds:g} s (last: {self._log.last})"
                await asyncio.wait([ended], timeout=look)
                look = min(2 * look, LONGEST_LOOK_SECONDS)
            return how_it_ended(ended.result(), self._log)
        finally:
            ended.cancel()

    async def _answers(self) -> bool:
        try:
            return (await self._wire.get("/health", SIGN_SECONDS, beside=True)).status == 200
        except HttpError:
            return False


@asynccontextmanager
async def serving(server: Server, log: Path) -> AsyncIterator[Server]:
    """The server, up, for as long as the block lasts. Raises as `Server.start`."""
    try:
        await server.start(log)
        yield server
    finally:
        await server.stop()


def how_it_ended(code: int, log: Log) -> str:
    """In words that follow the name of the server."""
    if code <= 128:
        return f"ended with status {code}: {log.cause}"
    number = code - 128
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    why = ", as the system does when memory runs out" if number == signal.SIGKILL else ""
    return f"was ended by {name}{why} (last: {log.cause})"
