"""The refusals of `monkeys.science` in the words of the command line: options in place of arguments of functions."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from envs.errors import MonkeysError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PHRASES", "Refusal", "in_options"]

PHRASES = (
    ('say sampling="independent"', "say --sampling independent"),
    ("the order of the columns is not that", "the order of the rows is not that"),
    (
        "use `stopped_curve` or `pass_at_k_stopped`, which know of the stop",
        "give --stopped-at N, the most attempts that any task got",
    ),
    (
        "take the outcomes in order through `until_success` and `stopped_curve`, or the first batch of every task "
        "alone",
        "with a row for each attempt, in order, give --stopped-at N; or keep the first batch of every task alone",
    ),
    (
        "or take the outcomes in order through `until_success` and `stopped_curve`, which is coverage of the procedure "
        "as it was run",
        "or with a row for each attempt, in order, give --stopped-at N for coverage of the procedure as it was run",
    ),
    (
        "or `monkeys.science.scaling.fit_mixture`, whose likelihood does not depend on the stopping rule",
        "or a run of this program, which records its rule",
    ),
    ("correct successes and cap, or count through `until_success`", "correct --stopped-at"),
    ("`coverage_curve` estimates it without a model", "`monkeys coverage` estimates it without a model"),
    (
        'bootstrap = "two-level" is made for percentile intervals of pass@k: leave the others out',
        "--again is made for percentile intervals of pass@k: leave --method and --estimate out",
    ),
)
"""What the science says, and what a user of the command line is told."""
ARGUMENTS = (
    (re.compile(r"\b(level|method|tau|seed|subsets) = "), r"--\1 "),
    (re.compile(r", widest = [\d.]+: both are shares between"), r": a share between"),
    (re.compile(r"(?<![-\w])k = (?=[\d.]+ is )|(?<![-\w])k = (?=-?\d+: coverage is)"), "--k "),
)


class Refusal(MonkeysError):
    """What was asked for cannot be answered; the message names the option that would change it."""


@contextmanager
def in_options() -> Iterator[None]:
    """Turn what the science refuses into the words of the command line."""
    from monkeys.science.coverage import CoverageError
    from monkeys.science.scaling import FitError
    from monkeys.science.selection import SelectionError

    try:
        yield
    except (CoverageError, FitError, SelectionError) as error:
        text = str(error)
        for said, told in PHRASES:
            text = text.replace(said, told)
        for pattern, option in ARGUMENTS:
            text = pattern.sub(option, text)
        raise Refusal(text) from error
