"""`monkeys report`: the final screen of a run, or its numbers as JSON."""

from __future__ import annotations

import argparse

from monkeys.commands.shared import add_run, make_console, opened

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_run(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    from monkeys.report.record import json_text
    from monkeys.report.summary import summarize
    from monkeys.report.terminal.final_screen import render

    with opened(arguments) as store:
        summary = summarize(store)
    if arguments.json:
        print(json_text(summary))
    else:
        render(summary, make_console())
    return 0
