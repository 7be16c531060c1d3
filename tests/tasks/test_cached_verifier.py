"""One patch is verified once per machine, however often it is brought, and what two runs disagree on is told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from envs import Limits, Origin, SandboxLost
from envs.local.backend import LocalBackend
from tasks import Outcome, Task, Verdict, load_tasks
from tasks.swe.cached_verifier import CachedVerifier, VerdictCache, make_verifier, normalised, verdict_key
from tasks.swe.grading import UnittestGrader
from tests.helpers import quick_task

TASK = load_tasks("quick").tasks[0]
OTHER = load_tasks("quick").tasks[1]
GOLD = TASK.patch.encode()


class Verifier:
    """Says what it is told to, counts, and takes its time if asked."""

    def __init__(self, *outcomes: Outcome, gate: asyncio.Event | None = None) -> None:
        self.outcomes, self.gate, self.calls = list(outcomes), gate, 0

    async def verify(self, task: Task, patch: bytes) -> Verdict:
        self.calls += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if self.gate:
            await self.gate.wait()
        return Verdict(outcome, "" if outcome is Outcome.RESOLVED else "no", {"t": "passed"}, 1.0, b"log", True, ("f",))


async def key(task: Task, patch: bytes) -> str:
    return verdict_key(task, patch, place="here", limits=Limits(), seconds=60.0)


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    found = VerdictCache(tmp_path)
    yield found
    found.close()


def play(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_a_verdict_is_found_again_by_another_judge_and_says_so(cache: VerdictCache) -> None:
    async def work() -> None:
        first = await CachedVerifier(Verifier(Outcome.UNRESOLVED), cache, key).verify(TASK, GOLD)
        verifier = Verifier(Outcome.RESOLVED)
        judge = CachedVerifier(verifier, cache, key)
        found = await judge.verify(TASK, GOLD)
        assert verifier.calls == 0
        assert not first.cached
        assert found.cached
        assert (found.outcome, found.reason, found.tests, found.log) == (first.outcome, "no", {"t": "passed"}, b"log")
        assert (found.official, found.flags) == (True, ("f",))
        assert (judge.judged.asked, judge.judged.found, judge.judged.verified) == (1, 1, 0)

    play(work())


def test_equal_patches_at_once_are_verified_once() -> None:
    async def work() -> None:
        gate = asyncio.Event()
        verifier = Verifier(Outcome.UNRESOLVED, gate=gate)
        judge = CachedVerifier(verifier, None, key)
        waiting = [asyncio.create_task(judge.verify(TASK, GOLD)) for _ in range(20)]
        other = asyncio.create_task(judge.verify(TASK, GOLD + b" "))
        await asyncio.sleep(0)
        gate.set()
        verdicts = await asyncio.gather(*waiting, other)
        assert verifier.calls == 2
        assert sum(not verdict.cached for verdict in verdicts) == 2

    play(work())


def test_when_the_one_who_verifies_is_cancelled_another_one_does() -> None:
    async def work() -> None:
        gate = asyncio.Event()
        judge = CachedVerifier(Verifier(Outcome.UNRESOLVED, gate=gate), None, key)
        first = asyncio.create_task(judge.verify(TASK, GOLD))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(judge.verify(TASK, GOLD))
        await asyncio.sleep(0.01)
        first.cancel()
        gate.set()
        assert (await second).outcome is Outcome.UNRESOLVED
        with pytest.raises(asyncio.CancelledError):
            await first

    play(work())


def test_an_infra_error_is_never_kept(cache: VerdictCache) -> None:
    async def work() -> None:
        judge = CachedVerifier(Verifier(Outcome.INFRA_ERROR, Outcome.UNRESOLVED), cache, key)
        assert (await judge.verify(TASK, GOLD)).outcome is Outcome.INFRA_ERROR
        assert (await judge.verify(TASK, GOLD)).outcome is Outcome.UNRESOLVED

    play(work())


def test_the_first_patch_that_resolves_a_task_is_verified_twice_and_only_the_first(cache: VerdictCache) -> None:
    async def work() -> None:
        verifier = Verifier(Outcome.RESOLVED)
        judge = CachedVerifier(verifier, cache, key)
        assert (await judge.verify(TASK, GOLD)).resolved
        assert verifier.calls == 2
        assert (await judge.verify(TASK, GOLD + b"\n\n")).resolved
        assert verifier.calls == 3
        assert (await CachedVerifier(verifier, cache, key).verify(TASK, GOLD + b"\n\n\n")).resolved
        assert verifier.calls == 4
        assert (await judge.verify(OTHER, GOLD)).resolved
        assert verifier.calls == 6

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
        judge = CachedVerifier(Verifier(*outcomes), cache, key)
        verdict = await judge.verify(TASK, GOLD)
        assert verdict.flaky
        assert verdict.resolved == resolved
        assert judge.judged.flaky == 1
        again = await judge.verify(TASK, GOLD)
        assert again.flaky
        assert again.cached

    play(work())


def test_a_share_of_what_is_found_is_verified_again(cache: VerdictCache) -> None:
    async def work() -> None:
        patches = [GOLD + b" " * n for n in range(1, 101)]
        before = CachedVerifier(Verifier(Outcome.UNRESOLVED), cache, key)
        for patch in patches:
            await before.verify(TASK, patch)
        none, some = (
            CachedVerifier(Verifier(Outcome.UNRESOLVED), cache, key, recheck=rate, seed=1) for rate in (0.0, 0.3)
        )
        for judge in (none, some):
            for patch in patches:
                await judge.verify(TASK, patch)
        assert none.judged.again == 0
        assert 15 <= some.judged.again <= 45
        assert some.judged.flaky == 0

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
        verifier = Verifier(*(kinds[mark] for mark in said))
        judge = CachedVerifier(verifier, cache, key, repeats=lambda task: repeats)
        verdict = await judge.verify(TASK, GOLD)
        assert (None if verdict.outcome is Outcome.INFRA_ERROR else verdict.resolved) == resolved
        assert (verifier.calls, verdict.flaky) == (runs, flaky)

    play(work())


def test_a_place_that_cannot_be_told_is_an_infra_error() -> None:
    async def away(task: Task, patch: bytes) -> str:
        raise SandboxLost("the engine is away")

    async def work() -> None:
        verdict = await CachedVerifier(Verifier(Outcome.RESOLVED), None, away).verify(TASK, GOLD)
        assert (verdict.outcome, verdict.reason) == (Outcome.INFRA_ERROR, "the engine is away")

    play(work())


class Known(LocalBackend):
    """Local sandboxes that say what they hold."""

    place = "one"

    async def identity(self, origin: Origin) -> str:
        return f"{self.place} {origin.commit}"


def judged(backend: LocalBackend, *patches: bytes, **how: Any) -> tuple[int, int, list[str]]:
    """How many of these patches a new judge verifies and finds, and what it warns of."""
    task, warnings = quick_task("tally"), list[str]()

    async def work() -> tuple[int, int]:
        judge = make_verifier(
            backend, UnittestGrader(), Limits(), **{"seconds": 60.0, "workers": 2, "warn": warnings.append, **how}
        )
        try:
            for patch in patches:
                await judge.verify(task, patch)
            return judge.judged.verified, judge.judged.found
        finally:
            judge.close()
            await backend.close()

    verified, found = asyncio.run(work())
    return verified, found, warnings


def test_this_machine_remembers_by_what_a_sandbox_holds_and_how_long_it_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert judged(Known(), b"no patch", b"no patch") == (1, 1, [])
    assert judged(Known(), b"no patch") == (0, 1, [])
    assert judged(Known(), b"no patch", seconds=lambda task: 60.0) == (0, 1, [])
    assert judged(Known(), b"no patch", seconds=61.0) == (1, 0, [])
    assert judged(Known(), b"no patch", remember=False) == (1, 0, [])
    monkeypatch.setattr(Known, "place", "another")
    assert judged(Known(), b"no patch") == (1, 0, [])


def test_where_verdicts_cannot_be_kept_it_is_said_and_judged_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "coding-monkeys").mkdir()
    (tmp_path / "coding-monkeys" / "verdicts").write_text("in the way")
    verified, found, [warning] = judged(Known(), b"no patch", b"other")
    assert (verified, found) == (2, 0)
    assert re.fullmatch(r"verdicts are not kept: .*verdicts cannot be used \(.*\); .*", warning)


def test_the_key_holds_all_that_decides_and_nothing_else() -> None:
    def made(**changed: Any) -> str:
        what = {"task": TASK, "patch": GOLD, "place": "here", "limits": Limits(), "seconds": 60.0, **changed}
        return verdict_key(what.pop("task"), what.pop("patch"), **what)

    assert made() == made()
    keys = [
        made(),
        made(task=OTHER),
        made(patch=GOLD + b"\n"),
        made(place="there"),
        made(limits=Limits(memory_mb=1)),
        made(seconds=1.0),
        made(repeats=3),
    ]
    assert len(set(keys)) == len(keys)
    assert made(patch=GOLD.replace(b"index ", b"index 0")) == made()
    assert made(limits=Limits(lifetime_seconds=1.0)) == made()
    assert normalised(b"no patch\nindex 00..11") == b"no patch\nindex 00..11"


WORKER = """
import asyncio, json, sys
from pathlib import Path
from tests.tasks.test_cached_verifier import *
async def main():
    cache = VerdictCache(Path(sys.argv[1]))
    calls = []
    class Slow(Verifier):
        async def verify(self, task, patch):
            calls.append(patch.decode())
            print("verifying", flush=True)
            await asyncio.sleep(float(sys.argv[2]))
            return await super().verify(task, patch)
    judge = CachedVerifier(Slow(Outcome.UNRESOLVED), cache, key)
    verdicts = await asyncio.gather(*(judge.verify(TASK, b"patch %d" % n) for n in range(8)))
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
