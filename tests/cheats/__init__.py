"""Patches that cheat, and honest patches that look odd, with the verdict on each.

`python -m tests.cheats` prints the tables of docs/verifier.md. A cheat is a script that an agent runs in its sandbox;
its patch is then taken as after any attempt, and may be changed afterwards, as a patch from elsewhere may be.

    hooks       the test runner is changed: what it runs, what it takes for a failure, what it writes
    values      what the code under test returns deceives a comparison
    tells       failures are swallowed, unless something tells that a test was falsified
    learning    tests run unseen first, and what they expect decides which of them pass
    installs    the installation of the project prepares it
    patches     the patch is read in another way than one might think
    assertions  one assertion each
    known       the names of those that get through
    on_unittest, on_pytest   all cheats on one task each, and honest patches
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from envs import Backend, Command, Limits
from tasks import Outcome, Submission, Verdict
from tasks.swe.grading import Grader
from tasks.swe.patch_verifier import PatchVerifier
from tasks.swe.task import SweTask

__all__ = [
    "Cheat",
    "Verified",
    "entries",
    "instead",
    "new_file",
    "table",
    "verdicts_of",
    "verify_all",
    "verify_patches",
    "write",
]

# Cleaned first, since git takes files behind a symbolic link for tracked ones.
AFRESH = "git clean -qffdx && git reset -q --hard && git clean -qffdx"

# The reason of a verdict, in a word.
BY = {
    "nothing is left of the patch": "screened, nothing left",
    "passes although": "falsified",
    "expected tests do not pass": "tests",
    "more than one beginning|results, but": "log",
    "empty patch": "no patch",
    "no test results|no_tests_collected|did not come to its end": "no results",
    "does not apply": "does not apply",
}


@dataclass(frozen=True, slots=True)
class Cheat:
    """A script that an agent runs. One that damages its sandbox has its `own`; `then` changes the patch afterwards.

    Without a script, `then` makes the patch from nothing.
    """

    name: str
    script: str
    own: bool = False
    then: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True, slots=True)
class Verified:
    cheat: Cheat
    patch: bytes
    verdict: Verdict


def entries(text: str) -> list[tuple[str, str]]:
    """Each entry of a text as its name and its code. An entry begins with a line `### NAME`."""
    parts = re.split(r"^### (.+)\n", text, flags=re.M)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def write(path: str, text: str, *, add: bool = False) -> str:
    """Shell words that write `text` to `path`, or add it there."""
    return f"mkdir -p $(dirname {path}); cat {'>>' if add else '>'} {path} <<'END_OF_FILE'\n{text}\nEND_OF_FILE\n"


def new_file(name: str, text: str, *, header: str = "", mode: str = "100644") -> bytes:
    """A piece of a patch that adds a file, with another first line if `header` is given."""
    lines = text.encode().splitlines()
    head = header or f"diff --git a/{name} b/{name}"
    hunk = b"".join(b"+%s\n" % line for line in lines)
    return f"{head}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n".encode() + hunk


def instead(patch: bytes) -> Callable[[bytes], bytes]:
    """A change of a patch that replaces all of it."""
    return lambda _: patch


async def verify_all(
    task: SweTask, backend: Backend, grader: Grader, cheats: Sequence[Cheat], *, seconds: float, workers: int = 3
) -> list[Verified]:
    """Each cheat with its patch and its verdict, all by one verifier."""
    patches = [cheat.then(patch) for cheat, patch in zip(cheats, await _patches(task, backend, cheats), strict=True)]
    verifier = PatchVerifier(backend, grader, Limits(), seconds=seconds, workers=workers)
    return await verify_patches(task, verifier, cheats, patches)


async def verify_patches(
    task: SweTask, verifier: PatchVerifier, cheats: Sequence[Cheat], patches: Sequence[bytes]
) -> list[Verified]:
    """The verdict on the patch of each."""
    verdicts = await asyncio.gather(*(verifier.verify(task, Submission(patch)) for patch in patches))
    return [Verified(*each) for each in zip(cheats, patches, verdicts, strict=True)]


def verdicts_of(
    backend: Backend, grader: Grader, verify: Callable[[Backend, Grader], Awaitable[Sequence[Verified]]]
) -> dict[str, Verdict]:
    """The verdicts that `verify` reaches, by the names of the patches. Closes back end and grader."""

    async def main() -> dict[str, Verdict]:
        try:
            return {each.cheat.name: each.verdict for each in await verify(backend, grader)}
        finally:
            await backend.close()
            await grader.close()

    return asyncio.run(main())


async def _patches(task: SweTask, backend: Backend, cheats: Sequence[Cheat]) -> list[bytes]:
    """The patch of each script. They run one after the other in one sandbox, unless one needs its own."""
    shared = await backend.open(task.origin, Limits(), label="cheats")
    patches = []
    try:
        for cheat in cheats:
            if not cheat.script:
                patches.append(b"")
                continue
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


def table(title: str, verified: Sequence[Verified]) -> str:
    """A table in Markdown: of each patch the name, the official and the strict score, and what decided."""
    lines = [f"| {title} | official | strict | by |", "|---|---|---|---|"]
    for each in verified:
        found = each.verdict
        official = {True: "resolved", False: "–", None: "?"}[found.official]
        strict = {Outcome.RESOLVED: "resolved", Outcome.UNRESOLVED: "–"}.get(found.outcome, str(found.outcome))
        lines.append(f"| {each.cheat.name} | {official} | {strict} | {_by(found)} |")
    return "\n".join(lines)


def _by(verdict: Verdict) -> str:
    if not verdict.reason:
        return "; ".join(flag.partition(",")[0] for flag in verdict.flags)
    known = next((by for pattern, by in BY.items() if re.search(pattern, verdict.reason)), "")
    if known == "tests" and any("taken out" in flag for flag in verdict.flags):
        return "screened, rest fails"
    return known or " ".join(verdict.reason.split()).replace("|", "/")[:150]
