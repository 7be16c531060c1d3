"""The executor `processes`: worker processes of this machine, for runs where one Python process is the bottleneck.

Each process has an event loop, sandboxes, connections and a verifier of its own. A call goes to the process with the
fewest under way. Guarantees: what a lost process had under way comes back as infra errors, with what was paid for it,
and another process takes its place; one that falls silent is ended and is lost; a process ends with its driver, however
that ends, and takes its sandboxes along.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Trajectory, Usage
from envs.errors import MonkeysError
from monkeys.events import Sink, Warned
from monkeys.executors import frames
from monkeys.executors.executor import Account, ExecutorSetup, VerifySpec, WorkerFacts, WorkerSetup
from tasks.task import Outcome, Submission, Verdict

__all__ = ["Processes", "WorkerLost"]

Result: TypeAlias = Trajectory | Verdict | None

START_SECONDS = 600.0  # an image may have to be pulled first
SILENT_SECONDS = 30.0  # after which a process that says nothing is ended
LOOK_SECONDS = 2.0
# It finds the modules that its driver finds, whatever lies in the working folder.
BOOT = "import runpy, sys; sys.path[:] = {path!r}; del sys.argv[0]; runpy.run_module(sys.argv[0], run_name='__main__')"
WORKER = "monkeys.executors.worker_process"
END_SECONDS = 60.0  # for an attempt to be salvaged, and for a process to close what it has open


class WorkerLost(MonkeysError):
    """A worker process ended while it had something under way, or could not be opened."""


@dataclass(slots=True)
class _Call:
    """One call under way: its answer, whom it charges, and what it has charged."""

    answer: asyncio.Future[Result]
    account: Account | None = None
    began: float = field(default_factory=time.monotonic)
    used: Usage = field(default_factory=Usage)


class _Process:
    """One worker process, from its start to its end."""

    def __init__(self, setup: WorkerSetup, events: Sink) -> None:
        self._setup, self._events = setup, events
        self._numbers = itertools.count()
        self._calls: dict[int, _Call] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._last_frame = time.monotonic()
        self._ended_by_us = ""
        self.ready: asyncio.Future[WorkerFacts] = asyncio.get_running_loop().create_future()
        self.lost = False

    @property
    def under_way(self) -> int:
        return len(self._calls)

    async def start(self) -> WorkerFacts:
        """Returns once it is open. Raises what kept its worker from opening."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise _cannot_start(error) from None
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-P", "-c", BOOT.format(path=sys.path), WORKER, str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                ours.close()
                raise _cannot_start(error) from None
            except BaseException:
                ours.close()
                raise
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._tasks = [asyncio.create_task(self._read(reader))]
        self._send(frames.Setup(self._setup))
        try:
            async with asyncio.timeout(START_SECONDS):
                facts = await asyncio.shield(self.ready)
        except TimeoutError:
            raise WorkerLost(f"a worker process did not open within {START_SECONDS:.0f} s") from None
        self._tasks.append(asyncio.create_task(self._watch()))
        return facts

    async def attempt(self, spec: AttemptSpec, account: Account) -> Trajectory:
        """Make an attempt. A lost process makes it an infra error; raises what the attempt raised otherwise.

        Called off, the worker salvages what was sampled, for it is paid for; the cancellation then goes on.
        """
        number, call = self._begin(lambda number: frames.Attempt(number, spec), account)
        account.on_close(lambda at_once: self._send(frames.Close(number, at_once)))
        try:
            result = await asyncio.shield(call.answer)
        except WorkerLost as error:
            seconds = time.monotonic() - call.began
            return Trajectory(Exit.WORKER_LOST, (), (), Submission(), seconds, str(error), call.used)
        except asyncio.CancelledError:
            self._send(frames.Cancel(number))
            try:
                async with asyncio.timeout(END_SECONDS):
                    result = await call.answer
            except (TimeoutError, WorkerLost):
                self._end("did not answer any more and was ended")
                raise asyncio.CancelledError from None
            if task := asyncio.current_task():
                task.cancel()
        finally:
            del self._calls[number]
        assert isinstance(result, Trajectory)
        return result

    async def verify(self, spec: VerifySpec) -> Verdict:
        """Verify a submission. A lost process makes it an infra error."""
        number, call = self._begin(lambda number: frames.Verify(number, spec))
        try:
            result = await asyncio.shield(call.answer)
        except WorkerLost as error:
            return Verdict(Outcome.INFRA_ERROR, str(error), {}, time.monotonic() - call.began)
        except asyncio.CancelledError:
            self._send(frames.Cancel(number))
            raise
        finally:
            del self._calls[number]
        assert isinstance(result, Verdict)
        return result

    async def check(self) -> None:
        """Whether its model answers. Raises `ModelRefused` or `WorkerLost`."""
        number, call = self._begin(frames.Check)
        try:
            await call.answer
        finally:
            del self._calls[number]

    async def stop(self) -> None:
        """End it and what it has open, at any point of its life. Idempotent."""
        if self._writer is not None:
            self._writer.close()
        if not self.ready.done():
            self._end("was ended before it had opened")
        if self._process is not None:
            try:
                async with asyncio.timeout(END_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._end("did not end and was ended")
                await self._process.wait()
        for task in self._tasks[1:]:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, frame: Callable[[int], frames.Frame], account: Account | None = None) -> tuple[int, _Call]:
        number, call = next(self._numbers), _Call(asyncio.get_running_loop().create_future(), account)
        self._send(frame(number))
        self._calls[number] = call
        if self.lost:
            call.answer.set_exception(WorkerLost("the worker process has ended"))
        return number, call

    def _send(self, frame: frames.Frame) -> None:
        if self._writer is not None:
            frames.write_frame(self._writer, frame)

    def _end(self, why: str) -> None:
        """End it with SIGKILL, which ends a stopped process too."""
        self._ended_by_us = self._ended_by_us or why
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _watch(self) -> None:
        """End the process when it falls silent."""
        while not self.lost:
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() - self._last_frame > SILENT_SECONDS:
                self._end(f"said nothing for {SILENT_SECONDS:.0f} s and was ended")
                return

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Take its frames until it is gone. Whatever ends this fails everything that is under way."""
        error: Exception
        try:
            while frame := await frames.read_frame(reader):
                self._last_frame = time.monotonic()
                self._take(frame)
            error = WorkerLost(f"worker process {await self._how_it_ended()}")
        except Exception as failure:  # of the driver: an event sink, a frame that cannot be read
            error = failure
            self._end("was ended")
        self.lost = True
        self._fail(self.ready, error)
        for call in self._calls.values():
            self._fail(call.answer, error)

    def _take(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Alive():
                pass
            case frames.Ready(facts):
                if not self.ready.done():
                    self.ready.set_result(facts)
            case frames.Paid(number, usage, dollars):
                if call := self._calls.get(number):
                    call.used += usage
                    if call.account is not None:
                        call.account.paid(usage, dollars)
            case frames.Done(number, result):
                if (call := self._calls.get(number)) and not call.answer.done():
                    call.answer.set_result(result)
            case frames.Failed(None, error):
                self._fail(self.ready, error)
            case frames.Failed(int(number), error):
                if call := self._calls.get(number):
                    self._fail(call.answer, error)
            case frames.Told(event):
                self._events(event)
            case _:
                raise AssertionError(f"no frame for a driver: {frame}")

    async def _how_it_ended(self) -> str:
        assert self._process is not None
        code = await self._process.wait()
        if self._ended_by_us:
            return f"{self._process.pid} {self._ended_by_us}"
        if code < 0:
            return f"{self._process.pid} was killed by signal {-code}, as the system does when memory runs out"
        return f"{self._process.pid} ended with exit status {code}"

    @staticmethod
    def _fail(future: asyncio.Future[Result] | asyncio.Future[WorkerFacts], error: BaseException) -> None:
        if future.done():
            return
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(error)
            future.exception()  # nobody may be waiting for it any more


def _cannot_start(error: OSError) -> WorkerLost:
    return WorkerLost(
        f"a worker process cannot be started ({error.strerror}); use fewer --worker-processes, or raise the limits of "
        "this machine; nothing recorded is lost"
    )


class Processes:
    """As many processes as the setup says, each with one worker."""

    def __init__(self, setup: ExecutorSetup) -> None:
        self._setup = setup
        self._processes: list[_Process] = []
        self._starting: dict[int, asyncio.Task[None]] = {}

    async def start(self) -> WorkerFacts:
        # More processes than attempts at once would have nothing to do.
        count = min(self._setup.processes, self._setup.workers)
        self._processes = [_Process(self._setup.worker, self._setup.events) for _ in range(count)]
        opened = await asyncio.gather(*(process.start() for process in self._processes), return_exceptions=True)
        facts = []
        for one in opened:
            if isinstance(one, BaseException):
                await self.close()
                raise one
            facts.append(one)
        # All see the same machine, whose memory they share: what one of them has room for is all the room there is.
        return facts[0]

    async def check(self) -> None:
        await asyncio.gather(*(process.check() for process in self._processes))

    async def attempt(self, spec: AttemptSpec, account: Account) -> Trajectory:
        try:
            process = await self._process()
        except WorkerLost as error:
            return Trajectory(Exit.WORKER_LOST, (), (), Submission(), 0.0, str(error))
        return await process.attempt(spec, account)

    async def verify(self, spec: VerifySpec) -> Verdict:
        try:
            process = await self._process()
        except WorkerLost as error:
            return Verdict(Outcome.INFRA_ERROR, str(error), {}, 0.0)
        return await process.verify(spec)

    async def close(self) -> None:
        starting = list(self._starting.values())
        for task in starting:
            task.cancel()
        if starting:
            await asyncio.wait(starting)
        await asyncio.gather(*(process.stop() for process in self._processes))

    async def _process(self) -> _Process:
        """The process with the fewest calls under way. One that was lost is replaced meanwhile.

        Raises `WorkerLost` when none is left and none could be opened.
        """
        for at, process in enumerate(self._processes):
            if process.lost and at not in self._starting:
                self._setup.events(Warned("a worker process was lost; another one takes its place"))
                self._starting[at] = asyncio.create_task(self._replace(at))
        while not (alive := [process for process in self._processes if not process.lost]):
            if not self._starting:
                raise WorkerLost("no worker process is left")
            await asyncio.wait(self._starting.values(), return_when=asyncio.FIRST_COMPLETED)
        return min(alive, key=lambda process: process.under_way)

    async def _replace(self, at: int) -> None:
        """Attempts wait for a model that is away by themselves, so that it is not asked here whether it answers."""
        process, lost = _Process(self._setup.worker, self._setup.events), self._processes[at]
        try:
            await process.start()
            self._processes[at] = process
            await lost.stop()
        except Exception as error:
            self._setup.events(Warned(f"a worker process could not be opened: {error}"))
        finally:
            del self._starting[at]
            if process is not self._processes[at]:
                await process.stop()
