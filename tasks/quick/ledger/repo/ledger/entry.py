"""One row of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ledger.amounts import parse_cents


@dataclass(frozen=True)
class Entry:
    day: date
    account: str
    cents: int
    memo: str = ""

    @property
    def month(self) -> str:
        return f"{self.day.year}-{self.day.month:02d}"

    @classmethod
    def from_fields(cls, fields: list[str]) -> Entry:
        if len(fields) != 4:
            raise ValueError(f"expected 4 fields, found {len(fields)}")
        day, account, amount, memo = (field.strip() for field in fields)
        if not account:
            raise ValueError("the account is missing")
        return cls(date.fromisoformat(day), account, parse_cents(amount), memo)
