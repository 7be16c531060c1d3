"""`monkeys cost`: coverage against money or FLOPs, and the cheapest way to a wanted coverage."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monkeys.commands.analysis import NATURAL, add_files, add_level, add_sampling, counts_of, file_or_run, finish
from monkeys.spec.command_line import read_as
from monkeys.spec.errors import ConfigError
from monkeys.spec.kinds import Kind, Number

if TYPE_CHECKING:
    from monkeys.report.result import Result
    from monkeys.science.cost import PricedArm, Prices

__all__ = ["add_arguments", "carry_out"]


class NamedValue(Kind):
    """A value, perhaps for one set: "VALUE" or "SET=VALUE"."""

    def read(self, text: str) -> tuple[str, str]:
        name, _, value = text.rpartition("=")
        return name, value


class TokenPrices(Kind):
    """Dollars per million prompt, completion and cached tokens: "P,C" or "P,C,H"."""

    def read(self, text: str) -> Prices:
        from monkeys.science.cost import CostError, Prices

        try:
            prompt, completion, *cached = (float(one) for one in text.split(","))
            return Prices(prompt, completion, *cached)
        except CostError as error:
            raise ValueError(str(error)) from None
        except (TypeError, ValueError):
            raise ValueError(f"{text!r} is not P,C or P,C,H in dollars per million tokens") from None


class Arm(Kind):
    """One model's published figures: "NAME:$:N:SHARE"."""

    def read(self, text: str) -> PricedArm:
        from monkeys.science.cost import PricedArm

        try:
            name, price, attempts, solved = text.rsplit(":", 3)
            return PricedArm(name, float(price), int(attempts), float(solved))
        except ValueError:
            raise ValueError(f"{text!r} is not NAME:$:N:SHARE, such as GPT-4o:.13:1:.24") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_files(parser, "*")
    add_level(parser)
    add_sampling(parser, stopped=False)
    parser.add_argument(
        "--against",
        choices=("attempts", "tokens", "seconds", "dollars", "flops"),
        help="show coverage against what was spent of these, task by task, with intervals",
    )
    parser.add_argument(
        "--stop-on-success",
        action="store_true",
        help="with --against: as if the attempts on a task ended with its first success",
    )
    parser.add_argument("--want", type=float, metavar="SHARE", help="find the cheapest set and k for this coverage")
    named = read_as(NamedValue())
    parser.add_argument(
        "--price", type=named, action="append", default=[], metavar="[SET=]$", help="dollars per attempt, of a set"
    )
    parser.add_argument(
        "--prices",
        type=read_as(TokenPrices()),
        metavar="P,C[,H]",
        help="dollars per million prompt, completion and cached tokens",
    )
    parser.add_argument("--prompt", type=NATURAL, metavar="TOKENS", help="tokens of the prompt that attempts share")
    parser.add_argument("--completion", type=NATURAL, metavar="TOKENS", help="tokens of one completion")
    parser.add_argument(
        "--shape",
        type=named,
        action="append",
        default=[],
        metavar="[SET=]MODEL",
        help="for FLOPs: a model's name, its config.json, or parameters,layers,hidden (default: by the set's name)",
    )
    parser.add_argument(
        "--arm",
        type=read_as(Arm()),
        action="append",
        default=[],
        metavar="NAME:$:N:SHARE",
        help="without a FILE: dollars per attempt, attempts per task and share of resolved tasks of one model, as in "
        "Table 1 of the paper",
    )
    parser.add_argument("--tasks", type=NATURAL, default=300, help="number of tasks of --arm (default %(default)s)")


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.cost import Pricing, against, cost, run_work, table_of_arms

    if arguments.arm:
        return table_of_arms(arguments.arm, arguments.tasks)
    if not arguments.files:
        raise ConfigError("there is nothing to price: give a FILE of counts, or --arm NAME:$:N:SHARE for each model")
    paths = [file_or_run(arguments, name) for name in arguments.files]
    runs = [path for path in paths if (path / "run.sqlite").is_file()]
    pricing = Pricing(
        dollars={name: _dollars(text) for name, text in arguments.price},
        prices=arguments.prices,
        prompt=arguments.prompt,
        completion=arguments.completion,
        shapes=dict(arguments.shape),
        work={name: own for path in runs if arguments.shape for name, own in run_work(path).items()},
    )
    if arguments.against:
        if arguments.want is not None:
            raise ConfigError("--want compares mean costs of an attempt: leave --against out")
        way = {"stop_on_success": arguments.stop_on_success, "seed": arguments.seed, "level": arguments.level}
        return against(counts_of(arguments), arguments.against, pricing, **way)
    if arguments.stop_on_success:
        raise ConfigError("--stop-on-success goes with --against: give one, such as --against tokens")
    return cost(counts_of(arguments), pricing, wanted=arguments.want)


def _dollars(text: str) -> float:
    try:
        return Number(positive=True, zero=True).read(text)
    except ValueError:
        example = "such as .0072 or GPT-4o=.13"
        raise ConfigError(f"--price {text!r} is no price: give dollars per attempt, {example}") from None
