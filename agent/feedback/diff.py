"""The feedback `diff`: the patch so far, shortened, after each turn that changed it."""

from __future__ import annotations

from collections.abc import Iterator

from agent.agent import AttemptScope
from agent.feedback.feedback import FeedbackSetup, Moment, Said, first_lines
from agent.scaffolds import Unsuited
from agent.tools import Workspace
from tasks.swe.patches import changes
from tasks.task import Task

__all__ = ["Diff"]

FILE_LINES, FILES, LINE_CHARACTERS = (40, 20), 12, 300


class Diff:
    """Shows what `git diff` would show of all changes, at most 60 lines a file and 12 files."""

    name = "diff"
    instructions = ""
    extra_sandbox = False

    def __init__(self, setup: FeedbackSetup) -> None:
        if setup.argument:
            raise Unsuited(f"feedback diff takes no argument; leave out :{setup.argument}")
        self.texts: dict[str, str] = {}

    async def begin(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Diff:
        return self

    async def look(self, moment: Moment) -> Said | None:
        if not moment.changed:
            return None
        if not moment.submission.body.strip():
            return Said("Nothing is changed any more: the repository is as it was at the beginning.")
        return Said("Your changes so far:\n" + "\n".join(_shown(moment.submission.body)))


def _shown(patch: bytes) -> Iterator[str]:
    parts = changes(patch)
    for part in parts[:FILES]:
        if part.binary:
            yield f"{' -> '.join(part.names)}: a binary file"
        else:
            text = part.text.decode("utf-8", "replace")
            yield "\n".join(_cut(line) for line in first_lines(text, *FILE_LINES).split("\n"))
    if len(parts) > FILES:
        yield f"[... and {len(parts) - FILES} more files ...]"
    if not parts:  # of a suite whose submissions are no patches
        yield first_lines(patch.decode("utf-8", "replace"), *FILE_LINES)


def _cut(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS else f"{line[:LINE_CHARACTERS]} [...]"
