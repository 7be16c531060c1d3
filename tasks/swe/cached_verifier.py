"""Verdicts by content: one patch is verified once per machine, whoever brings it and how often.

`CachedVerifier` stands before a `PatchVerifier` and does four things more. It finds verdicts that this
machine has reached before (`VerdictCache`), under a key of all that decides them. It sees
to it that of equal patches that come at once, in this process or in another, one is
verified and the others wait for it. It verifies the first patch that resolves a task a
second time, and a share of what it finds again; where two runs disagree a third decides,
and the verdict says that it is flaky. Where tests are known to be flaky, the majority of
more runs decides. And it never keeps an infra error.

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
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol, runtime_checkable

from envs import Backend, Limits, Origin, SandboxError
from tasks.quick.repositories import cache_folder
from tasks.swe.grading import Grader
from tasks.swe.patches import is_canonical
from tasks.swe.verify import VERSION, PatchVerifier
from tasks.task import Outcome, Task, Verdict

__all__ = [
    "CacheStats",
    "CachedVerifier",
    "Identifies",
    "VerdictCache",
    "Verifies",
    "make_verifier",
    "normalised",
    "place_of",
    "verdict_key",
]

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
# Of the limits, what does not bear on a run of the tests, which brings its own time and its own cap of output.
APART = ("command_seconds", "lifetime_seconds", "output_bytes")


class Verifies(Protocol):
    """Says what it thinks of a patch; a `PatchVerifier` or what stands before one."""

    async def verify(self, task: Task, patch: bytes) -> Verdict: ...


def normalised(patch: bytes) -> bytes:
    """The patch without what does not change what it does: the abbreviated hashes of its blobs."""
    return re.sub(rb"^index [0-9a-f]+\.\.[0-9a-f]+", b"index", patch, flags=re.M) if is_canonical(patch) else patch


@runtime_checkable
class Identifies(Protocol):
    """A back end that can say by content what its sandboxes of an origin hold."""

    async def identity(self, origin: Origin) -> str:
        """The same for the same content alone, such as an image's id. Raises `SandboxError`."""
        ...


async def place_of(backend: Backend, task: Task) -> str:
    """What sandboxes of `backend` hold for a task; by name alone where the back end cannot say by content.

    Raises `SandboxError`.
    """
    rooms = _rooms(backend)
    if isinstance(rooms, Identifies):
        return f"{backend.name} {await rooms.identity(task.origin)}"
    return f"{backend.name} {task.origin.image or task.origin.repository}"


def _rooms(backend: Backend) -> Backend:
    """Behind a pool stands the one that knows what it holds."""
    return getattr(backend, "backend", backend)


def verdict_key(task: Task, patch: bytes, *, place: str, limits: Limits, seconds: float, repeats: int = 1) -> str:
    """All that a verdict depends on, in 32 hexadecimal digits. `place` names what the sandbox holds, by content."""
    spec = {name: task.instance.get(name) for name in SPEC}
    grader = _swebench() if "log_parser" in task.instance else ""
    within = {name: value for name, value in asdict(limits).items() if name not in APART}
    parts = [VERSION, grader, place, task.origin.commit, task.id, spec, within, seconds, repeats]
    text = json.dumps(parts, sort_keys=True, default=str).encode() + b"\0" + normalised(patch)
    return hashlib.sha256(text).hexdigest()[:32]


@cache
def _swebench() -> str:
    """The version of the log parsers."""
    try:
        return version("swebench")
    except PackageNotFoundError:
        return ""


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
class CacheStats:
    """What a judge has done: asked, found in the cache, verified, and verified again."""

    asked: int = 0
    found: int = 0
    verified: int = 0
    again: int = 0
    flaky: int = 0


