"""A model server of the run's own: started for the run, restarted when it dies, ended with the run.

Guarantees: it answers at `url` once `start` has returned. That address never changes, so an outage is over when the
server is back. A server that dies while it starts is not tried again: that is a mistake in what was asked for, and the
error names its cause from the log. One that dies later is restarted, at most `RESTARTS` times within an hour; then
`keep` raises. How a server ends in every case stands in `agent.servers.process`.
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
from agent.servers.process import OwnedProcess
from agent.servers.spec import ServerLost, ServerSpec
from envs.events import Sink, Status, ignore

__all__ = ["Server", "serving"]

RESTARTS = 3
WITHIN_SECONDS = 3600.0
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.05, 1.0
PROBE_SECONDS = 10.0  # for one probe
NOTE_CHARS = 100


class Server:
    """One server. `events` gets a status while it starts and restarts, and an empty one once it answers."""

    def __init__(self, spec: ServerSpec, events: Sink = ignore, clock: Callable[[], float] = time.monotonic) -> None:
        self.spec, self._events, self._clock = spec, events, clock
        self._port = Port()
        self.url = f"http://{LOOPBACK}:{self._port.number}/v1"
        self._transport = HttpTransport(self.url, None)
        self._log = Log(Path(os.devnull))
        self._process: OwnedProcess | None = None
        self._deaths: list[float] = []  # the times of

    async def start(self, log: Path) -> None:
        """Start it, with its output added to the file `log`. Raises `ModelRefused` if it does not come up."""
        self._log = Log(log)
        await self.spec.fetch(self._events)
        died = await self._come_up("starting")
        if died and "address already in use" in died.lower():
            self._port.release()  # it needs the port for itself
            died = await self._come_up("starting")
        if died:
            raise ModelRefused(f"{self.spec.what} {died}; its log: {log}")
        self._events(Status(""))

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
                    "Nothing recorded is lost; remove the cause and give the same command again"
                )
            died = await self._come_up(f"it {died}; restart {count} of {RESTARTS}")
            if not died:
                self._events(Status(""))

    async def stop(self) -> None:
        """End it. Idempotent."""
        try:
            if self._process is not None:
                await self._process.stop()
        finally:
            self._port.release()
            await self._transport.close()

    async def _come_up(self, why: str) -> str:
        """Start it and wait until it answers. Returns how it ended if it ended instead, or else an empty text."""
        command, began = self.spec.command(self._port.number), self._clock()
        try:
            output = self._log.begin(command)
        except OSError as error:
            raise ModelRefused(f"the log {self._log.path} cannot be written: {error.strerror}") from None
        try:
            env = {name: value for name, value in os.environ.items() if name not in self.spec.hidden}
            self._process = await OwnedProcess.start(command, env, output)
        finally:
            os.close(output)
        ended, look = asyncio.create_task(self._process.wait()), FIRST_LOOK_SECONDS
        try:
            while not ended.done():
                seconds = self._clock() - began
                note = f"{self.spec.what}: {why}, {seconds:.0f} s   {self._log.last[:NOTE_CHARS]}"
                self._events(Status(note.rstrip()))
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
            return (await self._transport.get("/health", PROBE_SECONDS, beside=True)).status == 200
        except HttpError:
            return False


@asynccontextmanager
async def serving(server: Server, log: Path) -> AsyncIterator[Server]:
    """Keep the server up for the block. Raises as `Server.start`."""
    try:
        await server.start(log)
        yield server
    finally:
        await server.stop()


def how_it_ended(code: int, log: Log) -> str:
    """How a server ended, in words that follow its name."""
    if code <= 128:
        return f"ended with status {code}: {log.cause}"
    number = code - 128
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    why = ", as the system does when memory runs out" if number == signal.SIGKILL else ""
    return f"was ended by {name}{why} (last: {log.cause})"
