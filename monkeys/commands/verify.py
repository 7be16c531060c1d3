"""`monkeys verify`: a run of verdicts, from a predictions file or from another run."""

from __future__ import annotations

import argparse

from monkeys.spec.command_line import add_options, spec_of
from monkeys.spec.command_specs import VerifyRunSpec

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_options(parser, VerifyRunSpec)
    parser.epilog = "Give the same command again to go on. Predictions that were added are verified then."


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    spec = spec_of(VerifyRunSpec, arguments)
    from envs.messages import complain
    from monkeys.commands.sample import INTERRUPTED, show_run
    from monkeys.events import VerdictProgress
    from monkeys.events import several as several_sinks
    from monkeys.report.terminal.console import make_console
    from monkeys.report.terminal.live import make_screen
    from monkeys.runner.interruption import run_to_the_end
    from monkeys.runner.verify_job import verify_run
    from monkeys.text import several

    progress = VerdictProgress()
    try:
        with make_screen(progress, quiet=spec.session.quiet, console=make_console(stderr=True)) as screen:
            end = run_to_the_end(verify_run(spec, several_sinks(progress.take, screen.take)))
    except KeyboardInterrupt:
        complain(INTERRUPTED, "")
        return 130
    if not spec.session.quiet:
        if made := end.stats:
            again = several(made.again, "run")
            complain(f"{made.verified} verified, {made.found} found, {again} to make sure", "")
        show_run(end.folder)
    if end.unverified:
        complain(end.unverified)
        return 1
    return 0
