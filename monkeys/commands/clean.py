"""`monkeys clean`: remove what dead runs left on this machine."""

from __future__ import annotations

import argparse

from monkeys.commands.shared import add_dry_run, make_console

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_dry_run(parser)


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    from monkeys.commands.housekeeping import clean

    return clean(arguments.dry_run, make_console())
