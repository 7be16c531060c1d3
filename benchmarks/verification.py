"""250 patches for one issue, 60 of them distinct: what verifying them costs, beside one run of the tests for each.

    python benchmarks/verification.py                                     an embedded issue, local sandboxes
    python benchmarks/verification.py --tasks FILE.jsonl --ids ID         an issue with an image, on Docker

*Once per patch* is what a harness does that keeps nothing: a fresh sandbox, the patch, the
tests, the grade, as many at once as the judge has workers; with --sample N only the first N
are run, and their time is scaled; half of it before and half after the judge, for a machine
is not always as busy. *CachedVerifier* is `tasks.swe.cached_verifier.CachedVerifier` over the strict verifier, with an
empty cache, then once more with what it remembers. The two must agree on the official score.
*Overhead* is what a sandbox in which tests run takes beyond the tests' own time, one at a
time: the median of the runs. Patches that do not apply run no tests and are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from monkeys.runner.resources import ResourceSpec, RunResources, open_resources
from tasks import Task, load_tasks
from tasks.swe.cached_verifier import CachedVerifier, VerdictCache, place_of, verdict_key
from tasks.swe.verify import PatchVerifier


@dataclass(frozen=True, slots=True)
class Cost:
    """What was done, how often tests were run for it, in how many seconds."""

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
    async with open_resources(tasks, ResourceSpec(workers=arguments.workers), seconds=1800.0) as court:
        task = court.tasks.tasks[0]
        patches = drawn(task, arguments.patches, arguments.distinct, random.Random(arguments.seed))
        print(f"{task.id}: {len(patches)} patches, {len(set(patches))} distinct, sandbox {court.pool.name}")
        sample = patches[: arguments.sample]
        half = len(sample) // 2
        before, official = await once_per_patch(court, task, sample[:half], arguments.workers)
        with tempfile.TemporaryDirectory() as folder:
            first, judged = await judge(court, task, patches, Path(folder), arguments.workers)
            report(first)
            report((await judge(court, task, patches, Path(folder), arguments.workers))[0])
        after, more = await once_per_patch(court, task, sample[half:], arguments.workers)
        official += more
        single = Cost(before.what, before.runs + after.runs, before.seconds + after.seconds)
        report(single)
        if len(sample) < len(patches):
            scale = len(patches) / len(sample)
            single = Cost(f"the same, scaled to {len(patches)}", round(single.runs * scale), single.seconds * scale)
            report(single)
        assert judged[: len(sample)] == official, "the official scores differ"
        print(f"{single.seconds / first.seconds:.1f} x as fast, {single.runs / first.runs:.1f} x fewer test runs")
        print(f"official scores agree on all {len(sample)}: {sum(official)} resolved")
        await overhead(court, task, list(dict.fromkeys(patches))[: arguments.overhead])


async def once_per_patch(
    court: RunResources, task: Task, patches: list[bytes], workers: int
) -> tuple[Cost, list[bool]]:
    verifier = PatchVerifier(court.pool.backend, court.grader, court.limits, seconds=1800.0, workers=workers)
    began = time.perf_counter()
    done = await asyncio.gather(*(verifier.execute(task, patch) for patch in patches))
    cost = Cost(f"once per patch, {workers} at once", verifier.runs, time.perf_counter() - began)
    return cost, [each.grade.resolved for each in done]


async def judge(
    court: RunResources, task: Task, patches: list[bytes], folder: Path, workers: int
) -> tuple[Cost, list[bool | None]]:
    verifier = PatchVerifier(court.pool, court.grader, court.limits, seconds=1800.0, workers=workers)
    place = await place_of(court.pool, task)

    async def key(task: Task, patch: bytes) -> str:
        return verdict_key(task, patch, place=place, limits=court.limits, seconds=1800.0)

    remembered = bool(list(folder.iterdir()))
    judging = CachedVerifier(verifier, VerdictCache(folder), key)
    try:
        began = time.perf_counter()
        verdicts = await asyncio.gather(*(judging.verify(task, patch) for patch in patches))
        seconds = time.perf_counter() - began
    finally:
        judging.close()
    what = "judge again, remembering" if remembered else f"judge, {workers} at once"
    return Cost(what, verifier.runs, seconds), [verdict.official for verdict in verdicts]


async def overhead(court: RunResources, task: Task, patches: list[bytes]) -> None:
    for what, rooms in (("each in a new sandbox", court.pool.backend), ("from the pool", court.pool)):
        verifier = PatchVerifier(rooms, court.grader, court.limits, seconds=1800.0, workers=1)
        await verifier.execute(task, b"")  # what is done once
        took = []
        for patch in patches:
            began = time.perf_counter()
            done = await verifier.execute(task, patch)
            if done.applied:
                took.append((time.perf_counter() - began, done.seconds))
        beyond = statistics.median(wall - tests for wall, tests in took)
        share = statistics.median(wall / tests - 1 for wall, tests in took)
        tests = statistics.median(tests for _, tests in took)
        print(f"{what}: {len(took)} runs, tests {tests * 1000:.0f} ms, beyond them {beyond * 1000:.0f} ms, {share:.0%}")


def report(cost: Cost) -> None:
    print(f"  {cost.what:<38} {cost.runs:4} test runs   {cost.seconds:8.2f} s")


def drawn(task: Task, count: int, distinct: int, chance: random.Random) -> list[bytes]:
    """Patches as many attempts at one issue give: few are right, the short ones come again and again."""
    made = [mutated(task.patch, number) for number in range(distinct)]
    weights = [1 / (number + 1) for number in range(distinct)]
    patches = made + chance.choices(made, weights, k=count - distinct)
    chance.shuffle(patches)
    return patches


def mutated(gold: str, number: int) -> bytes:
    """Of ten patches seven apply and do not help, two solve the issue, one does not apply."""
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
