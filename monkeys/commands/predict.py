"""`monkeys predict`: coverage at more attempts than were made."""

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
    add_ks(parser, "the k to predict (default 10 and 100 times the attempts)")
    add_level(parser)
    parser.add_argument("--first", type=NATURAL, metavar="M", help="use only M random attempts on each task")


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.coverage import predict

    found = counts_of(arguments)
    return predict(found, arguments.k, first=arguments.first, level=arguments.level, seed=arguments.seed)
