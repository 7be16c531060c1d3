"""A run on disk. `Store` is the front door."""

from monkeys.store.store import AttemptRow, Store, StoreError, Tally, patch_digest

__all__ = ["AttemptRow", "Store", "StoreError", "Tally", "patch_digest"]
