"""The cost of verifying 250 patches for one issue, 60 of them distinct, beside one run of the tests for each.

    python benchmarks/verification.py                                     an embedded issue, local sandboxes
    python benchmarks/verification.py --tasks FILE.jsonl --ids ID         an issue with an image, on Docker

*Once per patch* is the work of a harness that keeps nothing: a fresh sandbox, the patch, the tests and the grade, for
`--workers` patches at once. With --sample N only the first N are run, and their time is scaled. Half of them run before
the verifier and half after it, since a machine is not always equally busy.

*Verifier* is `tasks.swe.cached_verifier.CachedVerifier` with an empty cache, and then again with the verdicts that it
kept. Both ways must agree on the official scores.

*Overhead* is the time that one verification takes beyond the tests' own time, one at a time: the median of the runs.
Patches that do not apply run no tests and are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from envs import Backend, Limits
from envs.pool import Pool
from monkeys.runner.resources import ResourceSpec, open_resources
from tasks import Submission, Task, load_tasks
from tasks.suites import suite_of
from tasks.swe.cached_verifier import CachedVerifier
from tasks.swe.graders import GraderByTask
from tasks.swe.patch_verifier import PatchVerifier
from tasks.swe.task import SweTask, as_swe
from tasks.swe.verdict_cache import VerdictCache
from tasks.swe.verdict_key import contents_of, verdict_key

SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One way to verify: the number of test runs, and the seconds that it took."""

    what: str
    runs: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="quick")
    parser.add_argument("--ids", default="quick__tally-1", metavar="ID", help="one issue")
    parser.add_argument("--patches", type=int, default=250)
    parser.add_argument("--distinct", type=int, default=60)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--sample", type=int, help="patches that are really run once per patch (default: all)")
    parser.add_argument("--overhead", type=int, default=10, metavar="N", help="patches for the overhead (default 10)")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(measure(parser.parse_args()))


async def measure(arguments: argparse.Namespace) -> None:
    tasks = load_tasks(arguments.tasks).select([arguments.ids])
    spec = ResourceSpec(workers=arguments.workers, seconds=SECONDS)
    async with open_resources(tasks, suite_of(tasks.suite), spec) as resources:
        assert resources.pool is not None
        assert resources.limits is not None
        pool, limits = resources.pool, resources.limits
        task = as_swe(resources.tasks.tasks[0])
        patches = drawn(task, arguments.patches, arguments.distinct, random.Random(arguments.seed))
        print(f"{task.id}: {len(patches)} patches, {len(set(patches))} distinct, sandbox {pool.name}")
        sample = patches[: arguments.sample]
        half = len(sample) // 2
        before, official = await once_per_patch(pool, limits, task, sample[:half], arguments.workers)
        with tempfile.TemporaryDirectory() as folder:
            first, scores = await verify_all(pool, limits, task, patches, Path(folder), arguments.workers)
            report(first)
            report((await verify_all(pool, limits, task, patches, Path(folder), arguments.workers))[0])
        after, more = await once_per_patch(pool, limits, task, sample[half:], arguments.workers)
        official += more
        single = Cost(before.what, before.runs + after.runs, before.seconds + after.seconds)
        report(single)
        if len(sample) < len(patches):
            scale = len(patches) / len(sample)
            single = Cost(f"the same, scaled to {len(patches)}", round(single.runs * scale), single.seconds * scale)
            report(single)
        assert scores[: len(sample)] == official, "the official scores differ"
        print(f"{single.seconds / first.seconds:.1f} x as fast, {single.runs / first.runs:.1f} x fewer test runs")
        print(f"official scores agree on all {len(sample)}: {sum(official)} resolved")
        await overhead(pool, limits, task, list(dict.fromkeys(patches))[: arguments.overhead])


async def once_per_patch(
    pool: Pool, limits: Limits, task: SweTask, patches: list[bytes], workers: int
) -> tuple[Cost, list[bool]]:
    async with patch_verifier(pool.backend, limits, workers) as verifier:
        began = time.perf_counter()
        done = await asyncio.gather(*(verifier.execute(task, patch) for patch in patches))
        cost = Cost(f"once per patch, {workers} at once", verifier.runs, time.perf_counter() - began)
    return cost, [each.grade.resolved for each in done]


async def verify_all(
    pool: Pool, limits: Limits, task: SweTask, patches: list[bytes], folder: Path, workers: int
) -> tuple[Cost, list[bool | None]]:
    contents = await contents_of(pool, task)

    async def key(task: Task, submission: Submission) -> str:
        return verdict_key(task, submission.body, contents=contents, limits=limits, seconds=SECONDS)

    kept = bool(list(folder.iterdir()))
    async with patch_verifier(pool, limits, workers) as verifier:
        cached = CachedVerifier(verifier, VerdictCache(folder), key)
        try:
            began = time.perf_counter()
            verdicts = await asyncio.gather(*(cached.verify(task, Submission(patch)) for patch in patches))
            seconds = time.perf_counter() - began
        finally:
            await cached.close()
    what = "verifier again, with its cache" if kept else f"verifier, {workers} at once"
    return Cost(what, verifier.runs, seconds), [verdict.official for verdict in verdicts]


async def overhead(pool: Pool, limits: Limits, task: SweTask, patches: list[bytes]) -> None:
    for what, backend in (("each in a new sandbox", pool.backend), ("from the pool", pool)):
        took = []
        async with patch_verifier(backend, limits, 1) as verifier:
            await verifier.execute(task, b"")  # work that is done once per task
            for patch in patches:
                began = time.perf_counter()
                done = await verifier.execute(task, patch)
                if done.applied:
                    took.append((time.perf_counter() - began, done.seconds))
        beyond = statistics.median(wall - tests for wall, tests in took)
        share = statistics.median(wall / tests - 1 for wall, tests in took)
        tests = statistics.median(tests for _, tests in took)
        print(f"{what}: {len(took)} runs, tests {tests * 1000:.0f} ms, beyond them {beyond * 1000:.0f} ms, {share:.0%}")


@asynccontextmanager
async def patch_verifier(backend: Backend, limits: Limits, workers: int) -> AsyncIterator[PatchVerifier]:
    verifier = PatchVerifier(backend, GraderByTask(), limits, seconds=SECONDS, workers=workers)
    try:
        yield verifier
    finally:
        await verifier.close()


def report(cost: Cost) -> None:
    print(f"  {cost.what:<38} {cost.runs:4} test runs   {cost.seconds:8.2f} s")


def drawn(task: SweTask, count: int, distinct: int, chance: random.Random) -> list[bytes]:
    """Patches as many attempts at one issue submit them: few are right, and the short ones come again and again."""
    made = [mutated(task.patch, number) for number in range(distinct)]
    weights = [1 / (number + 1) for number in range(distinct)]
    patches = made + chance.choices(made, weights, k=count - distinct)
    chance.shuffle(patches)
    return patches


def mutated(gold: str, number: int) -> bytes:
    """A patch. Of ten, seven apply and do not help, two solve the issue, and one does not apply."""
    note = (
        f"diff --git a/note-{number}.txt b/note-{number}.txt\nnew file mode 100644\n--- /dev/null\n"
        f"+++ b/note-{number}.txt\n@@ -0,0 +1 @@\n+{number}\n"
    )
    kind = number % 10
    if kind in (4, 8):
        return (gold + note).encode()
    if kind == 9:
        return f"--- a/nowhere-{number}.py\n+++ b/nowhere-{number}.py\n@@ -1 +1 @@\n-a\n+b\n".encode()
    return note.encode()


if __name__ == "__main__":
    main()
