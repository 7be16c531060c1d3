"""`monkeys coverage`: pass@k or pass^k of counts or outcomes, with intervals."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monkeys.commands.analysis import NATURAL, add_files, add_ks, add_level, counts_of, finish

if TYPE_CHECKING:
    from monkeys.report.result import Result

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_files(parser)
    add_ks(parser, "the k to show (default 1, 2, 5, 10 and so on)")
    add_level(parser)
    parser.add_argument(
        "--estimate",
        choices=("pass@k", "pass^k"),
        default="pass@k",
        help="pass@k: coverage (default). pass^k: reliability, the share of tasks that k attempts all resolve",
    )
    parser.add_argument("--again", action="store_true", help="the interval of a repetition of the whole experiment")
    parser.add_argument(
        "--stopped-at",
        type=NATURAL,
        metavar="N",
        help="attempts on a task ended with its first success, or after N without one",
    )
    parser.add_argument("--by-repo", action="store_true", help="a line for each repository too")


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.coverage import coverage

    return coverage(
        counts_of(arguments),
        arguments.k,
        level=arguments.level,
        seed=arguments.seed,
        estimate=arguments.estimate,
        again=arguments.again,
        stopped_at=arguments.stopped_at,
        by_repository=arguments.by_repo,
    )
