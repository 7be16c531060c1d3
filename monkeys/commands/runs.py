"""`monkeys runs`: the runs in a folder."""

from __future__ import annotations

import argparse

from monkeys.commands.shared import add_runs, make_console, runs_folder

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_runs(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    from envs.messages import plain
    from monkeys.report.record import json_text
    from monkeys.report.terminal.console import put
    from monkeys.report.terminal.tables import runs
    from monkeys.report.views import runs_view
    from monkeys.store.finding import run_folders

    place = runs_folder(arguments)
    view = runs_view(run_folders(place))
    if arguments.json:
        print(json_text(view))
    elif view.runs:
        console = make_console()
        put(console, runs(view, console.width))
    else:
        print(plain(f"there are no runs in {place} yet; `python -m agent.swe` makes one"))
    return 0
