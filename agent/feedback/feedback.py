"""The interface of a kind of feedback.

A kind is made once and serves all attempts of a process. For each attempt it gives a `Watch`, which is asked after
every turn that changed the repository, and at every submission. What it says becomes a message of its own in the
conversation. It never says anything of the hidden tests, unless its name begins with `oracle-`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from agent.agent import AttemptScope
from agent.models.model import Model
from agent.tools import Workspace
from agent.trajectory import Exchange, Message
from tasks.task import Submission, Task, Verdict

__all__ = ["Ask", "Feedback", "FeedbackSetup", "Moment", "Said", "Verify", "Watch", "first_lines", "listed"]

Verify: TypeAlias = Callable[[Task, Submission], Awaitable[Verdict]]
"""Verifies a submission in a fresh sandbox: `Verifier.verify`."""

Ask: TypeAlias = Callable[[Model | None, tuple[Message, ...], str], Awaitable[Exchange]]
"""Asks a model, None for the attempt's own, for a purpose. The attempt pays."""


@dataclass(frozen=True, slots=True)
class FeedbackSetup:
    """What a kind is made with.

    `argument` is what stands behind the colon of its name, "" if nothing. `reviewer` is the model of `--review-model`,
    None for the attempt's own. `verify` is None for every kind whose name does not begin with `oracle-`.
    """

    argument: str = ""
    reviewer: Model | None = None
    verify: Verify | None = None

    def for_kind(self, argument: str, *, oracle: bool) -> FeedbackSetup:
        return replace(self, argument=argument, verify=self.verify if oracle else None)


@dataclass(frozen=True, slots=True)
class Moment:
    """An attempt after one turn, or at a submission.

    `submission` is what the attempt would hand in now. `changed` says whether this turn changed it. `submitting` says
    whether the turn asks to submit. `ask` asks a model.
    """

    task: Task
    workspace: Workspace
    submission: Submission
    changed: bool
    submitting: bool
    ask: Ask


@dataclass(frozen=True, slots=True)
class Said:
    """What one kind says after a turn. `holds` keeps the model from submitting before it has read it.

    `exchange` is the request to a model from which the text comes, if there was one.
    """

    text: str
    holds: bool = False
    exchange: Exchange | None = None


class Watch(Protocol):
    """Feedback of one kind in one attempt."""

    async def look(self, moment: Moment) -> Said | None:
        """What there is to say now; None for nothing.

        Raises `SandboxLost` where the sandbox is gone, and a `ModelError`.
        """
        ...


class Feedback(Protocol):
    """One kind of feedback."""

    @property
    def name(self) -> str:
        """Under which it is registered; recorded with each message."""
        ...

    @property
    def instructions(self) -> str:
        """What the model is told about it at the beginning; "" for nothing."""
        ...

    @property
    def texts(self) -> Mapping[str, str]:
        """The texts on which it depends, such as prompts, by name; saved with the run."""
        ...

    @property
    def extra_sandbox(self) -> bool:
        """Whether it opens a sandbox beside that of the attempt, so that there must be room for one more."""
        ...

    async def begin(self, task: Task, workspace: Workspace, scope: AttemptScope) -> Watch:
        """Begin one attempt, in whose sandbox nothing was done yet. Raises `SandboxLost` and `Unsuited`."""
        ...


def first_lines(text: str, most: int, last: int = 0) -> str:
    """The first `most` lines of a text and its `last` ones, with a line that counts what is left out."""
    lines = text.rstrip("\n").split("\n")
    out = len(lines) - most - last
    if out <= 1:
        return "\n".join(lines)
    return "\n".join([*lines[:most], f"[... {out} lines left out ...]", *lines[len(lines) - last :]])


def listed(names: list[str], most: int) -> str:
    """Names, one a line, and how many more there are."""
    more = [f"- and {len(names) - most} more"] if len(names) > most else []
    return "\n".join([*(f"- {name}" for name in names[:most]), *more])
