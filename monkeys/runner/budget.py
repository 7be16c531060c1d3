"""The budget of a run: how many tokens, dollars and seconds it may use, and what it has used.

Guarantees: everything that is paid counts, in every session and for every try, infra errors and useless answers
included, turn by turn as it comes. No attempt starts that is expected to go over a limit. An attempt is expected to
cost what those so far did on average, or all that it may as long as there is none. Once a limit is reached nothing more
is asked of a model: of tokens and money at most one request of each attempt under way goes beyond it. What ends so is
cancelled: kept as evidence, and sampled again when the run goes on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.limits import AttemptLimits
from agent.trajectory import Trajectory, Usage
from monkeys.events import BudgetSpent, Sink, ignore
from monkeys.pricing.prices import Quote
from monkeys.text import amount, duration, money, several

__all__ = ["AttemptAccount", "RunBudget", "RunLimits", "Spent"]

TOLD_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What a run may use: dollars and tokens (prompt and completion) of all its sessions, wall seconds of this one."""

    dollars: float = math.inf
    tokens: float = math.inf
    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Spent:
    """What was paid in earlier sessions, for so many attempts that count."""

    tokens: int = 0
    dollars: float = 0.0
    attempts: int = 0
    seconds: float = 0.0  # of the attempts


class AttemptAccount:
    """What one attempt under way has cost. It is charged by the executor and closed by the budget."""

    def __init__(self, budget: RunBudget) -> None:
        self.tokens, self.dollars = 0, 0.0
        self._budget = budget
        self._close: Callable[[bool], None] | None = None
        self._closed: bool | None = None  # and whether at once

    def paid(self, usage: Usage, dollars: float) -> None:
        """Note a payment of the attempt."""
        self.tokens += usage.total
        self.dollars += dollars
        self._budget.note(usage.total, dollars)

    def on_close(self, close: Callable[[bool], None]) -> None:
        """`close` is called once the run has reached a limit: True breaks the attempt off, False lets its turn end."""
        self._close = close
        if self._closed is not None:
            close(self._closed)

    def close(self, at_once: bool) -> None:
        self._closed = at_once
        if self._close:
            self._close(at_once)