class CachedVerifier:
    """Verifies through `verifier`, with what `cache` remembers (None: nothing but what is under way here).

    `key` gives the key of a patch; it may raise `SandboxError`. `recheck` is the share of
    found verdicts that are verified again, drawn by `seed` and key. `repeats` says how many
    runs decide on a patch for a task; of a tie the verdict is unresolved.
    """

    def __init__(
        self,
        verifier: Verifies,
        cache: VerdictCache | None,
        key: Callable[[Task, bytes], Awaitable[str]],
        *,
        recheck: float = 0.0,
        seed: int = 0,
        repeats: Callable[[Task], int] = lambda task: 1,
    ) -> None:
        self._verifier, self._cache, self._key, self._recheck, self._seed = verifier, cache, key, recheck, seed
        self._repeats = repeats
        self._under_way: dict[str, asyncio.Future[Verdict]] = {}
        self._confirmed: set[str] = set()
        self.judged = CacheStats()

    def close(self) -> None:
        """Close the cache; what it remembers stays."""
        if self._cache:
            self._cache.close()

    async def verify(self, task: Task, patch: bytes) -> Verdict:
        """The verdict on `patch`, made or found. Never raises for what a patch or a sandbox does."""
        self.judged.asked += 1
        if not patch.strip():
            return await self._verifier.verify(task, patch)
        try:
            key = await self._key(task, patch)
        except SandboxError as error:
            return Verdict(Outcome.INFRA_ERROR, str(error), {}, 0.0)
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
                if self._repeats(task) > 1 or not self._drawn(key):
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
        if (repeats := self._repeats(task)) > 1:
            return await self._majority(task, patch, repeats)
        verdict = await self._verifier.verify(task, patch)
        if not verdict.resolved or self._is_confirmed(task):
            return verdict
        self._confirmed.add(task.digest)
        verdict = await self._second(task, patch, verdict)
        if self._cache and verdict.resolved and not verdict.flaky:
            with suppress(sqlite3.Error):
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
        return self._decided(verdicts)

    async def _majority(self, task: Task, patch: bytes, repeats: int) -> Verdict:
        """What most of `repeats` runs say. Infra errors do not count; as many of them are one themselves.

        It ends when the rest could change nothing, and at once where no test had a say.
        """
        verdicts: list[Verdict] = []
        failures = 0
        while True:
            verdict = await self._verifier.verify(task, patch)
            self.judged.again += bool(verdicts)
            if verdict.outcome is Outcome.INFRA_ERROR:
                failures += 1
                if failures == repeats:
                    return verdict
                continue
            verdicts.append(verdict)
            good = sum(verdict.resolved for verdict in verdicts)
            bad = len(verdicts) - good
            if 2 * good > repeats or 2 * bad >= repeats or not verdict.tests:
                return self._decided(verdicts)

    def _decided(self, verdicts: list[Verdict]) -> Verdict:
        """What most of them say, and that it is flaky if not all do."""
        good = sum(verdict.resolved for verdict in verdicts)
        chosen = next(verdict for verdict in verdicts if verdict.resolved == (2 * good > len(verdicts)))
        if good in (0, len(verdicts)):
            return chosen
        self.judged.flaky += 1
        reason = chosen.reason or f"resolved in {good} of {len(verdicts)} runs"
        return replace(chosen, flaky=True, cached=False, reason=reason)


def make_verifier(
    backend: Backend,
    grader: Grader,
    limits: Limits,
    *,
    seconds: float | Callable[[Task], float],
    workers: int,
    remember: bool = True,
    recheck: float = 0.0,
    seed: int = 0,
    repeats: Callable[[Task], int] = lambda task: 1,
    warn: Callable[[str], None] = lambda line: None,
) -> CachedVerifier:
    """A judge over a verifier of `backend`, with the verdicts that this machine remembers unless told not to.

    Where they cannot be used, it says so to `warn` in one line, and judges without them. Close
    the judge at the end.
    """
    places: dict[str, asyncio.Task[str]] = {}

    async def place(task: Task) -> str:
        name = repr(task.origin)
        if name not in places:
            places[name] = asyncio.create_task(place_of(backend, task))
        try:
            return await asyncio.shield(places[name])
        except SandboxError:
            places.pop(name, None)  # the next one asks again
            raise

    async def key(task: Task, patch: bytes) -> str:
        allowed = seconds(task) if callable(seconds) else seconds
        return verdict_key(task, patch, place=await place(task), limits=limits, seconds=allowed, repeats=repeats(task))

    remembered = None
    if remember and not isinstance(_rooms(backend), Identifies):
        warn(f"verdicts are not kept: sandbox {backend.name} cannot say what its rooms hold")
    elif remember:
        folder = cache_folder() / "verdicts"
        try:
            remembered = VerdictCache(folder)
        except (OSError, sqlite3.Error) as error:
            warn(f"verdicts are not kept: {folder} cannot be used ({error}); see to its permissions and space")
    verifier = PatchVerifier(backend, grader, limits, seconds=seconds, workers=workers)
    return CachedVerifier(verifier, remembered, key, recheck=recheck, seed=seed, repeats=repeats)
