"""Feedback: what an attempt is told after a turn beyond what its tools answer, one kind a file.

`FEEDBACK` has the kinds by name, those of installed packages among them. A package registers its own under the entry
point `coding_monkeys.feedback`:

    [project.entry-points."coding_monkeys.feedback"]
    size = "my_package:Size"

A name may carry an argument behind a colon, as in `tests:submit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.feedback.feedback import Feedback, FeedbackSetup, Moment, Said, Verify, Watch
from agent.scaffolds import Unsuited
from agent.trajectory import ORACLE
from envs.registry import Registry

__all__ = [
    "FEEDBACK",
    "ORACLE",
    "Feedback",
    "FeedbackSetup",
    "Moment",
    "Said",
    "Verify",
    "Watch",
    "check_kinds",
    "make_feedback",
]

FEEDBACK = Registry(
    "feedback",
    "feedback",
    Feedback,
    {
        "check": "agent.feedback.check:Check",
        "diff": "agent.feedback.diff:Diff",
        "tests": "agent.feedback.tests:Tests",
        "reproduce": "agent.feedback.reproduce:Reproduce",
        "review": "agent.feedback.review:Review",
        "oracle-tests": "agent.feedback.oracle:OracleTests",
        "oracle-count": "agent.feedback.oracle:OracleCount",
    },
)


def check_kinds(kinds: Iterable[str]) -> None:
    """Check that each kind is known, and none is asked for twice. Raises `UnknownName` and `Unsuited`."""
    names = [kind.partition(":")[0] for kind in kinds]
    for name in names:
        if name == "none":
            raise Unsuited("feedback none is no feedback, and goes with no other kind; leave it out")
        FEEDBACK.get(name)
        if names.count(name) > 1:
            raise Unsuited(f"feedback {name} is asked for twice; give it once")


def make_feedback(kinds: Sequence[str], setup: FeedbackSetup) -> tuple[Feedback, ...]:
    """The kinds of feedback of a run, in the order in which they are registered. `setup` is the same for all.

    Only a kind whose name begins with `ORACLE` gets a verifier. Raises `UnknownName` and `Unsuited`.
    """
    check_kinds(kinds)
    order = FEEDBACK.names
    made = []
    for kind in sorted(kinds, key=lambda kind: order.index(kind.partition(":")[0])):
        name, _, argument = kind.partition(":")
        made.append(FEEDBACK.make(name, setup.for_kind(argument, oracle=name.startswith(ORACLE))))
    return tuple(made)
