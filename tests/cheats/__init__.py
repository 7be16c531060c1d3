"""Patches that would rather win than solve, and honest ones that look odd, with what the verifier says of each.

`python -m tests.cheats` prints the table. A cheat is what an agent does: a script that is
run in its sandbox, whose patch is then taken as after any attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from envs import Backend, Command, Limits
from tasks import Outcome, Task, Verdict
from tasks.swe.grading import Grader
from tasks.swe.verify import PatchVerifier

__all__ = ["Cheat", "Judged", "judge", "table", "write"]

# Cleaned first: git takes files behind a symbolic link for those that it knows.
AFRESH = "git clean -qffdx && git reset -q --hard && git clean -qffdx"
LINE = "{:46} {:10} {:12} {}"


@dataclass(frozen=True, slots=True)
class Cheat:
    """What an agent runs. One that harms its sandbox has its `own`; `then` is done to the patch by hand."""

    name: str
    script: str
    own: bool = False
    then: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True, slots=True)
class Judged:
    cheat: Cheat
    patch: bytes
    verdict: Verdict


def write(path: str, text: str, *, add: bool = False) -> str:
    """Shell words that write `text` to `path`, or add it there."""
    return f"mkdir -p $(dirname {path}); cat {'>>' if add else '>'} {path} <<'END_OF_FILE'\n{text}\nEND_OF_FILE\n"


async def judge(
    task: Task, backend: Backend, grader: Grader, cheats: Sequence[Cheat], *, seconds: float, workers: int = 3
) -> list[Judged]:
    """Each cheat's patch with its verdict, all by one verifier."""
    verifier = PatchVerifier(backend, grader, Limits(), seconds=seconds, workers=workers)
    patches = [cheat.then(patch) for cheat, patch in zip(cheats, await _patches(task, backend, cheats), strict=True)]
    verdicts = await asyncio.gather(*(verifier.verify(task, patch) for patch in patches))
    return [Judged(*each) for each in zip(cheats, patches, verdicts, strict=True)]


async def _patches(task: Task, backend: Backend, cheats: Sequence[Cheat]) -> list[bytes]:
    """What each script leaves, in one sandbox one after the other unless it must have its own."""
    shared = await backend.open(task.origin, Limits(), label="cheats")
    patches = []
    try:
        for cheat in cheats:
            sandbox = await backend.open(task.origin, Limits(), label="cheat") if cheat.own else shared
            done = await sandbox.run(Command(("bash", "-ec", cheat.script), timeout=60.0))
            assert done.returncode == 0, (cheat.name, done.output)
            patches.append(await sandbox.diff())
            if cheat.own:
                await sandbox.close()
            else:
                cleaned = await shared.run(Command(AFRESH))
                assert cleaned.returncode == 0, cleaned.output
    finally:
        await shared.close()
    return patches


def table(judged: Sequence[Judged]) -> str:
    """One line for each: its name, the official score, the strict one, and why."""
    lines = [LINE.format("patch", "official", "strict", "why, and what is flagged")]
    for each in judged:
        found = each.verdict
        official = {True: "resolved", False: "-", None: "?"}[found.official]
        strict = {Outcome.RESOLVED: "resolved", Outcome.UNRESOLVED: "-"}.get(found.outcome, str(found.outcome))
        why = "; ".join(part for part in (found.reason, *found.flags) if part)
        lines.append(LINE.format(each.cheat.name, official, strict, " ".join(why.split())[:150]))
    return "\n".join(lines)
