"""The front door of `monkeys`: finds the command, carries it out, and turns an error into one line.

A mistake in what was asked is one line on standard error with its remedy, and exit code 2; there is no traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from monkeys.commands.shared import add_runs
from monkeys.spec.command_line import Parser

__all__ = ["main"]

COMMANDS = {
    "report": "the final screen of a run: tasks, pass@k, coverage curve, scaling law",
    "show": "the tasks of a run, the attempts at a task, or one attempt in full",
    "export": "a run as files for other programs",
    "runs": "list the runs",
    "verify": "verify the patches of a predictions file, or of a run again; makes a run",
    "calibrate": "run the tests of tasks several times, to find broken, weak and flaky ones",
    "images": "list, pull and remove the Docker images of tasks",
    "clean": "remove what dead runs left: containers, snapshots, folders",
    "coverage": "pass@k of counts or outcomes, with intervals",
    "fit": "the scaling law of a coverage curve, and the distribution of pass@1 behind it",
    "predict": "coverage at more attempts than were made",
    "compare": "the difference between sets of results, paired by task",
    "cost": "coverage against money or FLOPs, and the cheapest way to a wanted coverage",
    "select": "rules that choose one candidate without a verdict, compared with coverage",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and carry out. Returns the exit code: 0 done, 1 the machine failed, 2 a mistake in what was asked."""
    try:
        return _carry_out(_parser().parse_args(argv))
    except SystemExit as end:  # how argparse ends for --help and for mistakes
        return end.code if isinstance(end.code, int) else 2
    except BrokenPipeError:
        # The reader of the output has gone, as `| head` does. What is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


class _Command(Parser):
    """The parser of one command. Its module is imported when the command is called."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        module = import_module(f"monkeys.commands.{self.prog.split()[-1]}")
        module.add_arguments(self)
        self.set_defaults(carry_out=module.carry_out)
        return super().parse_known_args(args, namespace)


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


def _carry_out(arguments: argparse.Namespace) -> int:
    # Imported after parsing, so that --help and a mistyped option answer at once.
    import sqlite3
    import zlib

    from envs.errors import MonkeysError
    from envs.sandbox import SandboxError
    from monkeys.runner.circuit_breaker import RunStopped

    try:
        code: int = arguments.carry_out(arguments)
        sys.stdout.flush()
    except (SandboxError, RunStopped) as error:
        return _complain(str(error), 1)
    except MonkeysError as error:
        return _complain(str(error), 2)
    except (sqlite3.Error, zlib.error) as error:
        what = f"run {arguments.run}" if "run" in arguments else "a run"
        return _complain(f"{what} cannot be read ({error}); `sqlite3 run.sqlite .recover` saves what is left of it", 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _complain(f"cannot read or write{where} ({error.strerror}); check the path and its permissions", 1)
    return code


def _complain(message: str, code: int) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
