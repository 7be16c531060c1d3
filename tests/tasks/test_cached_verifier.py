"""One patch is verified once per machine, however often it is submitted; runs that disagree make it flaky."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from envs import Limits, Origin, SandboxLost
from envs.events import Event, Warned
from envs.local.backend import LocalBackend
from tasks import Outcome, Submission, Task, Verdict, VerifierSetup, load_tasks
from tasks.swe.cached_verifier import CachedVerifier, make_verifier
from tasks.swe.task import as_swe
from tasks.swe.verdict_cache import VerdictCache
from tasks.swe.verdict_key import verdict_key
from tests.helpers import quick_task

TASK, OTHER = map(as_swe, load_tasks("quick").tasks[:2])
GOLD = TASK.patch.encode()


class Verifier:
    """Gives the outcomes that it is told, counts calls, and waits if asked."""

    def __init__(self, *outcomes: Outcome, wait_for: asyncio.Event | None = None) -> None:
        self.outcomes, self.wait_for, self.calls, self.closed = list(outcomes), wait_for, 0, False

    async def verify(self, task: Task, submission: Submission) -> Verdict:
        self.calls += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if self.wait_for:
            await self.wait_for.wait()
        return Verdict(outcome, "" if outcome is Outcome.RESOLVED else "no", {"t": "passed"}, 1.0, b"log", True, ("f",))

    async def close(self) -> None:
        self.closed = True


async def key(task: Task, submission: Submission) -> str:
    return verdict_key(task, submission.body, contents="here", limits=Limits(), seconds=60.0)


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    found = VerdictCache(tmp_path)
    yield found
    found.close()


def play(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_a_verdict_is_found_again_by_another_verifier_and_says_so(cache: VerdictCache) -> None:
    async def work() -> None:
        first = await CachedVerifier(Verifier(Outcome.UNRESOLVED), cache, key).verify(TASK, Submission(GOLD))
        inner = Verifier(Outcome.RESOLVED)
        verifier = CachedVerifier(inner, cache, key)
        found = await verifier.verify(TASK, Submission(GOLD))
        assert inner.calls == 0
        assert not first.cached
        assert found.cached
        assert (found.outcome, found.reason, found.tests, found.log) == (first.outcome, "no", {"t": "passed"}, b"log")
        assert (found.official, found.flags) == (True, ("f",))
        assert (verifier.stats.asked, verifier.stats.found, verifier.stats.verified) == (1, 1, 0)

    play(work())


def test_equal_patches_at_once_are_verified_once() -> None:
    async def work() -> None:
        wait_for = asyncio.Event()
        inner = Verifier(Outcome.UNRESOLVED, wait_for=wait_for)
        verifier = CachedVerifier(inner, None, key)
        waiting = [asyncio.create_task(verifier.verify(TASK, Submission(GOLD))) for _ in range(20)]
        other = asyncio.create_task(verifier.verify(TASK, Submission(GOLD + b" ")))
        await asyncio.sleep(0)
        wait_for.set()
        verdicts = await asyncio.gather(*waiting, other)
        assert inner.calls == 2
        assert sum(not verdict.cached for verdict in verdicts) == 2

    play(work())


def test_when_the_one_who_verifies_is_cancelled_another_one_does() -> None:
    async def work() -> None:
        wait_for = asyncio.Event()
        verifier = CachedVerifier(Verifier(Outcome.UNRESOLVED, wait_for=wait_for), None, key)
        first = asyncio.create_task(verifier.verify(TASK, Submission(GOLD)))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(verifier.verify(TASK, Submission(GOLD)))
        await asyncio.sleep(0.01)
        first.cancel()
        wait_for.set()
        assert (await second).outcome is Outcome.UNRESOLVED
        with pytest.raises(asyncio.CancelledError):
            await first

    play(work())


def test_an_infra_error_is_never_kept(cache: VerdictCache) -> None:
    async def work() -> None:
        verifier = CachedVerifier(Verifier(Outcome.INFRA_ERROR, Outcome.UNRESOLVED), cache, key)
        assert (await verifier.verify(TASK, Submission(GOLD))).outcome is Outcome.INFRA_ERROR
        assert (await verifier.verify(TASK, Submission(GOLD))).outcome is Outcome.UNRESOLVED

    play(work())


def test_the_first_patch_that_resolves_a_task_is_verified_twice_and_only_the_first(cache: VerdictCache) -> None:
    async def work() -> None:
        inner = Verifier(Outcome.RESOLVED)
        verifier = CachedVerifier(inner, cache, key)
        assert (await verifier.verify(TASK, Submission(GOLD))).resolved
        assert inner.calls == 2
        assert (await verifier.verify(TASK, Submission(GOLD + b"\n\n"))).resolved
        assert inner.calls == 3
        assert (await CachedVerifier(inner, cache, key).verify(TASK, Submission(GOLD + b"\n\n\n"))).resolved
        assert inner.calls == 4
        assert (await verifier.verify(OTHER, Submission(GOLD))).resolved
        assert inner.calls == 6

    play(work())


@pytest.mark.parametrize(
    ("outcomes", "resolved"),
    [
        ((Outcome.RESOLVED, Outcome.UNRESOLVED, Outcome.RESOLVED), True),
        ((Outcome.RESOLVED, Outcome.UNRESOLVED, Outcome.UNRESOLVED), False),
    ],
)
def test_where_two_runs_disagree_a_third_decides_and_it_is_flaky(
    outcomes: tuple[Outcome, ...], resolved: bool, cache: VerdictCache
) -> None:
    async def work() -> None:
        verifier = CachedVerifier(Verifier(*outcomes), cache, key)
        verdict = await verifier.verify(TASK, Submission(GOLD))
        assert verdict.flaky
        assert verdict.resolved == resolved
        assert verifier.stats.flaky == 1
        again = await verifier.verify(TASK, Submission(GOLD))
        assert again.flaky
        assert again.cached

    play(work())


def test_a_share_of_what_is_found_is_verified_again(cache: VerdictCache) -> None:
    async def work() -> None:
        patches = [GOLD + b" " * n for n in range(1, 101)]
        before = CachedVerifier(Verifier(Outcome.UNRESOLVED), cache, key)
        for patch in patches:
            await before.verify(TASK, Submission(patch))
        none, some = (
            CachedVerifier(Verifier(Outcome.UNRESOLVED), cache, key, recheck=rate, seed=1) for rate in (0.0, 0.3)
        )
        for verifier in (none, some):
            for patch in patches:
                await verifier.verify(TASK, Submission(patch))
        assert none.stats.again == 0
        assert 15 <= some.stats.again <= 45
        assert some.stats.flaky == 0

    play(work())


@pytest.mark.parametrize(
    ("said", "repeats", "resolved", "runs", "flaky"),
    [
        ("++-", 3, True, 2, False),
        ("+--", 3, False, 3, True),
        ("+-+", 3, True, 3, True),
        ("--+", 3, False, 2, False),
        ("+-+-", 4, False, 4, True),
        ("!+!+", 3, True, 4, False),
        ("!!!+", 3, None, 3, False),
    ],
)
def test_where_tests_are_flaky_the_majority_of_runs_decides_and_infra_errors_do_not_count(
    said: str, repeats: int, resolved: bool | None, runs: int, flaky: bool, cache: VerdictCache
) -> None:
    kinds = {"+": Outcome.RESOLVED, "-": Outcome.UNRESOLVED, "!": Outcome.INFRA_ERROR}

    async def work() -> None:
        inner = Verifier(*(kinds[mark] for mark in said))
        verifier = CachedVerifier(inner, cache, key, repeats=lambda task: repeats)
        verdict = await verifier.verify(TASK, Submission(GOLD))
        assert (None if verdict.outcome is Outcome.INFRA_ERROR else verdict.resolved) == resolved
        assert (inner.calls, verdict.flaky) == (runs, flaky)

    play(work())


def test_a_place_that_cannot_be_told_is_an_infra_error() -> None:
    async def away(task: Task, submission: Submission) -> str:
        raise SandboxLost("the engine is away")

    async def work() -> None:
        verdict = await CachedVerifier(Verifier(Outcome.RESOLVED), None, away).verify(TASK, Submission(GOLD))
        assert (verdict.outcome, verdict.reason) == (Outcome.INFRA_ERROR, "the engine is away")

    play(work())


def test_an_entry_of_the_first_version_is_found(cache: VerdictCache, tmp_path: Path) -> None:
    body = {"outcome": "unresolved", "reason": "no", "seconds": 2.5, "official": True, "flags": ["odd"], "flaky": False}
    text = json.dumps(body | {"tests": {"t": "failed"}})

    async def work() -> None:
        row = (await key(TASK, Submission(GOLD)), TASK.id, "unresolved", text, zlib.compress(b"log"))
        with closing(sqlite3.connect(tmp_path / "verdicts.sqlite", isolation_level=None)) as db:
            db.execute("INSERT INTO verdicts (key, task, outcome, body, log) VALUES (?, ?, ?, ?, ?)", row)
        found = await CachedVerifier(Verifier(Outcome.RESOLVED), cache, key).verify(TASK, Submission(GOLD))
        assert found == Verdict(Outcome.UNRESOLVED, "no", {"t": "failed"}, 2.5, b"log", True, ("odd",), cached=True)

    play(work())


class Known(LocalBackend):
    """Local sandboxes that can be identified by their contents."""

    place = "one"

    async def identity(self, origin: Origin) -> str:
        return f"{self.place} {origin.commit}"


def verify_all(backend: LocalBackend, *patches: bytes, **how: Any) -> tuple[int, int, list[str]]:
    """How many of these patches a new verifier verifies and how many it finds, and what it warns of."""
    task, events = quick_task("tally"), list[Event]()

    async def work() -> tuple[int, int]:
        setup = VerifierSetup(backend, Limits(), **{"seconds": lambda task: 60.0, "events": events.append, **how})
        verifier = make_verifier(setup)
        try:
            for patch in patches:
                await verifier.verify(task, Submission(patch))
            return verifier.stats.verified, verifier.stats.found
        finally:
            await verifier.close()
            await verifier.close()
            await backend.close()

    verified, found = asyncio.run(work())
    return verified, found, [event.text for event in events if isinstance(event, Warned)]


def test_this_machine_remembers_by_what_a_sandbox_holds_and_how_long_it_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert verify_all(Known(), b"no patch", b"no patch") == (1, 1, [])
    assert verify_all(Known(), b"no patch") == (0, 1, [])
    assert verify_all(Known(), b"no patch", repeats=lambda task: 1) == (0, 1, [])
    assert verify_all(Known(), b"no patch", seconds=lambda task: 61.0) == (1, 0, [])
    assert verify_all(Known(), b"no patch", cache=False) == (1, 0, [])
    monkeypatch.setattr(Known, "place", "another")
    assert verify_all(Known(), b"no patch") == (1, 0, [])


def test_where_verdicts_cannot_be_kept_it_warns_and_verifies_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "coding-monkeys").mkdir()
    (tmp_path / "coding-monkeys" / "verdicts").write_text("in the way")
    verified, found, [warning] = verify_all(Known(), b"no patch", b"other")
    assert (verified, found) == (2, 0)
    assert re.fullmatch(r"verdicts are not kept: .*verdicts cannot be used \(.*\); .*", warning)


def test_a_back_end_that_cannot_identify_its_contents_has_no_verdicts_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Anonymous(LocalBackend):
        identity = None  # type: ignore[assignment]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    verified, found, [warning] = verify_all(Anonymous(), b"no patch", b"no patch")
    assert (verified, found) == (2, 0)
    assert "cannot identify what its sandboxes hold" in warning


def test_closing_closes_the_verifier_behind_it(cache: VerdictCache) -> None:
    async def work() -> None:
        inner = Verifier(Outcome.RESOLVED)
        await CachedVerifier(inner, cache, key).close()
        assert inner.closed

    play(work())


def test_a_submission_of_another_kind_is_unresolved_and_not_kept(cache: VerdictCache) -> None:
    async def work() -> None:
        inner = Verifier(Outcome.UNRESOLVED)
        verifier = CachedVerifier(inner, cache, key)
        for _ in range(2):
            await verifier.verify(TASK, Submission(b"42", "answer"))
        assert inner.calls == 2

    play(work())


WORKER = """
import asyncio, json, sys
from pathlib import Path
from tests.tasks.test_cached_verifier import *
async def main():
    cache = VerdictCache(Path(sys.argv[1]))
    calls = []
    class Slow(Verifier):
        async def verify(self, task, submission):
            calls.append(submission.body.decode())
            print("verifying", flush=True)
            await asyncio.sleep(float(sys.argv[2]))
            return await super().verify(task, submission)
    verifier = CachedVerifier(Slow(Outcome.UNRESOLVED), cache, key)
    verdicts = await asyncio.gather(*(verifier.verify(TASK, Submission(b"patch %d" % n)) for n in range(8)))
    print(json.dumps([calls, [v.outcome for v in verdicts]]), flush=True)
asyncio.run(main())
"""


def worker(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_two_processes_at_once_verify_each_patch_once_and_agree(tmp_path: Path) -> None:
    both = [worker(tmp_path, 0.2) for _ in range(2)]
    said = [json.loads(one.communicate(timeout=60)[0].splitlines()[-1]) for one in both]
    calls = [patch for calls, _ in said for patch in calls]
    assert sorted(calls) == [f"patch {n}" for n in range(8)]
    assert said[0][1] == said[1][1] == ["unresolved"] * 8


def test_what_a_killed_process_had_claimed_is_verified_by_the_next(tmp_path: Path) -> None:
    killed = worker(tmp_path, 600.0)
    assert killed.stdout is not None
    for _ in range(8):
        assert killed.stdout.readline() == "verifying\n"
    following = worker(tmp_path, 0.0)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    out, _ = following.communicate(timeout=60)
    calls, outcomes = json.loads(out.splitlines()[-1])
    assert len(calls) == 8
    assert outcomes == ["unresolved"] * 8
