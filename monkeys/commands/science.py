"""`monkeys coverage`, `fit`, `predict`, `compare`, `cost`, `select`: the science on files. Argument parsing only.

`register` adds the commands to a parser. What each does is in `monkeys.analysis`, imported when it is asked for. A
mistake, in the arguments or in the data, is a `UsageError` with one line.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

    from monkeys.formats.counts import Counts, Outcomes
    from monkeys.report.result import Result
    from monkeys.science.cost import PricedArm, Prices

__all__ = ["UsageError", "register"]

Found = TypeVar("Found", "Counts", "Outcomes")


class UsageError(Exception):
    """What was asked cannot be answered; the message says why and what can."""


def register(commands: Any, common: argparse.ArgumentParser, console: Callable[[], Console]) -> None:
    """Add the commands to a parser's sub-parsers; `common` has the options of all, `console` is where they print."""
    shared = type(common)(add_help=False, parents=[common])
    shared.add_argument("--only", metavar="NAME", default="", help="the sets whose name has this in it")
    shared.add_argument("--seed", type=_natural, default=0, help="seed of all resampling (default %(default)s)")
    shared.add_argument("--json", action="store_true", help="the same for machines")
    shared.add_argument("--plot", type=Path, metavar="OUT", help="also a picture: .svg, .png or .html")
    files = "a table (.csv, .tsv, .jsonl, .json, .parquet, .yaml), a folder of them or of reports, or a run"

    def command(name: str, about: str, act: Callable[[argparse.Namespace], Result], many: str = "+") -> Any:
        parser = commands.add_parser(name, parents=[shared], help=about)
        parser.add_argument("files", metavar="FILE", nargs=many, help=files)
        parser.set_defaults(command=lambda arguments: _carry_out(act, arguments, console))
        return parser

    def graded(parser: Any, ks: str) -> None:
        parser.add_argument("--k", type=_naturals, metavar="K,K", help=ks)
        parser.add_argument("--level", type=float, default=0.95, help="level of intervals (default %(default)s)")

    coverage = command("coverage", "pass@k of counts or outcomes, with intervals", _coverage)
    graded(coverage, "the k to show (default 1, 2, 5, 10 and so on)")
    coverage.add_argument(
        "--estimate", choices=("pass@k", "pass^k"), default="pass@k", help="coverage (default), or reliability"
    )
    coverage.add_argument("--again", action="store_true", help="the interval of running it all again")
    coverage.add_argument(
        "--stopped-at", type=_natural, metavar="N", help="attempts ended with a task's first success, or after N"
    )
    coverage.add_argument("--by-repo", action="store_true", help="a line for each repository too")

    command("fit", "the law of a curve, and the distribution of pass@1 behind it", _fit)

    predict = command("predict", "coverage at more attempts than were made", _predict)
    graded(predict, "the k to predict (default 10 and 100 times the attempts)")
    predict.add_argument("--first", type=_natural, metavar="M", help="from M random attempts on each task alone")

    compare = command("compare", "the difference between sets, paired by task", _compare)
    graded(compare, "the k to compare at (default 1, 2, 5, 10 and so on)")

    cost = command("cost", "coverage against money or FLOPs; the cheapest for a wanted coverage", _cost, "*")
    cost.add_argument(
        "--against",
        choices=("attempts", "tokens", "seconds", "dollars", "flops"),
        help="coverage beside what it takes of these, task by task, with intervals",
    )
    cost.add_argument(
        "--stop-on-success", action="store_true", help="with --against: as if attempts ended with the first success"
    )
    cost.add_argument("--want", type=float, metavar="SHARE", help="find the cheapest set and k for this coverage")
    cost.add_argument(
        "--price", type=_named, action="append", default=[], metavar="[SET=]$", help="dollars an attempt, of a set"
    )
    cost.add_argument(
        "--prices", type=_prices, metavar="P,C[,H]", help="dollars per million prompt, completion and cached tokens"
    )
    cost.add_argument("--prompt", type=_natural, metavar="TOKENS", help="tokens of the prompt that attempts share")
    cost.add_argument("--completion", type=_natural, metavar="TOKENS", help="tokens of one completion")
    cost.add_argument(
        "--shape",
        type=_named,
        action="append",
        default=[],
        metavar="[SET=]MODEL",
        help="for FLOPs: a model's name, its config.json, or parameters,layers,hidden (default: by the set's name)",
    )
    cost.add_argument(
        "--arm",
        type=_arm,
        action="append",
        default=[],
        metavar="NAME:$:N:SHARE",
        help="without a file: dollars an attempt, attempts a task, share of tasks solved; the paper's Table 1",
    )
    cost.add_argument("--tasks", type=_natural, default=300, help="tasks of the arms (default %(default)s)")

    select = command("select", "which candidate to hand in without a verdict, beside coverage", _select)
    select.add_argument("--k", type=_naturals, metavar="K,K", help="numbers of candidates (default 1, 2, 5 and so on)")
    select.add_argument("--subsets", type=_natural, default=100, help="random subsets for each k (default %(default)s)")
    select.add_argument("--judge", default="", metavar="MODEL", help="ask this model about each candidate")
    select.add_argument("--pairs", action="store_true", help="let the judge compare them two by two")
    select.add_argument("--reward", default="", metavar="MODEL", help="score each candidate by this reward model")
    select.add_argument(
        "--reward-path", choices=("/score", "/pooling", "/classify"), default="/score", help="default %(default)s"
    )
    select.add_argument("--base-url", metavar="URL", help="the server, such as http://127.0.0.1:8000/v1")
    select.add_argument("--api-key-env", default="OPENAI_API_KEY", metavar="NAME", help="default %(default)s")
    select.add_argument("--answers", type=Path, metavar="FILE", help="keep what the models say here, to ask once")


