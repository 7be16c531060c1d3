"""The submissions of an attempt after each of its turns (`--patch-each-turn`).

Guarantees: taking one changes nothing of the attempt, costs it none of its time, and never ends it. What is taken is
what the attempt would have handed in if it had stopped after that turn, except that its background processes live on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agent.trajectory import Trajectory
from envs import SandboxError
from tasks.task import Submission

__all__ = ["TurnSubmissions", "submission_after"]

TAKE_SECONDS = 60.0
MOST_BYTES = 64 << 20  # of all that are kept of one attempt, which is as much as one patch may have


def submission_after(trajectory: Trajectory, turns: int) -> Submission | None:
    """What an attempt would have handed in after so many of its turns; None where that is not known."""
    if not trajectory.each_turn:
        return None
    submission: Submission | None = Submission()
    for turn in trajectory.turns[:turns]:
        if turn.submission is not None:
            submission = turn.submission
        elif turn.untaken:
            submission = None
    return submission


class TurnSubmissions:
    """Takes submissions with `collect`, which gets the text of the last reply. Before any turn it is the empty one.

    No more than `most` bytes are kept, so that an attempt which writes another large file in each turn cannot fill the
    memory of the runner.
    """

    def __init__(self, collect: Callable[[str], Awaitable[Submission]], most: int = MOST_BYTES) -> None:
        self._collect, self._most, self._kept = collect, most, 0
        self._last: bytes | None = b""  # None where it is not known

    async def take(self, reply: str) -> tuple[Submission | None, str]:
        """The submission now, None where it is the same as before; and why it could not be taken, empty if it was."""
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                submission = await self._collect(reply)
        except TimeoutError:
            why = f"it could not be taken within {TAKE_SECONDS:.0f} s"
        except SandboxError as error:
            why = str(error)
        else:
            if submission.body == self._last or self._kept + len(submission.body) <= self._most:
                changed = self.changed(submission)
                self._kept += len(changed.body) if changed else 0
                return changed, ""
            why = f"the patches of turns have more than {self._most >> 20} MB together"
        self._last = None
        return None, why

    def changed(self, submission: Submission) -> Submission | None:
        """This submission, which is the present one; None where it is the same as before."""
        if submission.body == self._last:
            return None
        self._last = submission.body
        return submission
