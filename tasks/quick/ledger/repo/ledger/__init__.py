"""Club bookkeeping from a CSV file."""

from ledger.book import Book
from ledger.entry import Entry
from ledger.errors import LedgerError
from ledger.reader import read

__all__ = ["Book", "Entry", "LedgerError", "read"]
