"""A record of the images that this program pulled: size and last use of each, in one small SQLite file per user.

Guarantees: an image that is not in the file was not pulled by this program; processes that write at the same time do
not disturb one another. Images are recorded per engine, for one user may use several engines.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ImageIndex", "PulledImage"]

BUSY_SECONDS = 30.0
SCHEMA = """CREATE TABLE IF NOT EXISTS images (
    engine TEXT NOT NULL, image TEXT NOT NULL, id TEXT NOT NULL, bytes INTEGER NOT NULL,
    pulled REAL NOT NULL, used REAL NOT NULL, PRIMARY KEY (engine, image)
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class PulledImage:
    """An image that this program pulled.

    `bytes` are unpacked and include layers that other images share. Times are seconds since 1970.
    """

    image: str
    id: str
    bytes: int
    pulled: float
    used: float


class ImageIndex:
    """The file at `path`, created on first use. Methods raise `sqlite3.Error` and `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, engine: str, pulled: PulledImage) -> None:
        """Record that this image was pulled. Replaces an earlier record of the same name."""
        with closing(self._open()) as file, file:
            row = (engine, pulled.image, pulled.id, pulled.bytes, pulled.pulled, pulled.used)
            file.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?)", row)

    def touch(self, engine: str, image: str, now: float) -> None:
        """Record that an image was used. Does nothing if it is not recorded."""
        with closing(self._open()) as file, file:
            file.execute("UPDATE images SET used = max(used, ?) WHERE engine = ? AND image = ?", (now, engine, image))

    def forget(self, engine: str, image: str) -> None:
        with closing(self._open()) as file, file:
            file.execute("DELETE FROM images WHERE engine = ? AND image = ?", (engine, image))

    def all(self, engine: str) -> tuple[PulledImage, ...]:
        """The images on this engine, the least recently used first."""
        with closing(self._open()) as file:
            order = "SELECT image, id, bytes, pulled, used FROM images WHERE engine = ? ORDER BY used, image"
            return tuple(PulledImage(*row) for row in file.execute(order, (engine,)))

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        try:
            file.execute(SCHEMA)
        except sqlite3.Error:
            file.close()
            raise
        return file
