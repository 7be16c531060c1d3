"""The agent: whoever makes one attempt at a task.

An `AttemptSpec` says which attempt is made; it is frozen and can be pickled, so that it can be sent to another process.
An `AttemptScope` is what the attempt has while it runs: a clock that stands still while a server is away, a budget of
tokens and money, and what is to be done once it is over. To bring an agent of your own, write a class with the members
of `Agent` and register a function that makes one under the entry point `coding_monkeys.agents` (docs/extending.md has a
worked example).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from agent.trajectory import Message, Trajectory, Usage
from envs import Sandbox
from tasks.task import Task

__all__ = ["Agent", "AttemptBudget", "AttemptClock", "AttemptScope", "AttemptSpec"]


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """One attempt to be made: attempt `index` of `arm` at the task with this id.

    `seed` is the attempt's own, the same for each of its turns. `brief` is what the strategy adds to what the agent is
    shown, and `parents` are the indices of the attempts at the same task that it is made of; both are empty for an
    independent attempt.
    """

    task: str
    index: int
    seed: int
    arm: str = ""
    brief: str = ""
    parents: tuple[int, ...] = ()


class AttemptClock:
    """The time limit of one attempt. What it waits for us, or for a server that is away, does not count."""

    def __init__(self) -> None:
        self._timeout: asyncio.Timeout | None = None

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """Raises `TimeoutError` when the block takes longer."""
        async with asyncio.timeout(seconds) as self._timeout:
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands still."""
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
        """Add what was not the attempt's own time."""
        clock = self._timeout
        if clock is not None and not clock.expired() and (when := clock.when()) is not None:
            self._move(when + seconds)

    def expire(self) -> None:
        """Let it run out now."""
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


def _untold(tokens: int, dollars: float) -> None:
    pass


class AttemptBudget:
    """What one attempt has used. `used` are all its tokens, `dollars` their price, `wasted` those of useless answers.

    `price` is what a request costs, `waste_price` what an answer that was no use costs, whose prompt length nobody
    knows any more. `paid` is told of each payment as it is made. A `closed` attempt samples no more: the run has
    reached a limit.
    """

    def __init__(
        self,
        price: Price = _free,
        waste_price: Price | None = None,
        paid: Callable[[int, float], None] = _untold,
    ) -> None:
        self.used = self.wasted = Usage()
        self.dollars = 0.0
        self.closed = False
        self._price, self._waste_price, self._paid = price, waste_price or price, paid

    def charge(self, usage: Usage) -> None:
        """Note the tokens of a reply."""
        self._pay(usage, self._price(usage))

    def bill(self, usage: Usage) -> None:
        """Note the tokens of an answer that was no use."""
        self.wasted += usage
        self._pay(usage, self._waste_price(usage))

    def take_wasted(self) -> Usage:
        """What was wasted since it was last asked."""
        wasted, self.wasted = self.wasted, Usage()
        return wasted

    def _pay(self, usage: Usage, dollars: float) -> None:
        self.used += usage
        self.dollars += dollars
        self._paid(usage.total, dollars)


class AttemptScope:
    """One attempt under way: its spec, its clock, its budget, and its clean-up.

    `cleanup` is closed once the attempt has ended: a model puts there what it is to do then. `opening` is how many
    messages the attempt began with, examples of answers among them. `remark` is what a person should know of the
    attempt; it is kept with it.
    """

    def __init__(
        self, spec: AttemptSpec, budget: AttemptBudget | None = None, clock: AttemptClock | None = None
    ) -> None:
        self.spec, self.budget, self.clock = spec, budget or AttemptBudget(), clock or AttemptClock()
        self.cleanup = ExitStack()
        self.opening = 0
        self.remark = ""

    def close(self, *, at_once: bool = False) -> None:
        """Let the attempt end after its turn, or break it off in the midst of one."""
        self.budget.closed = True
        if at_once:
            self.clock.expire()

    def turn(self, messages: Sequence[Message]) -> int:
        """Which turn a conversation is at, from 0."""
        return sum(message["role"] == "assistant" for message in messages[self.opening :])


class Agent(Protocol):
    """Makes attempts, many at once. `name` is recorded with the run."""

    @property
    def name(self) -> str: ...

    @property
    def needs_sandbox(self) -> bool:
        """Whether it cannot work without a sandbox."""
        ...

    async def run(self, task: Task, sandbox: Sandbox | None, scope: AttemptScope) -> Trajectory:
        """Make one attempt, to its end. `sandbox` is fresh, and None where the suite needs none.

        Whatever ends the attempt, a limit or a failure of ours, is in the trajectory's `exit`, with the submission that
        there is by then. Raises only what no attempt can survive: `ModelRefused`, `Unsuited`.
        """
        ...
