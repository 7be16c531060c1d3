"""From CSV text to entries."""

from __future__ import annotations

import csv

from ledger.entry import Entry
from ledger.errors import LedgerError

HEADER = ["date", "account", "amount", "memo"]


def read(text: str) -> list[Entry]:
    """Read every entry below the header, or raise `LedgerError` for the first bad line."""
    lines = text.splitlines()
    if not lines or _fields(lines[0]) != HEADER:
        raise LedgerError(1, "the header must be " + ",".join(HEADER))
    entries = []
    for number, line in enumerate(lines[1:], start=1):
        if not line.strip():
            continue
        try:
            entries.append(Entry.from_fields(_fields(line)))
        except ValueError as error:
            raise LedgerError(number, str(error)) from error
    return entries


def _fields(line: str) -> list[str]:
    return next(csv.reader([line]))
