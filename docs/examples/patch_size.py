"""Feedback of one's own: how many lines the patch adds and removes, after each turn that changed it.

With an argument, as in `--feedback size:20`, a submission of a larger patch waits until the model has read so.
"""

from __future__ import annotations

from agent.agent import AttemptScope
from agent.feedback import FeedbackSetup, Moment, Said
from agent.scaffolds import Unsuited
from agent.tools import Workspace
from tasks.task import Task


class Size:
    """Name it under `[project.entry-points."coding_monkeys.feedback"]`."""

    name = "size"
    instructions = ""
    extra_sandbox = False

    def __init__(self, setup: FeedbackSetup) -> None:
        if not setup.argument.isdecimal() and setup.argument:
            raise Unsuited(f"feedback size takes a number of lines, not {setup.argument}; use size or size:20")
        self.most = int(setup.argument) if setup.argument else None
        self.texts: dict[str, str] = {}

    async def begin(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Size:
        return self  # nothing is kept for an attempt

    async def look(self, moment: Moment) -> Said | None:
        if not moment.changed:
            return None
        lines = moment.submission.body.split(b"\n")
        added = sum(line.startswith(b"+") and not line.startswith(b"+++") for line in lines)
        removed = sum(line.startswith(b"-") and not line.startswith(b"---") for line in lines)
        large = self.most is not None and added + removed > self.most
        return Said(f"Your patch adds {added} lines and removes {removed}.", holds=large)
