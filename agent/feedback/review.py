"""The feedback `review`: a model reads the issue and the patch before a submission is accepted.

It is the model of `--review-model`, or else the attempt's own in a conversation of its own. Its tokens are charged to
the attempt. A submission waits where the review does not accept it, and each patch is reviewed once.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from agent.actions.sanitize import spoken
from agent.agent import AttemptScope
from agent.feedback.feedback import FeedbackSetup, Moment, Said
from agent.models.model import ContextExceeded, Rejected
from agent.scaffolds import Unsuited
from agent.tools import Workspace
from tasks.task import Task

__all__ = ["PURPOSE", "Review"]

PURPOSE = "review"
PATCH_CHARACTERS, STATEMENT_CHARACTERS, TEXT_CHARACTERS = 40_000, 20_000, 6_000
DECISION = re.compile(r"^\W*(?:decision\W+)?(ACCEPT|REVISE)\b", re.MULTILINE)
MOST = 3  # reviews of one attempt


class Review:
    """Asks for a review at a submission, for each patch once, at most three times in an attempt."""

    name = "review"
    instructions = ""
    extra_sandbox = False

    def __init__(self, setup: FeedbackSetup) -> None:
        if setup.argument:
            raise Unsuited(f"feedback review takes no argument; leave out :{setup.argument}, or use --review-model")
        self.reviewer = setup.reviewer
        self.prompt = (Path(__file__).parent / "texts" / "review.md").read_text("utf-8").strip()
        self.texts = {"review": self.prompt}

    async def begin(self, task: Task, workspace: Workspace, scope: AttemptScope) -> _Reviewed:
        return _Reviewed(self)


class _Reviewed:
    """The reviews of one attempt."""

    def __init__(self, review: Review) -> None:
        self._review = review
        self._seen: set[bytes] = set()

    async def look(self, moment: Moment) -> Said | None:
        patch = moment.submission.body
        if not moment.submitting or not patch.strip() or patch in self._seen or len(self._seen) >= MOST:
            return None
        self._seen.add(patch)
        text = Template(self._review.prompt).safe_substitute(
            statement=_shortened(moment.task.statement.strip(), STATEMENT_CHARACTERS),
            patch=_shortened(patch.decode("utf-8", "replace"), PATCH_CHARACTERS),
        )
        try:
            exchange = await moment.ask(self._review.reviewer, ({"role": "user", "content": text},), PURPOSE)
        except (ContextExceeded, Rejected) as error:
            return Said(f"The patch was not reviewed: {' '.join(str(error).split())[:300]}")
        said = spoken(exchange.reply).strip()
        if not said:
            return Said("The patch was not reviewed: the answer was empty.", exchange=exchange)
        return Said(_shortened(said, TEXT_CHARACTERS), holds=_decision(said) != "ACCEPT", exchange=exchange)


def _decision(text: str) -> str:
    """What a review ends with: ACCEPT or REVISE; "" where it says neither."""
    found = DECISION.findall(text)
    return str(found[-1]) if found else ""


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n[... {len(text) - most} characters left out ...]\n{text[-(most // 2) :]}"
