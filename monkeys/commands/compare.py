"""`monkeys compare`: the difference between sets of results, paired by task."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monkeys.commands.analysis import add_files, add_ks, add_level, add_sampling, finish, several_counts

if TYPE_CHECKING:
    from monkeys.report.result import Result

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_files(parser)
    add_ks(parser, "the k to compare at (default 1, 2, 5, 10 and so on)")
    add_level(parser)
    parser.add_argument("--against", metavar="NAME", default="", help="the set that the others are compared with")
    parser.add_argument("--pairwise", action="store_true", help="compare all pairs of sets")
    parser.add_argument(
        "--method",
        choices=("gaffke", "korn-graubard"),
        default="gaffke",
        help="method of the intervals of the two sets (default %(default)s)",
    )
    parser.add_argument("--each", action="store_true", help="show each pair by itself, however many there are")
    add_sampling(parser, stopped=False)


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.compare import compare

    return compare(
        several_counts(arguments),
        arguments.k,
        level=arguments.level,
        seed=arguments.seed,
        method=arguments.method,
        pairwise=arguments.pairwise,
        each=arguments.each,
        drawn=arguments.plot is not None,
    )
