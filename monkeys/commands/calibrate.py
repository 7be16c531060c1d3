"""`monkeys calibrate`: which tests of a task set can be trusted."""

from __future__ import annotations

import argparse

from monkeys.commands.shared import make_console
from monkeys.spec.command_line import add_options, spec_of
from monkeys.spec.command_specs import CalibrateSpec

__all__ = ["add_arguments", "carry_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    add_options(parser, CalibrateSpec)
    parser.epilog = "Give the same command again to go on. A larger --repeats adds runs to those that were made."


def carry_out(arguments: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    spec = spec_of(CalibrateSpec, arguments)
    from envs.events import Event, Status, Warned
    from envs.messages import complain
    from monkeys.report.terminal.calibration import render
    from monkeys.runner.calibrate_job import calibrate
    from monkeys.runner.interruption import run_to_the_end

    def say(event: Event) -> None:
        if isinstance(event, Status | Warned) and event.text:
            complain(event.text, "")

    try:
        found, path = run_to_the_end(calibrate(spec, say))
    except KeyboardInterrupt:
        complain("interrupted: all runs that ended are kept; give the same command again to go on", "")
        return 130
    if spec.calibrate.json:
        print(found.to_json())
    else:
        render(found, path, make_console())
    return 0
