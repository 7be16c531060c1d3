"""`monkeys verify`: a run of verdicts, from a predictions file or from another run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

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
    from monkeys.runner.turns_job import TurnsEnd, verify_turns
    from monkeys.runner.verify_job import VerifyEnd, verify_run
    from monkeys.text import several

    def told(end: VerifyEnd | TurnsEnd) -> Iterator[str]:
        if isinstance(end, TurnsEnd):
            yield f"{several(end.replayed, 'attempt')} replayed, {len(end.unlike):,} unlike the record and not used"
        elif made := end.stats:
            yield f"{made.verified} verified, {made.found} found, {several(made.again, 'run')} to make sure"

    progress = VerdictProgress()
    try:
        with make_screen(progress, quiet=spec.session.quiet, console=make_console(stderr=True)) as screen:
            events = several_sinks(progress.take, screen.take)
            end: VerifyEnd | TurnsEnd
            if spec.predictions.each_turn:
                end = run_to_the_end(verify_turns(spec, events))
            else:
                end = run_to_the_end(verify_run(spec, events))
    except KeyboardInterrupt:
        complain(INTERRUPTED, "")
        return 130
    if not spec.session.quiet:
        for line in told(end):
            complain(line, "")
    show_run(end.folder, quiet=spec.session.quiet)
    failed = isinstance(end, TurnsEnd) and bool(end.failed)
    if isinstance(end, TurnsEnd) and end.failed:
        complain(
            f"{several(end.failed, 'attempt')} could not be replayed, the last one {end.cause}; give the same command "
            "again"
        )
    if end.unverified:
        complain(end.unverified)
    return 1 if end.unverified or failed else 0
