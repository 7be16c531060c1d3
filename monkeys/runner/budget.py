"""What a run may spend in all, and the books that are kept of it: tokens, dollars, time.

Guarantees: everything that was paid counts, in every session and for every try, infra errors and answers that were no
use included, turn by turn as it comes. No attempt starts that is expected to go over a limit, an attempt being expected
to cost what those so far did on average, or all that it may as long as there is none. Once a limit is reached nothing
more is asked: of tokens and money at most the one request of each attempt under way goes beyond it. What ends so is
cancelled: kept as evidence, and sampled again when the run goes on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.loop import AttemptLimits
from agent.models.model import Meter
from agent.trajectory import Trajectory, Usage
from monkeys.pricing.prices import Quote, tokens_of
from monkeys.text import amount, duration, money, several

__all__ = ["Account", "RunBudget", "RunLimits", "Spent"]


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


class RunBudget:
    """The books of one session. `quote` prices its tokens; without one there is no money.

    `most` is what one attempt may use. A limit in dollars needs a quote.
    """

    def __init__(
        self,
        limits: RunLimits,
        most: AttemptLimits,
        quote: Quote | None = None,
        before: Spent | None = None,
        clock: Callable[[], float] = time.monotonic,
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
        self._open: set[Account] = set()
        self._changed = asyncio.Event()
        self._reached = ""

    @property
    def seconds(self) -> float:
        """Since this session began."""
        return self._clock() - self._began

    # What is under way

    def account(self) -> Account:
        """The meter of an attempt that starts now; give it to `settle` when that is over."""
        account = Account(self)
        self._open.add(account)
        if self._reached:
            account.close()
        return account

    def settle(self, account: Account, trajectory: Trajectory | None = None) -> None:
        """The attempt is over; None if it came to nothing."""
        self._open.discard(account)
        self._closed_tokens += account.used.total
        self._closed_dollars += account.dollars
        if trajectory is not None:
            self._seconds += trajectory.seconds
            self.attempts += not trajectory.exit.infra
        self._changed.set()

    def paid(self, tokens: int, dollars: float) -> None:
        """Note what an account was charged with."""
        self.tokens += tokens
        self.dollars += dollars
        if self.tokens >= self.limits.tokens:
            self._stop("tokens")
        if self.dollars >= self.limits.dollars:
            self._stop("cost")

    @asynccontextmanager
    async def timed(self) -> AsyncIterator[None]:
        """Once the time is up, what is under way is broken off."""
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
        self._reached = self._reached or limit
        for account in self._open:
            account.close(at_once=at_once)
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
            self.tokens, self._closed_tokens, self._most.tokens, limits.tokens, lambda one: one.used.total
        ):
            return "tokens"
        if self.dollars >= limits.dollars or self._over(
            self.dollars, self._closed_dollars, self._most_dollars, limits.dollars, lambda one: one.dollars
        ):
            return "cost"
        return "time" if self.seconds + (self._seconds / number if number else 0.0) >= limits.seconds else ""

    def _over(self, spent: float, closed: float, most: float, limit: float, of: Callable[[Account], float]) -> bool:
        if limit == math.inf or not (self.attempts or self._open):  # somebody has to be the first
            return False
        each = closed / self.attempts if self.attempts else most
        to_come = sum(max(0.0, each - of(account)) for account in self._open)
        return spent + to_come + each > limit

    # What is said

    def status(self) -> list[str]:
        """What was spent, of what there is; what has neither price nor limit is left out. Safe from any thread."""
        limits, said = self.limits, []
        if self.quote:
            said.append(money(self.dollars) + _of(limits.dollars, money))
        if limits.tokens < math.inf:
            said.append(f"{amount(self.tokens)}{_of(limits.tokens, amount)} tokens")
        if limits.seconds < math.inf:
            said.append(duration(self.seconds) + _of(limits.seconds, duration))
        return said

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


def _of(limit: float, write: Callable[[float], str]) -> str:
    return f" of {write(limit)}" if limit < math.inf else ""


class Account(Meter):
    """One attempt's meter that tells the ledger. Wasted answers are priced as short requests."""

    def __init__(self, ledger: RunBudget) -> None:
        super().__init__()
        self._ledger = ledger

    def charge(self, usage: Usage) -> None:
        super().charge(usage)
        quote = self._ledger.quote
        self._pay(usage, quote.request(usage) if quote else 0.0)

    def bill(self, usage: Usage) -> None:
        super().bill(usage)
        quote = self._ledger.quote
        self._pay(usage, quote.prices.dollars(tokens_of(usage)) if quote else 0.0)

    def _pay(self, usage: Usage, dollars: float) -> None:
        self.dollars += dollars
        self._ledger.paid(usage.total, dollars)
