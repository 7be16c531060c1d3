"""Verdicts by content: one patch is verified once per machine, whoever brings it and how often.

`Judge` stands before a `Verifier` and does four things more. It finds verdicts that this
machine has reached before (`VerdictCache`), under a key of all that decides them. It sees
to it that of equal patches that come at once, in this process or in another, one is
verified and the others wait for it. It verifies the first patch that resolves a task a
second time, and a share of what it finds again; where two runs disagree a third decides,
and the verdict says that it is flaky. And it never keeps an infra error.

The cache is one SQLite file that any number of runs may use at once. A claim on a key is a
lock that the kernel takes back when its process dies, by SIGKILL too.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import random
import re
import sqlite3
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from envs import Limits
from tasks.patches import is_canonical
from tasks.task import Outcome, Task, Verdict
from tasks.verify import VERSION

__all__ = ["Judge", "Judged", "VerdictCache", "Verifies", "normalised", "verdict_key"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT PRIMARY KEY, task TEXT NOT NULL, outcome TEXT NOT NULL, body BLOB NOT NULL, log BLOB NOT NULL,
    found REAL NOT NULL DEFAULT (julianday('now'))) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS confirmed (task TEXT PRIMARY KEY) WITHOUT ROWID;
"""
LOG_KEPT = 256 << 10  # of a log, its end: a cache is no archive
POLL_SECONDS = 0.2
# Of the row, what decides beside the patch. The known solution is in it, for the examination is proved on it.
SPEC = ("eval_script", "log_parser", "eval_type", "test_command", "test_patch", "patch", "FAIL_TO_PASS", "PASS_TO_PASS")


class Verifies(Protocol):
    """Says what it thinks of a patch; a `Verifier` or what stands before one."""

    async def verify(self, task: Task, patch: bytes) -> Verdict: ...


def normalised(patch: bytes) -> bytes:
    """The patch without what does not change what it does: the abbreviated hashes of its blobs."""
    return re.sub(rb"^index [0-9a-f]+\.\.[0-9a-f]+", b"index", patch, flags=re.M) if is_canonical(patch) else patch


def verdict_key(task: Task, patch: bytes, *, place: str, limits: Limits, seconds: float) -> str:
    """All that a verdict depends on, in 32 hexadecimal digits. `place` names what the sandbox holds, by content."""
    spec = {name: task.instance.get(name) for name in SPEC}
    parts = [VERSION, place, task.origin.commit, task.id, spec, asdict(limits), seconds]
    text = json.dumps(parts, sort_keys=True, default=str).encode() + b"\0" + normalised(patch)
    return hashlib.sha256(text).hexdigest()[:32]


