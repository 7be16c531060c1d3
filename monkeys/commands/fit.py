"""`monkeys fit`: the scaling law of a coverage curve, and the distribution of pass@1 behind it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monkeys.commands.analysis import add_files, add_level, add_many, add_sampling, counts_of, finish

if TYPE_CHECKING:
    from monkeys.report.result import Result

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_files(parser)
    add_level(parser)
    add_sampling(parser)
    add_many(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.fit import fit

    return fit(
        counts_of(arguments),
        level=arguments.level,
        seed=arguments.seed,
        each=arguments.each,
        summary=arguments.summary,
    )
