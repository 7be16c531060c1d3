"""`monkeys coverage`: pass@k, pass^k or G-Pass@k of counts or outcomes, with intervals."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monkeys.commands.analysis import add_files, add_ks, add_level, add_many, add_sampling, counts_of, finish

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
        choices=("pass@k", "pass^k", "g-pass@k"),
        default="pass@k",
        help="pass@k: coverage (default). pass^k: reliability, the share of tasks that k attempts all resolve. "
        "g-pass@k: the share of tasks that a share --tau of k attempts resolves",
    )
    parser.add_argument("--tau", type=float, metavar="SHARE", help="of g-pass@k (default 0.5)")
    parser.add_argument(
        "--method",
        choices=("gaffke", "korn-graubard", "bca", "percentile"),
        help="method of the interval over tasks (default gaffke; docs/coverage.md compares them)",
    )
    parser.add_argument("--again", action="store_true", help="the interval of a repetition of the whole experiment")
    add_sampling(parser)
    parser.add_argument("--by-repo", action="store_true", help="a line for each repository too")
    add_many(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.coverage import coverage
    from monkeys.spec.errors import ConfigError

    if arguments.tau is not None and arguments.estimate != "g-pass@k":
        raise ConfigError("--tau is the share of attempts of G-Pass@k: add --estimate g-pass@k, or leave it out")
    return coverage(
        counts_of(arguments),
        arguments.k,
        level=arguments.level,
        seed=arguments.seed,
        estimate=arguments.estimate,
        tau=0.5 if arguments.tau is None else arguments.tau,
        method=arguments.method,
        again=arguments.again,
        by_repository=arguments.by_repo,
        each=arguments.each,
        summary=arguments.summary,
    )
