"""The agent: makes one attempt at a task.

An `AttemptSpec` names the attempt to make. It is frozen and can be pickled, so that it can be sent to another process.
An `AttemptScope` is what the attempt has while it runs: a clock that stands still while a server is away, a budget of
tokens and money, and a clean-up at the end. To bring an agent of your own, write a class with the members of `Agent`
and register it under the entry point `coding_monkeys.agents` (see `agent.agents`; `docs/examples/command_agent.py` is a
worked example).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from agent.trajectory import Message, Trajectory, Usage
from envs import Sandbox
from tasks.task import Task

__all__ = ["Agent", "AttemptBudget", "AttemptClock", "AttemptScope", "AttemptSpec", "Branch", "Payer"]


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a continuation begins: after `turn` turns of attempt `index` at the same task, whose seed was `seed`."""

    index: int
    turn: int
    seed: int


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """Names one attempt: number `index` of `arm` at the task with the id `task`.

    `seed` belongs to the attempt and is the same in all of its turns. `brief` is a text of the strategy that the agent
    is shown after the statement. `parents` are the indices of the attempts at the same task from which the brief was
    made. Both are empty for an independent attempt. A continuation `continues` another attempt from one of its turns.
    """

    task: str
    index: int
    seed: int
    arm: str = ""
    brief: str = ""
    parents: tuple[int, ...] = ()
    continues: Branch | None = None

    @property
    def first_seed(self) -> int:
        """The seed with which the conversation began: that of the attempt which this one continues, or its own.

        What is drawn once for a whole attempt is drawn by it.
        """
        return self.continues.seed if self.continues else self.seed


class AttemptClock:
    """The time limit of one attempt. Waiting for this program, or for a server that is away, does not count."""

    def __init__(self) -> None:
        self._timeout: asyncio.Timeout | None = None
        self._expired = False
        self._expired = False

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """Limit the block to this many seconds. Raises `TimeoutError`."""
        async with asyncio.timeout(0.0 if self._expired else seconds) as self._timeout:
            yield

    @property
    def stopped(self) -> bool:
        """Whether there is no deadline now: before the limit is set, and while the clock is paused."""
        return self._timeout is None or self._timeout.when() is None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock for the block."""
        clock = self._timeout
        when = None if clock is None or clock.expired() else clock.when()
        if clock is None or when is None:
            yield
            return
        now = asyncio.get_running_loop().time
        began = now()
        clock.reschedule(None)
        try:
            yield
        finally:
            if clock.when() is None:  # or else it was set meanwhile
                self._move(when + now() - began)

    def give_back(self, seconds: float) -> None:
        """Move the deadline: these seconds were not the attempt's own."""
        clock = self._timeout
        if clock is not None and not clock.expired() and (when := clock.when()) is not None:
            self._move(when + seconds)

    def expire(self) -> None:
        """Run out now."""
        self._expired = True
        if self._timeout is not None:
            self._move(asyncio.get_running_loop().time())

    def _move(self, when: float) -> None:
        assert self._timeout is not None
        try:
            self._timeout.reschedule(when)
        except RuntimeError:
            pass  # it has run out or been stopped: the attempt is at its end


Price = Callable[[Usage], float]


def _free(usage: Usage) -> float:
    return 0.0


def _untold(usage: Usage, dollars: float) -> None:
    pass


