"""A worker process: `python -m monkeys.executors.worker_process FD`, started by the executor `processes`.

It serves frames (`monkeys.executors.frames`) on the socket FD with one event loop, one set of sandboxes and one model
client of its own. The socket is its life line: when the driver is gone, by SIGKILL too, it calls off all that is under
way, closes its worker, and ends. Ctrl-C reaches it through the driver alone.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from agent.agent import AttemptScope
from agent.trajectory import Trajectory, Usage
from envs.errors import MonkeysError
from envs.events import Event
from monkeys.executors import frames
from monkeys.executors.worker import Worker
from tasks.task import Verdict

__all__ = ["main"]

BEAT_SECONDS = 1.0
LAST_SECONDS = 60.0  # which closing may take once the driver is gone
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1]))))


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    first = await frames.read_frame(reader)
    if not isinstance(first, frames.Setup):
        return
    loop = asyncio.get_running_loop()

    def tell(event: Event) -> None:  # from any thread
        loop.call_soon_threadsafe(frames.write_frame, writer, frames.Told(event))

    try:
        async with first.setup.open(tell) as (worker, facts):
            frames.write_frame(writer, frames.Ready(facts))
            beat = asyncio.create_task(_beat(writer))
            try:
                await _Service(worker, writer).serve(reader)
            finally:
                beat.cancel()
    except Exception as error:
        frames.write_frame(writer, frames.Failed(None, _portable(error)))
        with suppress(ConnectionError):
            await writer.drain()
    finally:
        writer.close()


async def _beat(writer: asyncio.StreamWriter) -> None:
    """Show that this process is not stuck."""
    while True:
        frames.write_frame(writer, frames.Alive())
        await asyncio.sleep(BEAT_SECONDS)


def _die_with_parent() -> None:
    """Have the kernel end this process with its driver, also while it is stopped and cannot notice (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class _Service:
    """The calls of one driver, each a task."""

    def __init__(self, worker: Worker, writer: asyncio.StreamWriter) -> None:
        self._worker, self._writer = worker, writer
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._scopes: dict[int, AttemptScope] = {}

    async def serve(self, reader: asyncio.StreamReader) -> None:
        while frame := await frames.read_frame(reader):
            match frame:
                case frames.Attempt(call, spec):
                    # At once, for a close or a cancellation may be the next frame.
                    scope = self._scopes[call] = self._worker.scope(spec, partial(self._paid, call))
                    self._start(call, self._result(call, self._worker.attempt(scope)))
                case frames.Verify(call, spec):
                    work = self._worker.verify(spec.task, spec.submission, probe=spec.probe)
                    self._start(call, self._result(call, work))
                case frames.Check(call):
                    self._start(call, self._result(call, self._worker.check()))
                case frames.Close(call, at_once):
                    if (closing := self._scopes.get(call)) is not None:
                        closing.close(at_once=at_once)
                case frames.Cancel(call):
                    if task := self._tasks.get(call):
                        task.cancel()
                case _:
                    raise AssertionError(f"no frame for a worker: {frame}")
            with suppress(ConnectionError):  # then the reader has come to its end as well
                await self._writer.drain()
        # Nobody is there any more to whom it would matter how long this takes.
        last = threading.Timer(LAST_SECONDS, os._exit, (1,))
        last.daemon = True
        last.start()
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _start(self, call: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[call] = asyncio.create_task(work)
        task.add_done_callback(partial(self._over, call))

    def _over(self, call: int, task: asyncio.Task[None]) -> None:
        del self._tasks[call]
        self._scopes.pop(call, None)
        if task.cancelled():  # before it had begun, or there would be something to salvage
            self._send(frames.Failed(call, asyncio.CancelledError()))

    def _paid(self, call: int, usage: Usage, dollars: float) -> None:
        self._send(frames.Paid(call, usage, dollars))

    async def _result(self, call: int, work: Coroutine[Any, Any, Trajectory | Verdict | None]) -> None:
        try:
            self._send(frames.Done(call, await work))
        except Exception as error:
            self._send(frames.Failed(call, _portable(error)))

    def _send(self, frame: frames.Frame) -> None:
        frames.write_frame(self._writer, frame)


def _portable(error: Exception) -> Exception:
    """The error itself where it survives pickling, else one that says the same."""
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:
        again = None
    if type(again) is type(error) and str(again) == str(error):
        return error
    kind = MonkeysError if isinstance(error, MonkeysError) else RuntimeError
    return kind(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
