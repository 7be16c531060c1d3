"""`monkeys predict`: coverage at more attempts than were made."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monkeys.commands.analysis import (
    NATURAL,
    add_files,
    add_ks,
    add_level,
    add_many,
    add_sampling,
    counts_of,
    finish,
)

if TYPE_CHECKING:
    from monkeys.report.result import Result

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_files(parser)
    add_ks(parser, "the k to predict (default 10 and 100 times the attempts)")
    add_level(parser)
    parser.add_argument("--first", type=NATURAL, metavar="M", help="use only M random attempts on each task")
    parser.add_argument(
        "--in-order", action="store_true", help="with --first: the first M attempts in the order made, not random ones"
    )
    add_sampling(parser)
    add_many(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.predict import predict
    from monkeys.spec.errors import ConfigError

    if arguments.in_order and arguments.first is None:
        raise ConfigError("--in-order says which attempts --first M takes: give --first too")
    firsts = counts_of(arguments, first=arguments.first) if arguments.in_order else None
    return predict(
        counts_of(arguments),
        arguments.k,
        first=arguments.first,
        firsts=firsts,
        level=arguments.level,
        seed=arguments.seed,
        each=arguments.each,
        summary=arguments.summary,
    )
