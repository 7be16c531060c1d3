"""What the commands that analyse counts and outcomes share: their files, common options, and how a result is shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from monkeys.commands.shared import add_runs, make_console, runs_folder
from monkeys.spec.command_line import read_as
from monkeys.spec.errors import ConfigError
from monkeys.spec.kinds import Kind, Whole

if TYPE_CHECKING:
    from monkeys.formats.counts import Counts, Outcomes, Reading
    from monkeys.report.result import Result

__all__ = [
    "NATURAL",
    "Numbers",
    "add_files",
    "add_ks",
    "add_level",
    "add_many",
    "add_plot",
    "add_sampling",
    "add_shown",
    "counts_of",
    "file_or_run",
    "finish",
    "outcomes_of",
    "several_counts",
]

NATURAL = read_as(Whole(0))
FILES = (
    "a table (.csv, .tsv, .jsonl, .json, .parquet, also .gz), - for one on standard input, a folder of tables or of "
)
FILES += "reports, or a run"
SAMPLINGS = ("independent", "stopped", "adaptive", "dependent")

Found = TypeVar("Found", "Counts", "Outcomes")


class Numbers(Kind):
    """Whole numbers with commas between them."""

    def read(self, text: str) -> list[int]:
        return [Whole(0).read(one.strip()) for one in text.split(",")]


class Meanings(Kind):
    """The columns of meanings: "task=ID,correct=PASSED"."""

    def read(self, text: str) -> dict[str, str]:
        pairs = [one.partition("=") for one in text.split(",")]
        if not all(between for _, between, _ in pairs):
            raise ValueError(f"{text!r} is not MEANING=COLUMN with commas between, such as task=id,correct=passed")
        return {meaning.strip().lower(): column.strip() for meaning, _, column in pairs}


class Level(Kind):
    """The level of an interval: a share between 0 and 1."""

    def read(self, text: str) -> float:
        try:
            level = float(text)
        except ValueError:
            level = 0.0
        if not 0 < level < 1:
            raise ValueError(f"{text} is no level of an interval: it lies between 0 and 1, and .95 is usual")
        return level


def add_files(parser: argparse.ArgumentParser, many: str = "+") -> None:
    """Add FILE (`many` is its `nargs`) and the options of every analysis."""
    parser.add_argument("files", metavar="FILE", nargs=many, help=FILES)
    add_runs(parser)
    reading = parser.add_argument_group("how the files are read")
    reading.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="only the set of this name, or else those with it in their name; may be given several times",
    )
    reading.add_argument(
        "--columns",
        type=read_as(Meanings()),
        default={},
        metavar="MEANING=COLUMN,...",
        help="which column is which: task, n, correct, outcome (of a single attempt), outcomes (lists of them), set, "
        "benchmark, attempt, repo, cost, tokens, seconds; nothing after = for none",
    )
    reading.add_argument("--by", default="", metavar="COLUMN", help="make a set of each value of this column")
    reading.add_argument(
        "--unsubmitted",
        choices=("unresolved", "left-out"),
        default="",
        help="what instances count as that a summary of SWE-bench's harness lists without a submission",
    )
    add_shown(parser)


def add_shown(parser: argparse.ArgumentParser) -> None:
    """Add --seed, and the options that say how a result is shown."""
    parser.add_argument("--seed", type=NATURAL, default=0, help="seed of all resampling (default %(default)s)")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON, for programs")
    shown.add_argument("--csv", action="store_true", help="print all numbers as one table of comma-separated values")
    shown.add_argument("--latex", action="store_true", help="print the tables for a LaTeX document (with booktabs)")
    add_plot(parser)


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add --plot."""
    parser.add_argument("--plot", type=Path, metavar="OUT", help="draw a picture too: .svg, .pdf, .png or .html")


def add_sampling(parser: argparse.ArgumentParser, *, stopped: bool = True) -> None:
    """Add --sampling, and with `stopped` --stopped-at."""
    parser.add_argument(
        "--sampling",
        choices=SAMPLINGS,
        help="how the attempts came about (default: independent, unless the data show that they are not)",
    )
    if stopped:
        parser.add_argument(
            "--stopped-at",
            type=NATURAL,
            metavar="N",
            help="attempts on a task ended with its first success, or after N without one",
        )


def add_ks(parser: argparse.ArgumentParser, help: str) -> None:
    """Add --k."""
    parser.add_argument("--k", type=read_as(Numbers()), metavar="K,K", help=help)


def add_level(parser: argparse.ArgumentParser) -> None:
    """Add --level."""
    parser.add_argument(
        "--level", type=read_as(Level()), default=0.95, help="level of the intervals (default %(default)s)"
    )


def add_many(parser: argparse.ArgumentParser) -> None:
    """Add --each and --summary."""
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--each", action="store_true", help="show each set by itself, however many there are")
    many.add_argument("--summary", action="store_true", help="show one line for each set, however few there are")


def finish(analyse: Callable[[argparse.Namespace], Result], arguments: argparse.Namespace) -> int:
    """Analyse, draw and print. Returns the exit code. Raises a `MonkeysError` for what the data cannot answer.

    The arguments are those of `add_files`, or of `add_run` and `add_shown`.
    """
    from monkeys.commands.refusals import in_options

    with in_options():
        result = analyse(arguments)
    if arguments.plot:
        from monkeys.report.picture import draw

        names = arguments.files if "files" in arguments else [arguments.run]
        draw(result, arguments.plot, ", ".join(map(_title, names)))
    if arguments.json:
        from monkeys.report.result import to_json

        print(to_json(result))
    elif arguments.csv:
        from monkeys.report.result import to_csv

        print(to_csv(result), end="")
    elif arguments.latex:
        from monkeys.report.latex import to_latex

        print(to_latex(result), end="")
    else:
        from monkeys.report.terminal.result import render

        render(result, make_console())
    return 0


