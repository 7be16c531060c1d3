"""The records that a store gives: one try of an attempt, and the counts of one task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from agent.trajectory import Exit, Usage
from tasks.task import Outcome, Submission

__all__ = ["REPLAYED", "TAKEN", "AttemptRow", "Tally", "TurnRow", "content_digest", "submission_digest"]

TAKEN, REPLAYED = "taken", "replayed"


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try of an attempt, without its conversation.

    `outcome` is None while there is no verdict. `digest` and `kind` are those of its submission, which
    `Store.submission` gives. `arm`, `brief` and `parents` are those of its `AttemptSpec`. `official` is the verdict of
    the task's own harness, None where it was not asked.

    `each_turn` says whether the submission after each of its turns is known: empty if not, "taken" if they were taken
    as the attempt went on, "replayed" if afterwards, in a replay of its actions, and "unlike: ..." if that replay
    differed from the attempt, and how. `branch_turn` is None for an attempt of the run's own. A continuation went on
    from the attempt in `parents` after so many turns of that; `turns`, `usage` and `seconds` are those that it added.
    """

    key: int
    task: str
    index: int
    tries: int
    seed: int
    exit: Exit
    detail: str
    outcome: Outcome | None
    reason: str
    digest: bytes
    turns: int
    usage: Usage
    seconds: float
    official: bool | None = None
    flaky: bool = False
    flags: tuple[str, ...] = ()
    session: int = 0
    kind: str = "patch"
    arm: str = ""
    brief: str = ""
    parents: tuple[int, ...] = ()
    each_turn: str = ""
    branch_turn: int | None = None

    @property
    def knows_turns(self) -> bool:
        """Whether the submission after each of its turns is known."""
        return self.each_turn in (TAKEN, REPLAYED)


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One turn of an attempt, without its messages.

    `attempt` is the key of its `AttemptRow`, and `number` counts from 0. Where the submissions of its turns are known
    (`AttemptRow.knows_turns`), `digest` is that of what the attempt would have handed in after it, None where that is
    the same as after the turn before, or where it is not known, which `untaken` tells apart. `outcome` is the verdict
    on it, None while there is none.
    """

    attempt: int
    number: int
    end: int
    """How many messages the attempt held after it."""
    usage: Usage
    seconds: float
    digest: bytes | None
    outcome: Outcome | None
    untaken: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one task's attempts.

    Infra errors are in `infra` alone. `submissions` are distinct and not empty. `official` attempts are resolved by the
    task's own harness, `disputed` ones have another verdict there than here, and `flaky` ones have a verdict that
    changed when the submission was verified again. `turns`, `usage` and `seconds` are sums over every try, infra errors
    included, since all of them cost.
    """

    task: str
    resolved: int
    unresolved: int
    unverified: int
    infra: int
    submissions: int
    turns: int
    usage: Usage
    seconds: float
    official: int = 0
    disputed: int = 0
    flaky: int = 0


def content_digest(content: bytes) -> bytes:
    """Identity by content of whatever the store keeps once."""
    return hashlib.sha256(content).digest()[:16]


def submission_digest(submission: Submission) -> bytes:
    """Identity of a submission among those at its task, by content."""
    return content_digest(submission.body)
