"""`monkeys branch`: what a turn was worth, by continuing an attempt from it many times."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from monkeys.commands.analysis import add_plot
from monkeys.spec.command_line import add_options, spec_of
from monkeys.spec.command_specs import BranchSpec

if TYPE_CHECKING:
    from monkeys.events import Sink

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_options(parser, BranchSpec)
    add_plot(parser)
    parser.epilog = (
        "Give the same command again to go on. A larger --attempts adds continuations to those that are there."
    )


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    spec = spec_of(BranchSpec, arguments)
    from agent.servers import ServerLost
    from envs.messages import complain
    from monkeys.commands.analyses.branches import branch_result
    from monkeys.commands.ending import failed
    from monkeys.commands.sample import INTERRUPTED
    from monkeys.commands.shared import make_console
    from monkeys.events import JsonLines, Progress
    from monkeys.events import several as several_sinks
    from monkeys.executors.processes import WorkerLost
    from monkeys.report.picture import check_picture, draw
    from monkeys.report.record import json_text
    from monkeys.report.summary import weaker_verdicts
    from monkeys.report.terminal import console as terminal
    from monkeys.report.terminal.live import make_screen
    from monkeys.report.terminal.tables import turn_values
    from monkeys.report.views.branch import branch_view
    from monkeys.runner.branch_job import branch
    from monkeys.runner.circuit_breaker import RunStopped
    from monkeys.runner.interruption import run_to_the_end
    from monkeys.store import Store
    from monkeys.text import several

    if arguments.plot:
        check_picture(arguments.plot)
    progress = Progress()
    quiet = spec.session.quiet or spec.branch.json
    try:
        with ExitStack() as stack:
            sinks: list[Sink] = [progress.take]
            if spec.session.events:
                sinks.append(stack.enter_context(JsonLines(spec.session.events)))
            screen = make_screen(progress, quiet=quiet, console=terminal.make_console(stderr=True))
            sinks.append(stack.enter_context(screen).take)
            end = run_to_the_end(branch(spec, several_sinks(*sinks)))
    except (RunStopped, ServerLost, WorkerLost) as error:
        return failed(str(error), 1)
    except KeyboardInterrupt:
        complain(INTERRUPTED, "")
        return 130
    store = Store.read(end.folder)
    try:
        view = branch_view(store, end.task, end.index, end.turns)
        weaker = list(weaker_verdicts(store.continuations(end.task, end.index)))
    finally:
        store.close()
    if arguments.plot and any(value.n for value in view.values):
        draw(branch_result([view]), arguments.plot, f"{view.task}, attempt {view.index}")
    if spec.branch.json:
        print(json_text(view))
    elif not spec.session.quiet:
        terminal.put(make_console(), turn_values(view))
    for line in weaker:
        complain(line, "")
    if end.unverified:
        complain(end.unverified)
    if end.given_up:
        complain(
            f"{several(end.given_up, 'continuation')} given up after infra errors, the last one {end.cause}; give the "
            "same command again to make them"
        )
    if end.stopped:
        complain(end.stopped, "")
        return 3
    return 1 if end.given_up or end.unverified else 0