class VerdictCache:
    """Verdicts of this machine, in `folder`. Raises `OSError` or `sqlite3.Error` if it cannot be used."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "verdicts.sqlite", isolation_level=None, timeout=10.0)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(SCHEMA)
        self._claims = os.open(folder / "claims", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def get(self, key: str) -> Verdict | None:
        row = self._db.execute("SELECT body, log FROM verdicts WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        body = json.loads(row[0])
        body |= {"outcome": Outcome(body["outcome"]), "flags": tuple(body["flags"])}
        return Verdict(**body, log=zlib.decompress(row[1]), cached=True)

    def put(self, key: str, task: Task, verdict: Verdict) -> None:
        body = {name: getattr(verdict, name) for name in ("outcome", "reason", "seconds", "official", "flags", "flaky")}
        text = json.dumps(body | {"tests": dict(verdict.tests)})
        log = zlib.compress(verdict.log[-LOG_KEPT:])
        row = (key, task.id, verdict.outcome, text, log)
        self._db.execute("INSERT OR REPLACE INTO verdicts (key, task, outcome, body, log) VALUES (?, ?, ?, ?, ?)", row)

    def confirm(self, task: str) -> None:
        """A patch that resolves the task of this digest was verified twice."""
        self._db.execute("INSERT OR IGNORE INTO confirmed VALUES (?)", (task,))

    def confirmed(self, task: str) -> bool:
        return self._db.execute("SELECT 1 FROM confirmed WHERE task = ?", (task,)).fetchone() is not None

    def claim(self, key: str) -> bool:
        """Take the key for this process, unless another one has it."""
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(key))
        except OSError:
            return False
        return True

    def release(self, key: str) -> None:
        fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, _place(key))

    def close(self) -> None:
        self._db.close()
        os.close(self._claims)


def _place(key: str) -> int:
    return int(key[:12], 16)


@dataclass(slots=True)
class Judged:
    """What a judge has done: asked, found in the cache, verified, and verified again."""

    asked: int = 0
    found: int = 0
    verified: int = 0
    again: int = 0
    flaky: int = 0


class Judge:
    """Verifies through `verifier`, with what `cache` remembers (None: nothing but what is under way here).

    `key` gives the key of a patch. `recheck` is the share of found verdicts that are
    verified again, drawn by `seed` and key.
    """

    def __init__(
        self,
        verifier: Verifies,
        cache: VerdictCache | None,
        key: Callable[[Task, bytes], Awaitable[str]],
        *,
        recheck: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._verifier, self._cache, self._key, self._recheck, self._seed = verifier, cache, key, recheck, seed
        self._under_way: dict[str, asyncio.Future[Verdict]] = {}
        self._confirmed: set[str] = set()
        self.judged = Judged()

    async def verify(self, task: Task, patch: bytes) -> Verdict:
        """The verdict on `patch`, made or found. Never raises for what a patch or a sandbox does."""
        self.judged.asked += 1
        if not patch.strip():
            return await self._verifier.verify(task, patch)
        key = await self._key(task, patch)
        while key in self._under_way:  # the one who verifies may be cancelled: then the next one does
            try:
                verdict = await asyncio.shield(self._under_way[key])
            except asyncio.CancelledError:
                if (current := asyncio.current_task()) and current.cancelling():
                    raise
                continue
            self.judged.found += 1
            return replace(verdict, cached=verdict.outcome is not Outcome.INFRA_ERROR)
        self._under_way[key] = mine = asyncio.get_running_loop().create_future()
        try:
            verdict = await self._find_or_make(task, patch, key)
            mine.set_result(verdict)
            return verdict
        finally:
            del self._under_way[key]
            if not mine.done():
                mine.cancel()

    async def _find_or_make(self, task: Task, patch: bytes, key: str) -> Verdict:
        if self._cache is None:
            return await self._make(task, patch)
        while not self._cache.claim(key):
            await asyncio.sleep(POLL_SECONDS)
        try:
            found = self._cache.get(key)
            if found is not None:
                self.judged.found += 1
                if not self._drawn(key):
                    return found
                verdict = await self._second(task, patch, found)
            else:
                verdict = await self._make(task, patch)
            if verdict.outcome is not Outcome.INFRA_ERROR:
                with suppress(sqlite3.Error):  # a full disk: the verdict is good, and will be made again
                    self._cache.put(key, task, verdict)
            return verdict
        finally:
            self._cache.release(key)

    def _drawn(self, key: str) -> bool:
        return self._recheck > 0 and random.Random(f"{self._seed}/{key}").random() < self._recheck

    async def _make(self, task: Task, patch: bytes) -> Verdict:
        self.judged.verified += 1
        verdict = await self._verifier.verify(task, patch)
        if (
            not verdict.resolved
            or task.digest in self._confirmed
            or (self._cache and self._cache.confirmed(task.digest))
        ):
            return verdict
        self._confirmed.add(task.digest)
        verdict = await self._second(task, patch, verdict)
        if self._cache and verdict.resolved and not verdict.flaky:
            self._cache.confirm(task.digest)
        return verdict

    def _is_confirmed(self, task: Task) -> bool:
        return task.digest in self._confirmed or (self._cache is not None and self._cache.confirmed(task.digest))

    async def _second(self, task: Task, patch: bytes, first: Verdict) -> Verdict:
        """Verify again; where the two disagree a third run decides, and it is called flaky."""
        verdicts = [first]
        for _ in range(2):
            self.judged.again += 1
            again = await self._verifier.verify(task, patch)
            if again.outcome is Outcome.INFRA_ERROR:
                return first if len(verdicts) == 1 else again
            verdicts.append(again)
            if again.outcome is first.outcome and len(verdicts) == 2:
                return first
        self.judged.flaky += 1
        good = sum(verdict.resolved for verdict in verdicts)
        chosen = next(verdict for verdict in verdicts if verdict.resolved == (good >= 2))
        return replace(chosen, flaky=True, cached=False, reason=chosen.reason or f"resolved in {good} of 3 runs")
