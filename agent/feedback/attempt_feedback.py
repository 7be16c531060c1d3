"""All feedback of one attempt: asks each kind after a turn, and makes messages of what they say.

Guarantees: without kinds nothing is done and nothing is asked of the sandbox. The patch is taken once a turn, for all
kinds together. A submission is held back only so that the model reads what it has not read yet: never twice by the same
words about the same patch, and at most `MOST_HELD` times in all. What a kind says stands in the conversation as a
message of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from agent.agent import AttemptScope
from agent.conversation import feedback_message
from agent.feedback.feedback import Ask, Feedback, Moment, Said, Watch
from agent.tools import Workspace
from agent.trajectory import EXCHANGE, Message
from envs import SandboxError, SandboxLost
from tasks.task import Submission, Task

__all__ = ["HELD_BACK", "MOST_HELD", "AttemptFeedback"]

HELD_BACK = "[not submitted yet: read the feedback, then go on or submit again]"
MOST_HELD = 5


class AttemptFeedback:
    """The kinds of feedback in one attempt. `collect` takes what the attempt would hand in now."""

    def __init__(
        self,
        kinds: Sequence[Feedback],
        task: Task,
        workspace: Workspace,
        collect: Callable[[], Awaitable[Submission]],
        ask: Ask,
    ) -> None:
        self._kinds, self._task, self._workspace, self._collect, self._ask = kinds, task, workspace, collect, ask
        self._watches: list[tuple[str, Watch]] = []
        self._last = b""
        self._told: set[tuple[bytes, str, str]] = set()  # patch, kind and text of what held a submission back
        self._held = 0

    def instructed(self, opening: Sequence[Message]) -> list[Message]:
        """The opening with what the model is told about the feedback, at the end of its last message."""
        told = [kind.instructions for kind in self._kinds if kind.instructions]
        if not told or not opening:
            return list(opening)
        *before, last = opening
        return [*before, {**last, "content": "\n\n".join([last["content"], *told])}]

    async def begin(self, scope: AttemptScope) -> None:
        """Begin, in a sandbox in which nothing was done yet. Raises `SandboxLost` and `Unsuited`."""
        self._watches = [(kind.name, await kind.begin(self._task, self._workspace, scope)) for kind in self._kinds]

    async def after_turn(self, *, acted: bool, submitting: bool) -> tuple[list[Message], bool]:
        """The messages of feedback after a turn, and whether its submission is held back.

        `acted` says whether any action of the turn was carried out. Raises `SandboxLost` and a `ModelError`.
        """
        if not self._watches or not (acted or submitting):
            return [], False
        try:
            submission = await self._collect()
        except SandboxLost:
            raise
        except SandboxError as error:  # the attempt's own doing
            text = f"There is no feedback, for no patch can be taken of the repository as it stands: {error}"
            return [feedback_message(self._watches[0][0], text)], False
        changed, self._last = submission.body != self._last, submission.body
        if not (changed or submitting):
            return [], False
        moment = Moment(self._task, self._workspace, submission, changed, submitting, self._ask)
        said = [(kind, one) for kind, watch in self._watches if (one := await watch.look(moment))]
        held = submitting and self._holds(submission.body, said)
        return [_message(kind, one) for kind, one in said], held

    def _holds(self, patch: bytes, said: Sequence[tuple[str, Said]]) -> bool:
        """Whether something is said that the model has to read before it submits this patch."""
        new = {(patch, kind, one.text) for kind, one in said if one.holds} - self._told
        self._told |= new
        held = bool(new) and self._held < MOST_HELD
        self._held += held
        return held


def _message(kind: str, said: Said) -> Message:
    message = feedback_message(kind, said.text)
    return {**message, EXCHANGE: said.exchange.record()} if said.exchange else message
