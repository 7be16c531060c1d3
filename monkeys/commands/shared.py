"""What several commands of `monkeys` share: options, the store of a run, and the console."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from monkeys.spec.command_line import add_options, spec_of
from monkeys.spec.command_specs import RunsSpec

if TYPE_CHECKING:
    from rich.console import Console

    from monkeys.store import Store

__all__ = ["add_dry_run", "add_run", "add_runs", "make_console", "opened", "runs_folder"]


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add --runs."""
    add_options(parser, RunsSpec, file=False)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add RUN and --runs."""
    parser.add_argument("run", metavar="RUN", help="the name of a run, or the path of its folder")
    add_runs(parser)


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run."""
    parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")


def runs_folder(arguments: argparse.Namespace) -> Path:
    """The folder of the runs."""
    return spec_of(RunsSpec, arguments, warn=False).session.runs


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[Store]:
    """The store of the run that RUN names, to read; it is closed at the end."""
    from monkeys.store import Store
    from monkeys.store.finding import find_run

    store = Store.read(find_run(runs_folder(arguments), arguments.run))
    try:
        yield store
    finally:
        store.close()


def make_console() -> Console:
    """A console on standard output that lets `BrokenPipeError` through; rich would end the process itself."""
    from rich.console import Console

    from monkeys.report.terminal import console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return console.make_console(Piped, highlight=False)
