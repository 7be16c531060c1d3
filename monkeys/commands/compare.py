"""`monkeys compare`: the difference between sets of results, paired by task."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monkeys.commands.analysis import add_files, add_ks, add_level, counts_of, finish

if TYPE_CHECKING:
    from monkeys.report.result import Result

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_files(parser)
    add_ks(parser, "the k to compare at (default 1, 2, 5, 10 and so on)")
    add_level(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.coverage import compare

    return compare(counts_of(arguments), arguments.k, level=arguments.level, seed=arguments.seed)
