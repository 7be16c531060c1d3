"""The suite `swe`: issues in repositories, solved by a patch and verified by hidden tests.

It reads the embedded sets `quick` and `quick-easy`, SWE-bench's sets on the hub by their short or full names, and files
of rows in SWE-bench's format. A patch is taken from the sandbox; without one, from a diff that the model writes in its
reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from envs import Patch, Sandbox
from tasks.quick import SETS, instances
from tasks.quick.repositories import with_repositories
from tasks.row_files import first_row, is_path, rows_of_file, stem_of, task_set
from tasks.suite import VerifierSetup
from tasks.swe.cached_verifier import CachedVerifier, make_verifier
from tasks.swe.graders import needs_harness
from tasks.swe.harness import check_installed
from tasks.swe.hub import HUB_SETS, named_on_hub, rows_of_hub
from tasks.swe.patch_verifier import KIND
from tasks.swe.rows import task_of_row
from tasks.swe.schemas import is_foreign
from tasks.swe.task import as_swe
from tasks.swe.verdict_key import normalised
from tasks.task import LEFT_OUT, Submission, Task, TaskError, TaskSet

__all__ = ["SweSuite", "diff_in"]

# The line that opens a block, which may be an item of a list.
OPENING = re.compile(r"([ \t]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?)(`{3,}|~{3,})[ \t]*(?:diff|patch)\b[^\n]*\n")
DIFF = re.compile(r"diff --git |--- [^\n]*\n\+\+\+ ")


class SweSuite:
    """Issues whose submissions are patches."""

    name = "swe"
    kind = KIND
    needs_sandbox = True
    sources = (
        f"{', '.join((*SETS, *HUB_SETS))}, a hub name like owner/name or owner/name:split, or a .jsonl, .json or "
        ".parquet file of SWE-bench instances (with instance_id)"
    )

    def reads(self, source: str) -> bool:
        if source in SETS or source in HUB_SETS:
            return True
        if is_path(source):
            row = first_row(source)
            return "instance_id" in row or is_foreign(row)
        return named_on_hub(source) is not None

    def load(self, source: str) -> TaskSet:
        path = Path(source)
        rows: Iterable[tuple[str, Any]]
        if source in SETS:
            name, rows = source, ((source, row) for row in instances(source))
        elif is_path(source) and source not in HUB_SETS:
            name, rows = stem_of(path), rows_of_file(path)
        elif named := named_on_hub(source):
            name, rows = source, rows_of_hub(*named)
        else:
            raise TaskError(f"no task set {source!r} in suite {self.name}, which reads {self.sources}")
        return task_set(name, self.name, ((where, task_of_row(where, row)) for where, row in rows))

    def prepare(self, tasks: TaskSet) -> TaskSet:
        if any(needs_harness(as_swe(task)) for task in tasks.tasks):
            check_installed()
        return with_repositories(tasks)

    def shown(self, task: Task) -> str:
        return task.statement

    async def collect(self, task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
        if sandbox is None:
            return Submission(diff_in(reply).encode("utf-8", "replace"), KIND)
        patch = await sandbox.diff()
        left_out = patch.left_out if isinstance(patch, Patch) else ()
        return Submission(bytes(patch), KIND, f"{LEFT_OUT}: {', '.join(left_out)}" if left_out else "")

    def known(self, task: Task) -> Submission | None:
        patch = as_swe(task).patch
        return Submission(patch.encode(), KIND) if patch.strip() else None

    def canonical(self, task: Task, submission: Submission) -> bytes:
        return normalised(submission.body)

    def verifier(self, setup: VerifierSetup) -> CachedVerifier:
        return make_verifier(setup)


def diff_in(reply: str) -> str:
    """The diff that a reply holds: all of it if it is a diff, else its last block fenced as diff or patch; or ""."""
    text = reply.lstrip()
    if not DIFF.match(text):
        blocks = _blocks(reply)
        text = blocks[-1] if blocks else ""
    return text if not text or text.endswith("\n") else f"{text}\n"


def _blocks(reply: str) -> list[str]:
    """The blocks fenced as diff or patch, without their indentation; also one that the end of the reply cuts off."""
    blocks = []
    lines = iter(re.findall(r"[^\n]*\n|[^\n]+", reply))
    for line in lines:
        if opening := OPENING.match(line):
            indent, fence = re.sub(r"\S", " ", opening[1]), opening[2]
            block = []
            for inner in lines:
                if inner.removeprefix(indent).startswith(fence):
                    break
                block.append(inner.removeprefix(indent))
            blocks.append("".join(block))
    return blocks
