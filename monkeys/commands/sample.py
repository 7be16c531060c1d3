"""The front of the main job, behind `python -m agent.swe`: the display, the job, the final screen, the exit code."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from agent.servers import ServerLost
from envs.errors import MonkeysError
from monkeys.events import JsonLines, Progress, Sink, several
from monkeys.executors.processes import WorkerLost
from monkeys.report.summary import summarize
from monkeys.report.terminal.final_screen import render
from monkeys.report.terminal.live import make_screen
from monkeys.runner.circuit_breaker import RunStopped
from monkeys.runner.interruption import run_to_the_end
from monkeys.runner.sample_job import sample_run, strategy_of
from monkeys.spec import RunSpec
from monkeys.store import Store
from monkeys.text import several as number_of

__all__ = ["INTERRUPTED", "sample", "show_run"]

INTERRUPTED = "interrupted: all that was recorded is kept; give the same command again to go on"


def sample(spec: RunSpec) -> int:
    """Do the job with a display. Returns the exit code.

    0 done, 1 stopped on the way, 2 a mistake in what was asked, 3 stopped at a limit of the run, 130 interrupted.
    """
    try:
        with ExitStack() as stack:
            strategy = strategy_of(spec)
            progress = Progress(wanted=strategy.wanted, done_of=strategy.done)
            sinks: list[Sink] = [progress.take]
            log = stack.enter_context(JsonLines(spec.session.events)) if spec.session.events else None
            if log:
                sinks.append(log)
            screen = make_screen(progress, quiet=spec.session.quiet, console=Console(stderr=True))
            sinks.append(stack.enter_context(screen).take)
            end = run_to_the_end(sample_run(spec, several(*sinks)))
        if log and log.failure:
            print(f"warning: not all events are in {spec.session.events} ({log.failure.strerror})", file=sys.stderr)
        if not spec.session.quiet:
            show_run(end.folder)
    except (RunStopped, ServerLost, WorkerLost) as error:
        return _complain(error, 1)
    except MonkeysError as error:
        return _complain(error, 2)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130
    if end.stopped:
        print(end.stopped, file=sys.stderr)
        return 3
    if end.given_up:
        print(
            f"{number_of(end.given_up, 'attempt')} given up after infra errors (`monkeys show` tells their causes); "
            "give the same command again to make them",
            file=sys.stderr,
        )
        return 1
    return 0


def show_run(folder: Path) -> None:
    """Draw the final screen of a run on standard output."""
    store = Store.read(folder)
    try:
        summary = summarize(store)
    finally:
        store.close()
    render(summary, Console())


def _complain(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code
