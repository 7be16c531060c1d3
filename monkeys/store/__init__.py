"""A run on disk. `Store` opens one, to write it or to read it."""

from monkeys.store.arms import is_oracle, pools
from monkeys.store.errors import NotFound, StoreError
from monkeys.store.finding import find_run, find_same
from monkeys.store.rows import AttemptRow, Tally, TurnRow, submission_digest
from monkeys.store.store import Store, run_folder

__all__ = [
    "AttemptRow",
    "NotFound",
    "Store",
    "StoreError",
    "Tally",
    "TurnRow",
    "find_run",
    "find_same",
    "is_oracle",
    "pools",
    "run_folder",
    "submission_digest",
]
