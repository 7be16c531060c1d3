"""Opening the file of a run: to write it, or to read it without changing it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from monkeys.store.errors import StoreError
from monkeys.store.migrations import migrate, version_of
from monkeys.store.schema import VERSION

__all__ = ["FILE", "at_this_version", "open_to_read", "open_to_write"]

FILE = "run.sqlite"
CACHE_KIB = 64 * 1024


def open_to_write(path: Path) -> sqlite3.Connection:
    """Raises `StoreError`."""
    db = None
    try:
        _check_beside(path)
        db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        db.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing at this level; only a machine that loses power may lose the last moments.
        db.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        if db is not None:
            db.close()
        raise StoreError(
            f"run file {path} cannot be opened ({error}); see that it can be written and the disk has space"
        ) from None
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file as it is, of whatever version. Raises `sqlite3.Error` and `OSError`."""
    _check_beside(path)
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and not os.access(path.parent, os.W_OK):
        return _copied(path, log)
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{_immutable(path)}", uri=True, isolation_level=None)


def at_this_version(db: sqlite3.Connection) -> sqlite3.Connection:
    """`db`, or in its place a migrated copy, which is gone when it is closed. Raises `sqlite3.Error`.

    The copy is in memory as far as the cache goes, and beyond that in a temporary file: 3,000 attempts (23 MB) take
    about 20 ms.
    """
    if version_of(db) == VERSION:
        return db
    copy = sqlite3.connect("", isolation_level=None)
    try:
        copy.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.backup(copy)
        copy.execute("BEGIN")
        migrate(copy)
        copy.execute("COMMIT")
    except BaseException:
        copy.close()
        raise
    db.close()
    return copy


def _check_beside(path: Path) -> None:
    """Check that what SQLite opens with the file is files too: it would wait for ever on a pipe."""
    for name in (f"{path.name}-{part}" for part in ("wal", "shm", "journal")):
        if (beside := path.with_name(name)).exists() and not beside.is_file():
            raise sqlite3.OperationalError(f"{name} beside it is no file")


def _immutable(path: Path) -> str:
    """A run in a folder that cannot be written, such as an archive, is read as a file that nobody changes."""
    return "" if os.access(path.parent, os.W_OK) else "&immutable=1"


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    """A copy in memory of a run that was killed and cannot be written: reading its log takes a place to write."""
    copy = sqlite3.connect("", isolation_level=None)
    try:
        with TemporaryDirectory(prefix="monkeys-") as folder:
            for file in (path, log):
                shutil.copy(file, folder)
            with closing(sqlite3.connect(Path(folder) / path.name)) as db:
                db.backup(copy)
    except BaseException:
        copy.close()
        raise
    return copy
