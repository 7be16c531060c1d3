"""Shares one request among the first turns of several attempts at an issue: its `n` is how many they are.

The prompt of a first turn is the same for all attempts at an issue, and a server bills the prompt of several answers
once. An attempt that asks while the request waits for admission joins it, up to a maximum; each attempt gets an answer
of its own. Guarantees: what the server bills is charged once, divided among the members of the group; a fault of the
request is a fault to all of them; a member that is cancelled costs the others no answer. A server that gives fewer
answers than asked for, or refuses so many, is asked for fewer from then on, and members without an answer ask again.

A request has one seed, and a server might make all its answers from it. So a shared request has none.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from agent.agent import AttemptScope, Payer
from agent.models.answers import divided
from agent.models.model import Model, ModelRefused, Reply
from agent.trajectory import Message, Usage
from envs.events import Sink, Warned, ignore

__all__ = ["MultiReplyModel", "SharedFirstTurn"]

GATHER_SECONDS = 0.05  # for attempts whose sandboxes are ready at about the same time


class MultiReplyModel(Model, Protocol):
    """A model that can give several answers to one request."""

    async def replies(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        scope: AttemptScope,
        payer: Payer,
        joined: Callable[[], Sequence[AttemptScope]],
    ) -> list[Reply]:
        """One answer for each attempt that `joined` gives when the request goes out, or fewer.

        `scope` waits for admission on behalf of all of them, and `payer` pays for what went wrong.
        """
        ...


class SharedFirstTurn:
    """`model`, asked for up to `most` first turns with one request."""

    def __init__(self, model: MultiReplyModel, most: int, events: Sink = ignore) -> None:
        self._model, self._most, self._events = model, most, events
        self._open: dict[tuple[str, str], _Group] = {}  # by task and request
        self._requests: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self._model.name

    async def check(self) -> None:
        await self._model.check()

    async def close(self) -> None:
        for task in self._requests:
            task.cancel()
        if self._requests:
            await asyncio.wait(self._requests)
        await self._model.close()

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        if scope.purpose or scope.turn(messages):
            return await self._model.reply(messages, tools, scope=scope)
        key = scope.spec.task, json.dumps((messages, tools))
        while self._most > 1:
            group = self._open.get(key)
            if group is None or len(group.members) >= self._most:
                group = self._open[key] = _Group()
                group.request = asyncio.create_task(self._ask(group, key, messages, tools, scope))
                self._requests.add(group.request)
                group.request.add_done_callback(self._requests.discard)
            if reply := await group.answer(scope):
                return reply
        return await self._model.reply(messages, tools, scope=scope)

    async def _ask(
        self,
        group: _Group,
        key: tuple[str, str],
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        first: AttemptScope,
    ) -> None:
        def joined() -> list[AttemptScope]:
            self._close(key, group)
            return group.go()

        error: Exception | None = None
        try:
            await asyncio.sleep(GATHER_SECONDS)
            scope = AttemptScope(first.spec)  # of no attempt: it waits for admission on behalf of all
            scope.opening = first.opening
            replies = await self._model.replies(messages, tools, scope=scope, payer=group, joined=joined)
            group.share(replies)
            self._limit_to(len(replies), group.size, f"has {len(replies)} answers")
        except ModelRefused as refusal:
            error = refusal if group.size <= 1 else None
            self._limit_to(group.size // 2, group.size, f"is refused ({refusal})")
        except Exception as failure:
            error = failure
        finally:
            self._close(key, group)
            group.end(error)

    def _close(self, key: tuple[str, str], group: _Group) -> None:
        """No further attempt joins the group."""
        if self._open.get(key) is group:
            del self._open[key]

    def _limit_to(self, most: int, size: int, why: str) -> None:
        if 1 <= most < min(size, self._most):
            self._most = most
            then = f"at most {most} at a time" if most > 1 else "one at a time"
            self._events(Warned(f"a request for {size} first turns {why}: they are asked for {then} from now on"))


class _Group:
    """The attempts whose first turns are asked for with one request. As a `Payer` it divides among its members."""

    def __init__(self) -> None:
        self.members: dict[AttemptScope, asyncio.Future[Reply | None]] = {}
        self.size = 0  # when the request went out
        self.request: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    async def answer(self, scope: AttemptScope) -> Reply | None:
        """The answer for this member; None if there is none and it has to ask again."""
        answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self.members[scope] = answer
        try:
            with scope.paused():  # waiting for admission does not count
                await self._gone.wait()
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and not answer.exception() and (reply := answer.result()):
                scope.bill(reply.usage)
            answer.cancel()
            if not self.waiting and self.request:
                self.request.cancel()
            raise

    @property
    def waiting(self) -> list[AttemptScope]:
        return [scope for scope, answer in self.members.items() if not answer.done()]

    def go(self) -> list[AttemptScope]:
        """Note that the request goes out, for the first time or again. Returns the attempts that want an answer."""
        self._gone.set()
        waiting = self.waiting
        self.size = len(waiting)
        return waiting

    def share(self, replies: Sequence[Reply]) -> None:
        """Give each member its answer; answers that are left over are paid for too."""
        waiting = self.waiting
        for reply in replies[len(waiting) :]:
            self.bill(reply.usage)
        for scope, reply in zip(waiting, replies, strict=False):
            self.members[scope].set_result(reply)

    def end(self, error: Exception | None = None) -> None:
        """Tell the members that are left that no answer comes any more."""
        self._gone.set()
        for scope in self.waiting:
            if error:
                self.members[scope].set_exception(error)
            else:
                self.members[scope].set_result(None)

    def bill(self, usage: Usage) -> None:
        waiting = self.waiting
        for scope, part in zip(waiting, divided(usage, [1] * len(waiting)), strict=True):
            scope.bill(part)

    def give_back(self, seconds: float) -> None:
        for scope in self.waiting:
            scope.give_back(seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        with ExitStack() as clocks:
            for scope in self.waiting:
                clocks.enter_context(scope.paused())
            yield
