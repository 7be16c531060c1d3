"""Verifies a patch once per machine, whoever submits it and however often.

`CachedVerifier` wraps a `PatchVerifier` and adds four things. It finds verdicts that this machine has reached before
(`VerdictCache`), by their keys. Of equal patches that come at once, in this process or in another, it verifies one, and
the others wait for that verdict. It verifies the first patch that resolves a task a second time, and a share of what it
finds again; where two runs disagree a third decides, and the verdict is marked as flaky. Where tests are known to be
flaky, the majority of several runs decides.

Guarantees: an infra error is never kept. A cache that cannot be written costs time and no verdict.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from envs import Backend, SandboxError
from envs.cache_folder import cache_folder
from envs.events import Warned
from tasks.suite import Verifier, VerifierSetup
from tasks.swe.base_tests import BaseTests
from tasks.swe.graders import GraderByTask
from tasks.swe.grading import GraderFailed
from tasks.swe.patch_verifier import KIND, PatchVerifier
from tasks.swe.task import as_swe
from tasks.swe.verdict_cache import VerdictCache
from tasks.swe.verdict_key import can_identify, contents_of, verdict_key
from tasks.task import Outcome, Submission, Task, Verdict

__all__ = ["CacheStats", "CachedVerifier", "Key", "make_verifier"]

POLL_SECONDS = 0.2
Key = Callable[[Task, Submission], Awaitable[str]]
"""Gives the key of a submission; may raise `SandboxError`."""


def _once(task: Task) -> int:
    return 1


@dataclass(slots=True)
class CacheStats:
    """What a verifier has done: submissions asked for, verdicts found, submissions verified, runs made again."""

    asked: int = 0
    found: int = 0
    verified: int = 0
    again: int = 0
    flaky: int = 0


class CachedVerifier:
    """Verifies through `verifier`, which it closes in the end, and keeps verdicts in `cache`.

    Without a cache, only equal patches that come at once share a verdict. `recheck` is the share of found verdicts that
    are verified again, drawn by `seed` and key. `repeats` is how many runs decide on a patch for a task; a tie is
    unresolved.
    """

    def __init__(
        self,
        verifier: Verifier,
        cache: VerdictCache | None,
        key: Key,
        *,
        recheck: float = 0.0,
        seed: int = 0,
        repeats: Callable[[Task], int] = _once,
    ) -> None:
        self._verifier, self._cache, self._key, self._recheck, self._seed = verifier, cache, key, recheck, seed
        self._repeats = repeats
        self._under_way: dict[str, asyncio.Future[Verdict]] = {}
        self._confirmed: set[str] = set()
        self.stats = CacheStats()

    async def close(self) -> None:
        """Close the verifier and the cache, whose entries stay."""
        if self._cache:
            self._cache.close()
        await self._verifier.close()

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        """The verdict on a patch, made or found. Never raises for what a patch or a sandbox does."""
        self.stats.asked += 1
        if not submission.body.strip() or submission.kind != KIND:
            return await self._verifier.verify(task, submission)
        try:
            key = await self._key(task, submission)
        except SandboxError as error:
            return Verdict(Outcome.INFRA_ERROR, str(error), {}, 0.0)
        while key in self._under_way:  # whoever verifies may be cancelled; then the next one does
            try:
                verdict = await asyncio.shield(self._under_way[key])
            except asyncio.CancelledError:
                if (current := asyncio.current_task()) and current.cancelling():
                    raise
                continue
            self.stats.found += 1
            return replace(verdict, cached=verdict.outcome is not Outcome.INFRA_ERROR)
        self._under_way[key] = mine = asyncio.get_running_loop().create_future()
        try:
            verdict = await self._find_or_make(task, submission, key)
            mine.set_result(verdict)
            return verdict
        finally:
            del self._under_way[key]
            if not mine.done():
                mine.cancel()

    async def probe(self, task: Task) -> str:
        """Run the tests on the known solution, or on the base without one; no verdict that was kept is used."""
        if not isinstance(self._verifier, PatchVerifier):
            return "this verifier does not run tests without a submission"
        try:
            await self._verifier.execute(task, as_swe(task).patch.encode("utf-8", "surrogateescape"))
        except (SandboxError, GraderFailed) as error:
            return str(error)
        return ""

    async def _find_or_make(self, task: Task, submission: Submission, key: str) -> Verdict:
        if self._cache is None:
            return await self._make(task, submission)
        while not self._cache.claim(key):
            await asyncio.sleep(POLL_SECONDS)
        try:
            found = self._cache.get(key)
            if found is not None:
                self.stats.found += 1
                if self._repeats(task) > 1 or not self._drawn(key):
                    return found
                verdict = await self._second(task, submission, found)
            else:
                verdict = await self._make(task, submission)
            if verdict.outcome is not Outcome.INFRA_ERROR:
                with suppress(sqlite3.Error):  # such as a full disk: the verdict holds, and will be made again
                    self._cache.put(key, task, verdict)
            return verdict
        finally:
            self._cache.release(key)

    def _drawn(self, key: str) -> bool:
        return self._recheck > 0 and random.Random(f"{self._seed}/{key}").random() < self._recheck

    async def _make(self, task: Task, submission: Submission) -> Verdict:
        self.stats.verified += 1
        if (repeats := self._repeats(task)) > 1:
            return await self._majority(task, submission, repeats)
        verdict = await self._verifier.verify(task, submission)
        if not verdict.resolved or self._is_confirmed(task):
            return verdict
        self._confirmed.add(task.digest)
        verdict = await self._second(task, submission, verdict)
        if self._cache and verdict.resolved and not verdict.flaky:
            with suppress(sqlite3.Error):
                self._cache.confirm(task.digest)
        return verdict

    def _is_confirmed(self, task: Task) -> bool:
        return task.digest in self._confirmed or (self._cache is not None and self._cache.confirmed(task.digest))

    async def _second(self, task: Task, submission: Submission, first: Verdict) -> Verdict:
        """Verify again; where the two disagree a third run decides, and the verdict is flaky."""
        verdicts = [first]
        for _ in range(2):
            self.stats.again += 1
            again = await self._verifier.verify(task, submission)
            if again.outcome is Outcome.INFRA_ERROR:
                return first if len(verdicts) == 1 else again
            verdicts.append(again)
            if again.outcome is first.outcome and len(verdicts) == 2:
                return first
        return self._decided(verdicts)

    async def _majority(self, task: Task, submission: Submission, repeats: int) -> Verdict:
        """The result of most of `repeats` runs. Infra errors do not count, unless there are as many of them.

        It ends as soon as the remaining runs could change nothing, and at once for a verdict without any test.
        """
        verdicts: list[Verdict] = []
        failures = 0
        while True:
            verdict = await self._verifier.verify(task, submission)
            self.stats.again += bool(verdicts)
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
        """The verdict of the majority, marked as flaky unless all agree."""
        good = sum(verdict.resolved for verdict in verdicts)
        chosen = next(verdict for verdict in verdicts if verdict.resolved == (2 * good > len(verdicts)))
        if good in (0, len(verdicts)):
            return chosen
        self.stats.flaky += 1
        reason = chosen.reason or f"resolved in {good} of {len(verdicts)} runs"
        return replace(chosen, flaky=True, cached=False, reason=reason)


def make_verifier(setup: VerifierSetup) -> CachedVerifier:
    """A verifier of patches in sandboxes of `setup.backend`, with the verdict cache of this machine if `setup.cache`.

    If the cache cannot be used, it warns and verifies without one.
    """
    backend, limits = setup.backend, setup.limits
    if backend is None or limits is None:
        raise ValueError("patches are verified in sandboxes: give a back end and its limits")
    contents: dict[str, asyncio.Task[str]] = {}

    async def contents_for(task: Task) -> str:
        name = repr(task.origin)
        if name not in contents:
            contents[name] = asyncio.create_task(contents_of(backend, task))
        try:
            return await asyncio.shield(contents[name])
        except SandboxError:
            contents.pop(name, None)  # the next call asks again
            raise

    async def key(task: Task, submission: Submission) -> str:
        return verdict_key(
            task,
            submission.body,
            contents=await contents_for(task),
            limits=limits,
            seconds=setup.seconds(task),
            repeats=setup.repeats(task),
        )

    patches = PatchVerifier(backend, GraderByTask(), limits, seconds=setup.seconds, workers=setup.workers)
    verifier: Verifier = BaseTests(patches) if setup.test_base else patches
    cache = _open_cache(backend, setup) if setup.cache else None
    return CachedVerifier(verifier, cache, key, recheck=setup.recheck, seed=setup.seed, repeats=setup.repeats)


def _open_cache(backend: Backend, setup: VerifierSetup) -> VerdictCache | None:
    if not can_identify(backend):
        setup.events(Warned(f"verdicts are not kept: sandbox {backend.name} cannot identify what its sandboxes hold"))
        return None
    folder = cache_folder() / "verdicts"
    try:
        return VerdictCache(folder)
    except (OSError, sqlite3.Error) as error:
        setup.events(
            Warned(f"verdicts are not kept: {folder} cannot be used ({error}); check its permissions and free space")
        )
        return None
