"""`monkeys sample`, which `python -m agent.swe` is too: the display, the job, the final screen, the exit code."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from envs.messages import complain
from monkeys.commands.ending import failed
from monkeys.spec.command_line import add_options, spec_of
from monkeys.spec.run import RunSpec

if TYPE_CHECKING:
    from monkeys.events import Sink

__all__ = ["INTERRUPTED", "add_arguments", "carry_out", "sample", "show_run"]

INTERRUPTED = "interrupted: all that was recorded is kept; give the same command again to go on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_options(parser, RunSpec)
    parser.epilog = "Give the same command again to go on with a run. A larger --attempts adds attempts to it."


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    return sample(spec_of(RunSpec, arguments))


def sample(spec: RunSpec) -> int:
    """Do the job with a display. Returns the exit code.

    0 done, 1 stopped on the way, 2 a mistake in what was asked, 3 stopped at a limit of the run, 130 interrupted.
    """
    # Imported after parsing, so that --help and a mistyped option answer at once.
    from agent.servers import ServerLost
    from envs.errors import MonkeysError
    from monkeys.events import JsonLines, Progress, several
    from monkeys.executors.processes import WorkerLost
    from monkeys.report.terminal.console import make_console
    from monkeys.report.terminal.live import make_screen
    from monkeys.runner.circuit_breaker import RunStopped
    from monkeys.runner.interruption import run_to_the_end
    from monkeys.runner.sample_job import sample_run, strategy_of
    from monkeys.text import several as number_of

    try:
        with ExitStack() as stack:
            strategy = strategy_of(spec)
            progress = Progress(wanted=strategy.wanted, done_of=strategy.done)
            sinks: list[Sink] = [progress.take]
            log = stack.enter_context(JsonLines(spec.session.events)) if spec.session.events else None
            if log:
                sinks.append(log)
            screen = make_screen(progress, quiet=spec.session.quiet, console=make_console(stderr=True))
            sinks.append(stack.enter_context(screen).take)
            end = run_to_the_end(sample_run(spec, several(*sinks)))
    except (RunStopped, ServerLost, WorkerLost) as error:
        return failed(str(error), 1)
    except MonkeysError as error:
        return failed(str(error), 2)
    except KeyboardInterrupt:
        complain(INTERRUPTED, "")
        return 130
    if log and log.failure:
        complain(f"not all events are in {spec.session.events} ({log.failure.strerror})", "warning")
    show_run(end.folder, quiet=spec.session.quiet)
    if end.unverified:
        complain(end.unverified)
    if end.stopped:
        complain(end.stopped, "")
        return 3
    if end.given_up:
        complain(
            f"{number_of(end.given_up, 'attempt')} given up after infra errors"
            f"{f', the last one {end.cause}' if end.cause else ''} (`monkeys show` tells all causes); "
            "give the same command again to make them",
            "",
        )
        return 1
    return 1 if end.unverified else 0


def show_run(folder: Path, *, quiet: bool = False) -> None:
    """Draw the final screen of a run on standard output.

    If `quiet`, say on standard error what changes the meaning of its verdicts, and nothing else.
    """
    from envs.messages import complain
    from monkeys.commands.shared import make_console
    from monkeys.report.summary import summarize, weaker_verdicts
    from monkeys.report.terminal.final_screen import render
    from monkeys.store import Store

    store = Store.read(folder)
    try:
        if quiet:
            for line in weaker_verdicts(store.attempts()):
                complain(line, "")
            return
        summary = summarize(store)
    finally:
        store.close()
    render(summary, make_console())
