"""`monkeys export`: a run as files for other programs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from monkeys.commands.shared import add_run, opened

if TYPE_CHECKING:
    from monkeys.formats.export import Exported
    from monkeys.store import Store

__all__ = ["add_arguments", "carry_out"]

NAMED = 5  # of what was left out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_run(parser)
    parser.add_argument(
        "--format",
        choices=("predictions", "outcomes", "trajectories"),
        default="predictions",
        help="predictions: SWE-bench predictions, one .jsonl file per attempt index (default). outcomes: a .csv file "
        "of task, attempts, resolved. trajectories: a .jsonl file of whole attempts",
    )
    parser.add_argument(
        "--tokens", action="store_true", help="with trajectories: the token ids and log-probabilities of each turn"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write into")


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    from envs.messages import complain, plain
    from monkeys.formats import export
    from monkeys.spec.errors import ConfigError

    formats: dict[str, Callable[[Store, Path], Exported]] = {
        "predictions": export.predictions,
        "outcomes": export.outcomes,
        "trajectories": partial(export.trajectories, tokens=arguments.tokens),
    }
    if arguments.tokens and arguments.format != "trajectories":
        raise ConfigError("--tokens goes with --format trajectories")
    with opened(arguments) as store:
        done = formats[arguments.format](store, arguments.out)
    for what in done.left_out[:NAMED]:
        complain(f"left out: {what}", "warning")
    if len(done.left_out) > NAMED:
        complain(f"left out: {len(done.left_out) - NAMED} more like these", "warning")
    rows = f"{done.rows:,} {'tasks' if arguments.format == 'outcomes' else arguments.format}"
    first, *others = [str(path) for path in done.files] or [str(arguments.out)]
    print(plain(f"{rows} in {first}" + (f" to {Path(others[-1]).name}" if others else "")))
    return 0
