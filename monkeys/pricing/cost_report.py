"""What a run cost, by the prices that were kept with each of its sessions.

Every try is counted, infra errors and discarded answers included. A session without prices takes those of the last
session that has them, since it asked the same model. If no session has prices, there is no report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from agent.trajectory import Usage
from envs.errors import MonkeysError
from monkeys.pricing.prices import Quote, tokens_of
from monkeys.store import AttemptRow, Store
from monkeys.store.checks import damaged

__all__ = ["CostReport", "attempt_dollars", "cost_report", "quotes_of"]


@dataclass(frozen=True, slots=True)
class CostReport:
    """Costs in dollars by task, and the sources of the prices."""

    tasks: Mapping[str, float]
    sources: tuple[str, ...]

    @property
    def total(self) -> float:
        return sum(self.tasks.values())


def quotes_of(store: Store) -> dict[int, Quote]:
    """The prices of each session, by its number; empty if no session has prices. Raises `StoreError`."""
    records = {session["id"]: session["environment"].get("prices") for session in store.sessions()}
    quotes = {}
    for session, record in records.items():
        try:
            if record:
                quotes[session] = Quote.of(record)
        except (MonkeysError, LookupError, TypeError, ValueError) as error:
            damaged(f"run {store.folder}", f"the prices of session {session} are none ({error})")
    last = max(quotes, default=None)
    return {} if last is None else {session: quotes.get(session, quotes[last]) for session in records}


def cost_report(store: Store) -> CostReport | None:
    """The cost of all tries so far, None without prices."""
    quotes = quotes_of(store)
    if not quotes:
        return None
    bounds = {bound for quote in quotes.values() for bound, _ in quote.prices.longer}
    long = {bound: store.usages(above=bound) for bound in bounds}
    tasks: dict[str, float] = defaultdict(float, dict.fromkeys(store.task_ids(), 0.0))
    used = store.usages()
    for (session, task), usage in used.items():
        prices = quotes[session].prices
        tasks[task] += prices.dollars(tokens_of(usage))
        for bound, higher in quotes[session].prices.longer:
            part = tokens_of(long[bound].get((session, task), Usage()))
            tasks[task] += higher.dollars(part) - prices.dollars(part)
            prices = higher
    sources = dict.fromkeys(quotes[session].source for session, _ in used)
    return CostReport(dict(tasks), tuple(sources) or (quotes[max(quotes)].source,))


def attempt_dollars(store: Store, row: AttemptRow, quotes: Mapping[int, Quote]) -> float | None:
    """The cost of one try, None without prices."""
    quote = quotes.get(row.session)
    if quote is None:
        return None
    if not quote.prices.longer:
        return quote.prices.dollars(tokens_of(row.usage))
    requests = [turn.usage for turn in store.turns(row)]
    all_of, turns = tokens_of(row.usage), tokens_of(sum(requests, Usage()))
    # Discarded answers are priced by their sums: how long each of their prompts was is not recorded.
    return quote.prices.dollars(all_of) - quote.prices.dollars(turns) + sum(map(quote.request, requests))