class AttemptBudget:
    """Counts what one attempt uses: `used` are all its tokens, `wasted` those of unusable answers, `dollars` the price.

    `price` gives the price of a request. `waste_price` gives that of an unusable answer, whose usage may be the sum of
    several. `paid` is called with tokens and dollars at each payment. A `closed` attempt samples no more, because the
    run has reached a limit.
    """

    def __init__(
        self,
        price: Price = _free,
        waste_price: Price | None = None,
        paid: Callable[[Usage, float], None] = _untold,
    ) -> None:
        self.used = self.wasted = Usage()
        self.dollars = 0.0
        self.closed = False
        self._price, self._waste_price, self._paid = price, waste_price or price, paid

    def charge(self, usage: Usage) -> None:
        """Count the tokens of a reply."""
        self._pay(usage, self._price(usage))

    def bill(self, usage: Usage) -> None:
        """Count the tokens of an answer that cannot be used."""
        self.wasted += usage
        self._pay(usage, self._waste_price(usage))

    def take_wasted(self) -> Usage:
        """The tokens wasted since the last call."""
        wasted, self.wasted = self.wasted, Usage()
        return wasted

    def carry_over(self, usages: Sequence[Usage]) -> None:
        """Count the tokens of replies that another attempt has paid for: they use up the limits of this one."""
        for usage in usages:
            self.used += usage
            self.dollars += self._price(usage)

    def _pay(self, usage: Usage, dollars: float) -> None:
        self.used += usage
        self.dollars += dollars
        self._paid(usage, dollars)


class Payer(Protocol):
    """Pays for a request: one attempt, or a group of attempts that share the request."""

    def bill(self, usage: Usage) -> None:
        """Count the tokens of an answer that cannot be used."""
        ...

    def give_back(self, seconds: float) -> None:
        """Do not count these seconds: a failed request took them."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Do not count the time that the block takes."""
        ...


class AttemptScope:
    """One attempt under way: its spec, its clock, its budget and its clean-up. Compared by identity.

    `cleanup` is closed when the attempt ends: a model registers there what it has to release. `opening` is how many
    messages the attempt began with, including examples of answers. `left_out` answers of the model stand in a summary,
    and are not sent any more; there were `summaries` so far. `remark` is a note for people that is kept with the
    attempt. `recorded` is the attempt that a continuation continues. `purpose` is empty for the turns of the attempt,
    else what a request outside of them is for, the one numbered `number` of that purpose.
    """

    def __init__(
        self, spec: AttemptSpec, budget: AttemptBudget | None = None, clock: AttemptClock | None = None
    ) -> None:
        self.spec, self.budget, self.clock = spec, budget or AttemptBudget(), clock or AttemptClock()
        self.cleanup = ExitStack()
        self.opening = self.left_out = self.summaries = 0
        self.remark = ""
        self.recorded: Trajectory | None = None
        self.purpose, self.number = "", 0

    def aside(self, purpose: str, number: int) -> AttemptScope:
        """The scope of a request outside of the turns, on the same budget, clock and clean-up."""
        scope = AttemptScope(self.spec, self.budget, self.clock)
        scope.cleanup, scope.purpose, scope.number = self.cleanup, purpose, number
        return scope

    def close(self, *, at_once: bool = False) -> None:
        """End the attempt after the current turn, or `at_once`."""
        self.budget.closed = True
        if at_once:
            self.clock.expire()

    def turn(self, messages: Sequence[Message]) -> int:
        """The number of the turn that a conversation has come to, from 0."""
        answers: int = sum(message["role"] == "assistant" for message in messages[self.opening :])
        return self.left_out + answers

    def bill(self, usage: Usage) -> None:
        self.budget.bill(usage)

    def give_back(self, seconds: float) -> None:
        self.clock.give_back(seconds)

    def paused(self) -> AbstractContextManager[None]:
        return self.clock.paused()


class Agent(Protocol):
    """Makes attempts, many at the same time. `name` is recorded with the run."""

    @property
    def name(self) -> str: ...

    @property
    def needs_sandbox(self) -> bool:
        """Whether the agent cannot work without a sandbox."""
        ...

    async def run(self, task: Task, sandbox: Sandbox | None, scope: AttemptScope) -> Trajectory:
        """Make one attempt. `sandbox` is fresh; it is None where neither suite nor agent needs one.

        A limit or an infrastructure failure does not raise: it is the trajectory's `exit`, and the submission is what
        there is by then. Raises `ModelRefused` and `Unsuited` where no attempt can succeed.
        """
        ...
