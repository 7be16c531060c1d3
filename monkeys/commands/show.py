"""`monkeys show`: the tasks of a run, the attempts at a task, or one attempt in full."""

from __future__ import annotations

import argparse

from monkeys.commands.shared import add_run, make_console, opened
from monkeys.spec.command_line import read_as
from monkeys.spec.kinds import Whole

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    index = read_as(Whole(0))
    add_run(parser)
    parser.add_argument("task", metavar="TASK", nargs="?", help="the id of a task, or a part that only one id has")
    parser.add_argument("attempt", metavar="ATTEMPT", nargs="?", type=index, help="the index of an attempt, from 0")
    parser.add_argument(
        "--try", type=index, metavar="N", help="this try of it, infra errors included (default: the one that counts)"
    )
    parser.add_argument("--full", action="store_true", help="leave nothing out")
    parser.add_argument("--log", action="store_true", help="show the verifier's log too")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    from monkeys.report.record import json_text
    from monkeys.report.terminal.console import put
    from monkeys.report.terminal.tables import attempts, overview
    from monkeys.report.terminal.transcript import transcript
    from monkeys.report.views import AttemptView, RunView, TaskView, attempt_view, run_view, task_view
    from monkeys.store.finding import find_attempt, find_task

    view: RunView | TaskView | AttemptView
    with opened(arguments) as store:
        if arguments.task is None:
            view = run_view(store)
        elif arguments.attempt is None:
            view = task_view(store, find_task(store, arguments.task))
        else:
            task = find_task(store, arguments.task)
            view = attempt_view(store, find_attempt(store, task, arguments.attempt, getattr(arguments, "try")))
    if arguments.json:
        print(json_text(view))
        return 0
    console = make_console()
    match view:
        case RunView():
            put(console, overview(view))
        case TaskView():
            put(console, attempts(view, console.width))
        case AttemptView():
            put(console, transcript(view, full=arguments.full, log=arguments.log))
    return 0
