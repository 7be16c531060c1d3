"""`monkeys select`: rules that choose one candidate without a verdict, compared with coverage."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from monkeys.commands.analysis import NATURAL, add_files, add_ks, finish, outcomes_of
from monkeys.spec.errors import ConfigError

if TYPE_CHECKING:
    from monkeys.report.result import Result

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_files(parser)
    add_ks(parser, "the numbers of candidates (default 1, 2, 5 and so on)")
    parser.add_argument("--subsets", type=NATURAL, default=100, help="random subsets per k (default %(default)s)")
    parser.add_argument("--judge", default="", metavar="MODEL", help="ask this model about each candidate")
    parser.add_argument("--pairs", action="store_true", help="let the judge compare candidates two by two")
    parser.add_argument("--reward", default="", metavar="MODEL", help="score each candidate by this reward model")
    parser.add_argument(
        "--reward-path",
        choices=("/score", "/pooling", "/classify"),
        default="/score",
        help="the path of the reward model's endpoint (default %(default)s)",
    )
    parser.add_argument(
        "--base-url", metavar="URL", help="the server of these models, such as http://127.0.0.1:8000/v1"
    )
    parser.add_argument(
        "--api-key-env",
        default="OPENAI_API_KEY",
        metavar="VAR",
        help="the environment variable that holds the server's key (default %(default)s)",
    )
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="keep the models' answers here, so that each is asked for once"
    )


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return finish(_analyse, arguments)


def _analyse(arguments: argparse.Namespace) -> Result:
    from monkeys.commands.analyses.select import Judges, select

    judges = None
    if arguments.judge or arguments.reward:
        judges = Judges(
            judge=arguments.judge,
            pairs=arguments.pairs,
            reward=arguments.reward,
            reward_path=arguments.reward_path,
            base_url=arguments.base_url,
            api_key=os.environ.get(arguments.api_key_env),
            answers=arguments.answers,
        )
    elif arguments.pairs:
        raise ConfigError("--pairs says how a judge compares: name the judge with --judge MODEL")
    return select(outcomes_of(arguments), arguments.k, judges=judges, subsets=arguments.subsets, seed=arguments.seed)