def _title(name: str) -> str:
    """The name of a file without its suffix; a run's name is left as it is."""
    path = Path(name)
    return path.stem if path.is_file() else path.name


def counts_of(arguments: argparse.Namespace, *, first: int | None = None) -> list[Counts]:
    """The sets of counts in the files; with `first` of so many attempts on each task, in the order made."""
    from monkeys.formats.counts import read_counts

    reading = replace(
        _reading(arguments),
        sampling=getattr(arguments, "sampling", None),
        stopped_at=getattr(arguments, "stopped_at", None),
        first=first,
    )
    return _sets_of(arguments, lambda path: read_counts(path, reading))


def outcomes_of(arguments: argparse.Namespace) -> list[Outcomes]:
    """The sets of single attempts in the files."""
    from monkeys.formats.counts import read_outcomes

    return _sets_of(arguments, lambda path: read_outcomes(path, _reading(arguments)))


def several_counts(arguments: argparse.Namespace) -> list[Counts]:
    """The sets of counts in the files, that of --against first. Raises `ConfigError` where there are not two."""
    if arguments.only and arguments.against:  # the set to compare with is wanted too
        arguments = argparse.Namespace(**{**vars(arguments), "only": [*arguments.only, arguments.against]})
    found = counts_of(arguments)
    if arguments.against:
        base = _named(found, arguments.against)
        if len(base) != 1:
            raise ConfigError(
                f"--against {arguments.against!r} names {len(base)} sets, and one is needed; there are {_names(found)}"
            )
        found = [*base, *(one for one in found if one is not base[0])]
    if len(found) < 2:
        raise ConfigError(
            f"a comparison needs two sets, and there is {found[0].name} alone: give two files, or one with several arms"
        )
    return found


def _reading(arguments: argparse.Namespace) -> Reading:
    from monkeys.formats.counts import Reading

    return Reading(columns=arguments.columns, by=arguments.by, unsubmitted=arguments.unsubmitted)


def _sets_of(arguments: argparse.Namespace, read: Callable[[Path], Sequence[Found]]) -> list[Found]:
    """The sets in the files, or those that --only names. Raises `ConfigError` if there is none."""
    paths = [file_or_run(arguments, name) for name in arguments.files]
    found = _told_apart([(path, one) for path in paths for one in read(path)])
    kept = list[Found]()
    for name in arguments.only:
        some = _named(found, name)
        if not some:
            raise ConfigError(f"no set has {name!r} in its name; there are {_names(found)}")
        kept += [one for one in some if one.name not in {each.name for each in kept}]
    return kept if arguments.only else found


def _named(found: Sequence[Found], name: str) -> list[Found]:
    """The set of this name, or with it before brackets; else those of which it is a part between slashes; else those
    that have it in their name.
    """
    name = name.strip().lower()
    for alike in (
        lambda own: own == name,
        lambda own: own.partition(" [")[0] == name,
        lambda own: f"/{name}/" in f"/{own}/",
        lambda own: name in own,
    ):
        if kept := [one for one in found if alike(one.name.lower())]:
            return kept
    return []


def _names(found: Sequence[Found]) -> str:
    return ", ".join(one.name for one in found)


def _told_apart(found: Sequence[tuple[Path, Found]]) -> list[Found]:
    """The sets with names of their own: those of one name get as much of their path before it as tells them apart."""
    names = [one.name for _, one in found]
    for name in dict.fromkeys(names):
        alike = [at for at, each in enumerate(names) if each == name]
        if len(alike) > 1:
            for at, own in zip(alike, _apart([found[at][0] for at in alike], name), strict=True):
                names[at] = own
    taken: dict[str, int] = {}
    for at, name in enumerate(names):  # one file given twice
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            names[at] = f"{name} ({taken[name]})"
    return [replace(one, name=name) for name, (_, one) in zip(names, found, strict=True)]


def _apart(paths: Sequence[Path], name: str) -> list[str]:
    own = [path.resolve() for path in paths]
    stems = [path.name.partition(".")[0] if path.is_file() else path.name for path in own]
    if len(set(zip((path.parent for path in own), stems, strict=True))) < len(set(own)):
        stems = [path.name for path in own]  # files that differ in their suffix alone
    parts = [
        (*path.parent.parts, stem, *([] if stem.partition(".")[0] == name else [name]))
        for path, stem in zip(own, stems, strict=True)
    ]
    for last in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(part.strip("/") for part in each[-last:]) for each in parts]
        if len(set(labels)) == len(set(own)):
            break
    return labels


def file_or_run(arguments: argparse.Namespace, name: str) -> Path:
    """A file, a folder or standard input; a name that is none is a run's, which may hold a dot. Raises `NotFound`."""
    from monkeys.formats.counts import STANDARD_INPUT, SUFFIXES
    from monkeys.store.finding import NotFound, find_run

    path = Path(name)
    if name == STANDARD_INPUT or path.exists():
        return path
    try:
        return find_run(runs_folder(arguments), name)
    except NotFound:
        if path.suffix.lower() in (*SUFFIXES, ".gz"):
            return path  # a table was meant: who reads it says that it is not there
        raise
