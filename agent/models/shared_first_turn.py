"""Several attempts on one issue ask for their first turn with one request: its `n` is how many they are.

The prompt of a first turn is the same for all attempts on an issue, and of several answers
to one request the server bills it once. Who asks while the request waits to be let in joins
it, up to as many as were told; each gets an answer of its own. Guarantees: what the server
bills is charged once, divided among those who asked; a fault of the request is a fault to
all of them; whoever is called off in between costs the others no answer. A server that
gives fewer answers than it was asked for, or refuses so many, is asked for fewer from then
on, and whoever got none asks again.

One request has one seed, and a server might answer all of it from that one, so that none is
sent: first turns that are joined have none.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from agent.models.answers import divided
from agent.models.model import Call, Meter, Model, ModelRefused, Reply
from agent.trajectory import Message, Usage

__all__ = ["Several", "SharedFirstTurn"]

GATHER_SECONDS = 0.05  # for those whose sandboxes are ready at about the same time


class Several(Model, Protocol):
    """A model that can give several answers to one request."""

    progress: Callable[[str], None]
    warn: Callable[[str], None]

    async def replies(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        call: Call,
        joined: Callable[[], Sequence[Call]],
    ) -> list[Reply]:
        """As many as `joined` says when the request goes out, or fewer."""
        ...


class SharedFirstTurn:
    """`model`, whose first turns are asked for up to `most` at a time."""

    def __init__(self, model: Several, most: int) -> None:
        self._model, self._most = model, most
        self._open: dict[tuple[str, str], _Group] = {}  # by what they ask
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def progress(self) -> Callable[[str], None]:
        return self._model.progress

    @progress.setter
    def progress(self, tell: Callable[[str], None]) -> None:
        self._model.progress = tell

    @property
    def warn(self) -> Callable[[str], None]:
        return self._model.warn

    @warn.setter
    def warn(self, tell: Callable[[str], None]) -> None:
        self._model.warn = tell

    async def check(self) -> None:
        await self._model.check()

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking)
        await self._model.close()

    async def reply(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, call: Call) -> Reply:
        if call.turn(messages):
            return await self._model.reply(messages, tools, call=call)
        asked = call.task, json.dumps((messages, tools))
        while self._most > 1:
            group = self._open.get(asked)
            if group is None or len(group.members) >= self._most:
                group = self._open[asked] = _Group()
                group.task = asyncio.create_task(self._ask(group, asked, messages, tools, call))
                self._asking.add(group.task)
                group.task.add_done_callback(self._asking.discard)
            if reply := await group.answer(call):
                return reply
        return await self._model.reply(messages, tools, call=call)

    async def _ask(
        self,
        group: _Group,
        asked: tuple[str, str],
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        first: Call,
    ) -> None:
        def joined() -> list[Call]:
            self._close(asked, group)
            return group.go()

        error: Exception | None = None
        try:
            await asyncio.sleep(GATHER_SECONDS)
            call = Call(first.task, first.attempt, first.seed, meter=_Meters(group))
            replies = await self._model.replies(messages, tools, call=call, joined=joined)
            group.share(replies)
            self._ask_for(len(replies), group.size, f"has {len(replies)} answers")
        except ModelRefused as refusal:
            error = refusal if group.size <= 1 else None
            self._ask_for(group.size // 2, group.size, f"is refused ({refusal})")
        except Exception as failure:
            error = failure
        finally:
            self._close(asked, group)
            group.end(error)

    def _close(self, asked: tuple[str, str], group: _Group) -> None:
        """Nobody else joins it."""
        if self._open.get(asked) is group:
            del self._open[asked]

    def _ask_for(self, most: int, size: int, why: str) -> None:
        if 1 <= most < min(size, self._most):
            self._most = most
            then = f"no more than {most} at a time" if most > 1 else "each by itself"
            self.warn(f"a request for {size} first turns {why}: they are asked for {then} from now on")


class _Group:
    """Those whose first turns are asked for with one request."""

    def __init__(self) -> None:
        self.members: dict[Call, asyncio.Future[Reply | None]] = {}
        self.size = 0  # as the request went out
        self.task: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    async def answer(self, call: Call) -> Reply | None:
        """That for this member; None if there is none, and it is to ask again."""
        answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self.members[call] = answer
        try:
            with call.meter.paused():  # what it waits to be let in is on nobody's clock
                await self._gone.wait()
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and not answer.exception() and (reply := answer.result()):
                call.meter.bill(reply.usage)
            answer.cancel()
            if not self.waiting and self.task:
                self.task.cancel()
            raise

    @property
    def waiting(self) -> list[Call]:
        return [call for call, answer in self.members.items() if not answer.done()]

    def go(self) -> list[Call]:
        """The request goes out, for the first time or again. Returns for whom."""
        self._gone.set()
        calls = self.waiting
        self.size = len(calls)
        return calls

    def share(self, replies: Sequence[Reply]) -> None:
        """To each its own; what is left over is paid for all the same."""
        calls = self.waiting
        for reply in replies[len(calls) :]:
            _Meters(self).bill(reply.usage)
        for call, reply in zip(calls, replies, strict=False):
            self.members[call].set_result(reply)

    def end(self, error: Exception | None = None) -> None:
        """No answer comes any more."""
        self._gone.set()
        for call in self.waiting:
            if error:
                self.members[call].set_exception(error)
            else:
                self.members[call].set_result(None)


class _Meters(Meter):
    """Those of a group's members."""

    def __init__(self, group: _Group) -> None:
        super().__init__()
        self._group = group

    def bill(self, usage: Usage) -> None:
        calls = self._group.waiting
        for call, part in zip(calls, divided(usage, [1] * len(calls)), strict=True):
            call.meter.bill(part)

    def give_back(self, seconds: float) -> None:
        for call in self._group.waiting:
            call.meter.give_back(seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        with ExitStack() as clocks:
            for call in self._group.waiting:
                clocks.enter_context(call.meter.paused())
            yield
