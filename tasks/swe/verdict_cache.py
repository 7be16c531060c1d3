"""The verdicts of this machine on disk: one SQLite file, `verdicts.sqlite`, for any number of runs at once.

An entry is a verdict under its key (`tasks.swe.verdict_key`). Entries are never migrated and never expire: a change in
anything that decides a verdict changes the key, so an entry that no longer holds is not found, and stays unused until
the file is deleted. The key does not depend on the program's own version, so entries of earlier versions are used. An
entry is verified again only on request (`--recheck`). To delete the file costs nothing but time.

Guarantees: two processes never verify the same key at once, since a key is claimed first. A claim is a lock that the
kernel takes back when its process dies, by SIGKILL too. An infra error is never kept; see `tasks.swe.cached_verifier`.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import zlib
from pathlib import Path

from tasks.task import Outcome, Task, Verdict

__all__ = ["VerdictCache"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT PRIMARY KEY, task TEXT NOT NULL, outcome TEXT NOT NULL, body BLOB NOT NULL, log BLOB NOT NULL,
    found REAL NOT NULL DEFAULT (julianday('now'))) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS confirmed (task TEXT PRIMARY KEY) WITHOUT ROWID;
"""
LOG_KEPT = 256 << 10  # bytes from the end of a log: a cache is not an archive
KEPT = ("outcome", "reason", "seconds", "official", "flags", "flaky")


class VerdictCache:
    """Verdicts of this machine, in `folder`. Raises `OSError` or `sqlite3.Error` if it cannot be used."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._claims = os.open(folder / "claims", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            # SQLite does not wait for another process that makes the same file a write-ahead one.
            fcntl.flock(self._claims, fcntl.LOCK_EX)
            self._db = _opened(folder / "verdicts.sqlite")
            fcntl.flock(self._claims, fcntl.LOCK_UN)
        except BaseException:
            os.close(self._claims)
            raise

    def get(self, key: str) -> Verdict | None:
        row = self._db.execute("SELECT body, log FROM verdicts WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        body = json.loads(row[0])
        body |= {"outcome": Outcome(body["outcome"]), "flags": tuple(body["flags"])}
        return Verdict(**body, log=zlib.decompress(row[1]), cached=True)

    def put(self, key: str, task: Task, verdict: Verdict) -> None:
        text = json.dumps({name: getattr(verdict, name) for name in KEPT} | {"tests": dict(verdict.tests)})
        log = zlib.compress(verdict.log[-LOG_KEPT:])
        row = (key, task.id, verdict.outcome, text, log)
        self._db.execute("INSERT OR REPLACE INTO verdicts (key, task, outcome, body, log) VALUES (?, ?, ?, ?, ?)", row)

    def confirm(self, task: str) -> None:
        """Record that a patch which resolves the task with this digest was verified twice."""
        self._db.execute("INSERT OR IGNORE INTO confirmed VALUES (?)", (task,))

    def confirmed(self, task: str) -> bool:
        """Whether a patch that resolves the task with this digest was verified twice."""
        return self._db.execute("SELECT 1 FROM confirmed WHERE task = ?", (task,)).fetchone() is not None

    def claim(self, key: str) -> bool:
        """Take the key for this process; False if another one has it."""
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(key))
        except OSError:
            return False
        return True

    def release(self, key: str) -> None:
        fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, _offset(key))

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._db.close()
        if self._claims >= 0:
            os.close(self._claims)
            self._claims = -1


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _offset(key: str) -> int:
    """The byte of the lock file that stands for a key."""
    return int(key[:12], 16)
