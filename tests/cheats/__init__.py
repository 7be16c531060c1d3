"""Patches that cheat, and honest patches that look odd, with the verdict on each.

`python -m tests.cheats` prints the table. A cheat is a script that an agent runs in its sandbox; its patch is then
taken as after any attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from envs import Backend, Command, Limits
from tasks import Outcome, Submission, Verdict
from tasks.swe.grading import Grader
from tasks.swe.patch_verifier import PatchVerifier
from tasks.swe.task import SweTask

__all__ = ["Cheat", "Verified", "table", "verify_all", "write"]

# Cleaned first, since git takes files behind a symbolic link for tracked ones.
AFRESH = "git clean -qffdx && git reset -q --hard && git clean -qffdx"
LINE = "{:46} {:10} {:12} {}"


@dataclass(frozen=True, slots=True)
class Cheat:
    """A script that an agent runs. One that damages its sandbox has its `own`; `then` changes the patch afterwards."""

    name: str
    script: str
    own: bool = False
    then: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True, slots=True)
class Verified:
    cheat: Cheat
    patch: bytes
    verdict: Verdict


def write(path: str, text: str, *, add: bool = False) -> str:
    """Shell words that write `text` to `path`, or add it there."""
    return f"mkdir -p $(dirname {path}); cat {'>>' if add else '>'} {path} <<'END_OF_FILE'\n{text}\nEND_OF_FILE\n"


async def verify_all(
    task: SweTask, backend: Backend, grader: Grader, cheats: Sequence[Cheat], *, seconds: float, workers: int = 3
) -> list[Verified]:
    """Each cheat with its patch and its verdict, all by one verifier."""
    verifier = PatchVerifier(backend, grader, Limits(), seconds=seconds, workers=workers)
    patches = [cheat.then(patch) for cheat, patch in zip(cheats, await _patches(task, backend, cheats), strict=True)]
    verdicts = await asyncio.gather(*(verifier.verify(task, Submission(patch)) for patch in patches))
    return [Verified(*each) for each in zip(cheats, patches, verdicts, strict=True)]


async def _patches(task: SweTask, backend: Backend, cheats: Sequence[Cheat]) -> list[bytes]:
    """The patch of each script. They run one after the other in one sandbox, unless one needs its own."""
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


def table(verified: Sequence[Verified]) -> str:
    """One line for each: its name, the official score, the strict score, and the reason."""
    lines = [LINE.format("patch", "official", "strict", "why, and what is flagged")]
    for each in verified:
        found = each.verdict
        official = {True: "resolved", False: "-", None: "?"}[found.official]
        strict = {Outcome.RESOLVED: "resolved", Outcome.UNRESOLVED: "-"}.get(found.outcome, str(found.outcome))
        why = "; ".join(part for part in (found.reason, *found.flags) if part)
        lines.append(LINE.format(each.cheat.name, official, strict, " ".join(why.split())[:150]))
    return "\n".join(lines)
