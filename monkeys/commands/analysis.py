"""What the commands that analyse counts and outcomes share: their files, common options, and how a result is shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from monkeys.commands.shared import add_runs, make_console, runs_folder
from monkeys.spec.command_line import read_as
from monkeys.spec.errors import ConfigError
from monkeys.spec.kinds import Kind, Whole

if TYPE_CHECKING:
    from monkeys.formats.counts import Counts, Outcomes
    from monkeys.report.result import Result

__all__ = ["NATURAL", "add_files", "add_ks", "add_level", "counts_of", "file_or_run", "finish", "sets_of"]

NATURAL = read_as(Whole(0))
FILES = "a table (.csv, .tsv, .jsonl, .json, .parquet, .yaml), a folder of tables or of reports, or a run"

Found = TypeVar("Found", "Counts", "Outcomes")


class Numbers(Kind):
    """Whole numbers with commas between them."""

    def read(self, text: str) -> list[int]:
        return [Whole(0).read(one.strip()) for one in text.split(",")]


def add_files(parser: argparse.ArgumentParser, many: str = "+") -> None:
    """Add FILE (`many` is its `nargs`) and the options of every analysis."""
    parser.add_argument("files", metavar="FILE", nargs=many, help=FILES)
    add_runs(parser)
    parser.add_argument("--only", metavar="NAME", default="", help="only the sets with this in their name")
    parser.add_argument("--seed", type=NATURAL, default=0, help="seed of all resampling (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw a picture too: .svg, .png or .html")


def add_ks(parser: argparse.ArgumentParser, help: str) -> None:
    """Add --k."""
    parser.add_argument("--k", type=read_as(Numbers()), metavar="K,K", help=help)


def add_level(parser: argparse.ArgumentParser) -> None:
    """Add --level."""
    parser.add_argument("--level", type=float, default=0.95, help="level of the intervals (default %(default)s)")


def finish(analyse: Callable[[argparse.Namespace], Result], arguments: argparse.Namespace) -> int:
    """Analyse, draw and print. Returns the exit code. Raises a `MonkeysError` for what the data cannot answer."""
    from monkeys.report.result import to_json
    from monkeys.report.terminal.result import render

    result = analyse(arguments)
    if arguments.plot:
        from monkeys.report.picture import draw

        draw(result, arguments.plot, ", ".join(map(_title, arguments.files)))
    if arguments.json:
        print(to_json(result))
    else:
        render(result, make_console())
    return 0


def _title(name: str) -> str:
    """The name of a file without its suffix; a run's name is left as it is."""
    path = Path(name)
    return path.stem if path.is_file() else path.name


def counts_of(arguments: argparse.Namespace) -> list[Counts]:
    """The sets of counts in the files."""
    from monkeys.formats.counts import read_counts

    return sets_of(arguments, read_counts)


def sets_of(arguments: argparse.Namespace, read: Callable[[Path], tuple[Found, ...]]) -> list[Found]:
    """The sets in the files, or those that --only names. Raises `ConfigError` if there is none."""
    found: list[Found] = []
    for name in arguments.files:
        found += read(file_or_run(arguments, name))
    kept = [one for one in found if arguments.only.lower() in one.name.lower()]
    if not kept:
        names = ", ".join(one.name for one in found)
        raise ConfigError(f"no set has {arguments.only!r} in its name; there are {names}")
    return kept


def file_or_run(arguments: argparse.Namespace, name: str) -> Path:
    """A file or a folder; a name that is neither is a run's, which may hold a dot. Raises `NotFound`."""
    from monkeys.formats.counts import SUFFIXES
    from monkeys.store.finding import NotFound, find_run

    path = Path(name)
    if path.exists():
        return path
    try:
        return find_run(runs_folder(arguments), name)
    except NotFound:
        if path.suffix.lower() in SUFFIXES:
            return path  # a table was meant: who reads it says that it is not there
        raise
