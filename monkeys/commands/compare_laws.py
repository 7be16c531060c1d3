"""`monkeys compare-laws`: the difference between the scaling laws of sets of results."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monkeys.commands.analysis import NATURAL, add_files, add_level, add_sampling, finish, several_counts

if TYPE_CHECKING:
    from monkeys.report.result import Result

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_files(parser)
    parser.add_argument("--k", type=NATURAL, help="where slopes are compared (default: mid-way on the shorter curve)")
    add_level(parser)
    parser.add_argument("--against", metavar="NAME", default="", help="the set that the others are compared with")
    add_sampling(parser, stopped=False)


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.compare import laws

    return laws(several_counts(arguments), k=arguments.k, level=arguments.level, seed=arguments.seed)
