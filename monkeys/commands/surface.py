"""`monkeys surface`: coverage over attempts x turns of one run, the best pair for a budget, and where attempts die."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from monkeys.commands.analysis import Numbers, add_ks, add_level, add_shown, finish
from monkeys.commands.shared import add_run, opened
from monkeys.spec.command_line import read_as
from monkeys.spec.kinds import Kind, Number

if TYPE_CHECKING:
    from monkeys.report.result import Result

__all__ = ["add_arguments", "carry_out"]


class Budgets(Kind):
    """Numbers above 0 with commas between them."""

    def read(self, text: str) -> list[float]:
        return [Number(positive=True).read(one.strip()) for one in text.split(",")]


class Cells(Kind):
    """Pairs of attempts and turns: "250x40,1000x10"."""

    def read(self, text: str) -> list[tuple[int, int]]:
        found = [re.fullmatch(r"\s*(\d{1,9})\s*[xX×]\s*(\d{1,9})\s*", one) for one in text.split(",")]
        if not all(found) or len(found) < 2:
            raise ValueError(f"{text!r} is not two or more pairs of attempts and turns, such as 250x40,1000x10")
        return [(int(one[1]), int(one[2])) for one in found if one]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_run(parser)
    add_ks(parser, "the numbers of attempts to show (default 1, 2, 5, 10 and so on)")
    parser.add_argument(
        "--turns",
        type=read_as(Numbers()),
        metavar="T,T",
        help="the turns after which attempts are stopped (default 1, 2, 5, 10 and so on)",
    )
    parser.add_argument(
        "--against",
        choices=("tokens", "dollars", "seconds"),
        default="tokens",
        help="the unit of costs and budgets (default %(default)s)",
    )
    parser.add_argument(
        "--budget",
        type=read_as(Budgets()),
        metavar="B,B",
        help="find the best attempts x turns for so much on each task (default: about five between all and nothing)",
    )
    parser.add_argument(
        "--compare",
        type=read_as(Cells()),
        metavar="KxT,KxT",
        help="compare the first with the others, such as 250x40,1000x10 (default: all attempts of a quarter of the "
        "turns with as many of all turns as cost the same)",
    )
    add_level(parser)
    add_shown(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.surface import Wishes, surface

    wishes = Wishes(
        ks=arguments.k,
        turns=arguments.turns,
        unit=arguments.against,
        budgets=arguments.budget,
        cells=arguments.compare,
        level=arguments.level,
        seed=arguments.seed,
        drawn=arguments.plot is not None,
    )
    with opened(arguments) as store:
        return surface(store, wishes)
