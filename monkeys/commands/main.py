"""The front door of `monkeys`: finds the command and carries it out. `monkeys.commands.ending` says how it ends."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from monkeys.commands.ending import finished
from monkeys.commands.shared import add_runs
from monkeys.spec.command_line import Parser

__all__ = ["main"]

COMMANDS = {
    "sample": "sample attempts, verify them and measure coverage: the main job",
    "report": "the final screen of a run: tasks, pass@k, coverage curve, scaling law",
    "show": "the tasks of a run, the attempts at a task, or one attempt in full",
    "export": "a run as files for other programs",
    "runs": "list the runs",
    "verify": "verify the patches of a predictions file, or of a run again; makes a run",
    "branch": "continue an attempt from one of its turns, to find what that turn was worth",
    "calibrate": "run the tests of tasks several times, to find broken, weak and flaky ones",
    "images": "list, pull and remove the Docker images of tasks",
    "clean": "remove what dead runs left: containers, snapshots, folders",
    "coverage": "pass@k of counts or outcomes, with intervals",
    "fit": "the scaling law of a coverage curve, and the distribution of pass@1 behind it",
    "predict": "coverage at more attempts than were made",
    "compare": "the difference between sets of results, paired by task",
    "align": "by how many attempts each model of a family trails the best",
    "compare-laws": "the difference between the scaling laws of sets of results",
    "cost": "coverage against money or FLOPs, and the cheapest way to a wanted coverage",
    "surface": "coverage over attempts x turns of a run, the best pair for a budget, and where attempts die",
    "select": "rules that choose one candidate without a verdict, compared with coverage",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and carry out. Returns the exit code: 0 done, 1 the machine failed, 2 a mistake in what was asked."""
    try:
        arguments = _parser().parse_args(argv)
        what = f"run {arguments.run}" if "run" in arguments else "a run"
        return finished(lambda: int(arguments.carry_out(arguments)), what)
    except SystemExit as end:  # how argparse ends for --help and for mistakes
        return end.code if isinstance(end.code, int) else 2


class _Command(Parser):
    """The parser of one command. Its module is imported when the command is called."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        module = import_module(f"monkeys.commands.{self.prog.split()[-1].replace('-', '_')}")
        module.add_arguments(self)
        self.set_defaults(carry_out=module.carry_out)
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:  # told here, where --help lists the options of this command
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="monkeys",
        description="Read runs and export them, verify patches, find out which tests can be trusted, analyse coverage, "
        "and keep the machine tidy.",
    )
    add_runs(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands", parser_class=_Command)
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
