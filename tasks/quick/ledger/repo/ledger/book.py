"""Sums over entries."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.amounts import format_cents
from ledger.entry import Entry


class Book:
    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = sorted(entries, key=lambda entry: entry.day)

    def balance(self, account: str | None = None) -> int:
        """Cents in one account, or in all of them."""
        return sum(
            entry.cents for entry in self.entries if account is None or entry.account == account
        )

    def accounts(self) -> list[str]:
        return sorted({entry.account for entry in self.entries})

    def months(self) -> dict[str, int]:
        """What each month brought or cost."""
        totals: dict[str, int] = {}
        for entry in self.entries:
            totals[entry.month] = totals.get(entry.month, 0) + entry.cents
        return totals

    def running(self) -> list[int]:
        """The balance after each entry."""
        balances = []
        total = 0
        for entry in self.entries:
            total += entry.cents
            balances.append(total)
        return balances

    def statement(self) -> str:
        rows = [f"{name:<12}{format_cents(self.balance(name)):>12}" for name in self.accounts()]
        rows.append(f"{'total':<12}{format_cents(self.balance()):>12}")
        return "\n".join(rows)