# The commands


def _coverage(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.coverage import coverage

    return coverage(
        _counts(arguments),
        arguments.k,
        level=arguments.level,
        seed=arguments.seed,
        estimate=arguments.estimate,
        again=arguments.again,
        stopped_at=arguments.stopped_at,
        by_repository=arguments.by_repo,
    )


def _fit(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.coverage import fit

    return fit(_counts(arguments), seed=arguments.seed)


def _predict(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.coverage import predict

    found = _counts(arguments)
    return predict(found, arguments.k, first=arguments.first, level=arguments.level, seed=arguments.seed)


def _compare(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.coverage import compare

    return compare(_counts(arguments), arguments.k, level=arguments.level, seed=arguments.seed)


def _cost(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.cost import Request, against, cost, run_work, table_of_arms

    if arguments.arm:
        return table_of_arms(arguments.arm, arguments.tasks)
    if not arguments.files:
        raise UsageError("nothing to price: give a FILE of counts, or --arm NAME:$:N:SHARE for each model")
    paths = [_path(arguments, name) for name in arguments.files]
    runs = [path for path in paths if (path / "run.sqlite").is_file()]
    request = Request(
        dollars={name: _dollars(text) for name, text in arguments.price},
        prices=arguments.prices,
        prompt=arguments.prompt,
        completion=arguments.completion,
        shapes=dict(arguments.shape),
        work={path.name: run_work(path) for path in runs if arguments.shape},
    )
    if arguments.against:
        if arguments.want is not None:
            raise UsageError("--want finds the cheapest by the mean cost of an attempt: leave --against out")
        way = {"stop_on_success": arguments.stop_on_success, "seed": arguments.seed}
        return against(_counts(arguments), arguments.against, request, **way)
    if arguments.stop_on_success:
        raise UsageError("--stop-on-success says how --against spends: name what, such as --against tokens")
    return cost(_counts(arguments), request, wanted=arguments.want)


def _select(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.select import Asked, select
    from monkeys.formats.counts import read_outcomes

    asked = None
    if arguments.judge or arguments.reward:
        asked = Asked(
            judge=arguments.judge,
            pairs=arguments.pairs,
            reward=arguments.reward,
            reward_path=arguments.reward_path,
            base_url=arguments.base_url,
            api_key=os.environ.get(arguments.api_key_env),
            ledger=arguments.answers,
        )
    elif arguments.pairs:
        raise UsageError("--pairs says how a judge compares: name it with --judge MODEL")
    found = _sets(arguments, read_outcomes)
    return select(found, arguments.k, asked=asked, subsets=arguments.subsets, seed=arguments.seed)


def _carry_out(act: Callable[[argparse.Namespace], Result], arguments: argparse.Namespace, console: Any) -> int:
    from monkeys.formats.counts import CountsError
    from monkeys.report.picture import PictureError, draw
    from monkeys.report.result import show, to_json
    from monkeys.science.cost import CostError
    from monkeys.science.coverage import CoverageError
    from monkeys.science.scaling import FitError
    from monkeys.science.selection import SelectionError
    from monkeys.science.selection.judging import JudgeError

    try:
        result = act(arguments)
        if arguments.plot:
            draw(result, arguments.plot, ", ".join(Path(name).stem for name in arguments.files))
    except (CostError, CountsError, CoverageError, FitError, JudgeError, PictureError, SelectionError) as error:
        raise UsageError(str(error)) from None
    if arguments.json:
        print(to_json(result))
    else:
        show(result, console())
    return 0


# Files


def _counts(arguments: argparse.Namespace) -> list[Counts]:
    from monkeys.formats.counts import read_counts

    return _sets(arguments, read_counts)


def _path(arguments: argparse.Namespace, name: str) -> Path:
    """A file or folder; a name that is neither is a run's."""
    from monkeys.store.finding import find_run

    path = Path(name)
    return path if path.exists() or path.suffix else find_run(arguments.runs, name)


def _sets(arguments: argparse.Namespace, read: Callable[[Path], tuple[Found, ...]]) -> list[Found]:
    """Every set in the files, or those that `--only` names."""
    found: list[Found] = []
    for name in arguments.files:
        found += read(_path(arguments, name))
    kept = [one for one in found if arguments.only.lower() in one.name.lower()]
    if not kept:
        there = ", ".join(one.name for one in found)
        raise UsageError(f"no set has {arguments.only!r} in its name; there are {there}")
    return kept


# Values


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _naturals(text: str) -> list[int]:
    return [_natural(one.strip()) for one in text.split(",")]


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.rpartition("=")
    return name, value


def _dollars(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"--price {text!r} is no price: give dollars an attempt, such as .0072 or GPT-4o=.13")
    return value


def _prices(text: str) -> Prices:
    from monkeys.science.cost import CostError, Prices

    try:
        prompt, completion, *cached = (float(one) for one in text.split(","))
        return Prices(prompt, completion, *cached)
    except CostError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not P,C or P,C,H in dollars per million tokens") from None


def _arm(text: str) -> PricedArm:
    from monkeys.science.cost import PricedArm

    try:
        name, price, attempts, solved = text.rsplit(":", 3)
        return PricedArm(name, float(price), int(attempts), float(solved))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:$:N:SHARE, such as GPT-4o:.13:1:.24") from None