class RunBudget:
    """The budget of one session.

    `most` is what one attempt may use. `quote` prices its tokens; a limit in dollars needs one. What is spent is told
    as `BudgetSpent`, at most a few times a second.
    """

    def __init__(
        self,
        limits: RunLimits,
        most: AttemptLimits,
        quote: Quote | None = None,
        before: Spent | None = None,
        clock: Callable[[], float] = time.monotonic,
        events: Sink = ignore,
    ) -> None:
        if quote is None and limits.dollars < math.inf:
            raise ValueError("a limit in dollars needs prices")
        before = before or Spent()
        self.limits, self.quote = limits, quote
        self.tokens, self.dollars, self.attempts = before.tokens, before.dollars, before.attempts
        self._closed_tokens, self._closed_dollars, self._seconds = before.tokens, before.dollars, before.seconds
        self._most, self._clock, self._began = most, clock, clock()
        self._most_dollars = math.inf if most.dollars is None else most.dollars
        if quote:
            rates = [
                (one.prompt, one.completion) for one in (quote.prices, *(dearer for _, dearer in quote.prices.longer))
            ]
            self._most_dollars = min(self._most_dollars, most.tokens * max(map(max, rates)) / 1e6)
        self._open: set[AttemptAccount] = set()
        self._changed = asyncio.Event()
        self._reached = ""
        self._events, self._told = events, -math.inf
        self.tell()

    @property
    def seconds(self) -> float:
        """Since this session began."""
        return self._clock() - self._began

    # Attempts under way

    def account(self) -> AttemptAccount:
        """The account of an attempt that starts now; give it to `settle` when that is over."""
        account = AttemptAccount(self)
        self._open.add(account)
        if self._reached:
            account.close(False)
        return account

    def settle(self, account: AttemptAccount, trajectory: Trajectory | None = None) -> None:
        """The attempt is over; None if it came to nothing."""
        self._open.discard(account)
        self._closed_tokens += account.tokens
        self._closed_dollars += account.dollars
        if trajectory is not None:
            self._seconds += trajectory.seconds
            self.attempts += not trajectory.exit.infra
        self._changed.set()
        self.tell()

    def note(self, tokens: int, dollars: float) -> None:
        """Note a payment of any attempt."""
        self.tokens += tokens
        self.dollars += dollars
        if self._clock() - self._told >= TOLD_SECONDS:
            self.tell()
        if self.tokens >= self.limits.tokens:
            self._stop("tokens")
        if self.dollars >= self.limits.dollars:
            self._stop("cost")

    @asynccontextmanager
    async def timed(self) -> AsyncIterator[None]:
        """Break off what is under way once the time is up."""
        if self.limits.seconds == math.inf:
            yield
            return
        left = max(0.0, self.limits.seconds - self.seconds)
        timer = asyncio.get_running_loop().call_later(left, lambda: self._stop("time", at_once=True))
        try:
            yield
        finally:
            timer.cancel()

    def _stop(self, limit: str, *, at_once: bool = False) -> None:
        if not self._reached:
            self._reached = limit
            self.tell()
        for account in self._open:
            account.close(at_once)
        self._changed.set()

    # What may start

    async def room(self) -> bool:
        """Wait until one more attempt fits within the limits; False if none will.

        The caller opens its account before it awaits anything, or else others are told the same.
        """
        while limit := self._reached or self._exceeded():
            if self._reached or not self._open:
                self._reached = limit
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def _exceeded(self) -> str:
        """The limit that one more attempt is expected to go beyond."""
        limits, number = self.limits, self.attempts
        if self.tokens >= limits.tokens or self._over(
            self.tokens, self._closed_tokens, self._most.tokens, limits.tokens, lambda one: one.tokens
        ):
            return "tokens"
        if self.dollars >= limits.dollars or self._over(
            self.dollars, self._closed_dollars, self._most_dollars, limits.dollars, lambda one: one.dollars
        ):
            return "cost"
        return "time" if self.seconds + (self._seconds / number if number else 0.0) >= limits.seconds else ""

    def _over(
        self, spent: float, closed: float, most: float, limit: float, of: Callable[[AttemptAccount], float]
    ) -> bool:
        if limit == math.inf or not (self.attempts or self._open):  # somebody has to be the first
            return False
        each = closed / self.attempts if self.attempts else most
        to_come = sum(max(0.0, each - of(account)) for account in self._open)
        return spent + to_come + each > limit

    # What a person is told

    def tell(self) -> None:
        """Tell what was spent, of how much."""
        self._told = self._clock()
        limits, dollars = self.limits, self.dollars if self.quote else None
        self._events(
            BudgetSpent(self.tokens, dollars, _finite(limits.tokens), _finite(limits.dollars), _finite(limits.seconds))
        )

    @property
    def stopped(self) -> str:
        """The limit at which the run was stopped, in a line with what to do; empty if at none."""
        limits, reached = self.limits, self._reached
        if not reached:
            return ""
        if reached == "cost":
            limit, spent = money(limits.dollars), money(self.dollars)
        elif reached == "tokens":
            limit, spent = amount(limits.tokens), f"{amount(self.tokens)} tokens"
        else:
            limit, spent = duration(limits.seconds), duration(self.seconds)
        said = f"stopped at --max-{reached} {limit}: spent {spent} in {several(self.attempts, 'attempt')}"
        if self.attempts:
            return f"{said}; give the same command with a larger limit to go on"
        aside = " (one reply's limit is --max-completion-tokens)" if reached == "tokens" else ""
        return f"{said}: not even one fits, give a larger limit{aside} to go on"


def _finite(limit: float) -> float | None:
    return None if limit == math.inf else limit
