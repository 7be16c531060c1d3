"""The feedback `check`: what the changes broke, by a linter and by parsers, and nothing that was there before.

After each turn that changed the repository, the files that the patch touches are compared with those at the base. The
linter runs on this side (`agent.feedback.linting`).
"""

from __future__ import annotations

from collections.abc import Collection

from agent.agent import AttemptScope
from agent.feedback.feedback import FeedbackSetup, Moment, Said, listed
from agent.feedback.linting import SYNTAX, Finding, NoLinter, can_check, check_linter, lint, new_findings
from agent.scaffolds import Unsuited
from agent.tools import Workspace
from envs import Command, FileProblem
from tasks.swe.patches import Change, changes
from tasks.task import Task

__all__ = ["Check"]

FILES, FILE_BYTES, SHOWN, OF_SYNTAX = 50, 1 << 20, 20, 2
SECONDS, MOST_BYTES = 60.0, 64 << 20


class Check:
    """Names the findings that are new since the base, for Python, JSON, TOML and YAML."""

    name = "check"
    instructions = ""
    extra_sandbox = False

    def __init__(self, setup: FeedbackSetup) -> None:
        if setup.argument:
            raise Unsuited(f"feedback check takes no argument; leave out :{setup.argument}")
        check_linter()
        self.texts: dict[str, str] = {}

    async def begin(self, task: Task, workspace: Workspace, scope: AttemptScope) -> _Checked:
        return _Checked()


class _Checked:
    """The check in one attempt. Files at the base are read once."""

    def __init__(self) -> None:
        self._base: dict[str, list[Finding] | None] = {}
        self._found = False  # whether anything was found the last time

    async def look(self, moment: Moment) -> Said | None:
        if not moment.changed:
            return None
        parts = [part for part in changes(moment.submission.body) if part.new and not part.binary]
        parts = [part for part in parts if part.new and can_check(part.new)][:FILES]
        try:
            now = await lint(await _files_now(moment.workspace, [part.new for part in parts if part.new]))
            await self._read_base(moment, parts)
        except NoLinter as error:  # on a file that no linter can read
            return Said(f"The check could not be made: {error}")
        told = [
            f"{part.new}:{one.line}: {'' if one.code == SYNTAX else one.code + ' '}{one.says}"
            for part in parts
            if part.new in now and (base := self._base[part.new]) is not None
            for one in _few(new_findings(base, now[part.new]))
        ]
        before, self._found = self._found, bool(told)
        if told:
            return Said(f"These are new since your changes:\n{listed(told, SHOWN)}", holds=True)
        return Said("What was found before is gone.") if before else None

    async def _read_base(self, moment: Moment, parts: Collection[Change]) -> None:
        """Find out what the linter says of files at the base; None for one that cannot be read there."""
        known = {str(part.new): part.old for part in parts if part.new not in self._base}
        paths = [old for old in known.values() if old and "\n" not in old]
        files = await _files_at_base(moment, paths) if paths else {}
        found = await lint({new: files[old] for new, old in known.items() if old in files})
        for new, old in known.items():
            self._base[new] = [] if old is None else found.get(new)


def _few(found: list[Finding]) -> list[Finding]:
    """What is wrong, without what only follows from an error of syntax."""
    return [one for one in found if one.code == SYNTAX][:OF_SYNTAX] or found


async def _files_now(workspace: Workspace, paths: list[str]) -> dict[str, bytes]:
    files = {}
    for path in paths:
        try:
            data = await workspace.sandbox.read(path)
        except FileProblem:
            continue  # a link that leads nowhere, or a folder of another repository
        if len(data) <= FILE_BYTES:
            files[path] = data
    return files


async def _files_at_base(moment: Moment, paths: list[str]) -> dict[str, bytes]:
    """The files as they were, from the repository in the sandbox."""
    commit = (moment.task.origin and moment.task.origin.commit) or "HEAD"
    asked = "".join(f"{commit}:{path}\n" for path in paths).encode("utf-8", "surrogateescape")
    command = Command(("git", "cat-file", "--batch"), stdin=asked, timeout=SECONDS, output_cap=MOST_BYTES)
    done = await moment.workspace.sandbox.run(command)
    files, rest = {}, done.output
    for path in paths:
        head, _, rest = rest.partition(b"\n")
        words = head.split()
        if len(words) < 3 or words[-2] != b"blob" or not words[-1].isdigit():
            continue  # it is not in the commit, such as a file that only the image has
        size = int(words[-1])
        if len(rest) < size:
            break
        if size <= FILE_BYTES:
            files[path] = rest[:size]
        rest = rest[size + 1 :]
    return files
