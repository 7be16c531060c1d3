"""A run on disk. `Store` opens one, to write it or to read it."""

from monkeys.store.errors import NotFound, StoreError
from monkeys.store.finding import find_run, find_same
from monkeys.store.rows import AttemptRow, Tally, submission_digest
from monkeys.store.store import Store, run_folder

__all__ = [
    "AttemptRow",
    "NotFound",
    "Store",
    "StoreError",
    "Tally",
    "find_run",
    "find_same",
    "run_folder",
    "submission_digest",
]
