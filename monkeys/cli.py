"""The front door of what is done with runs: `monkeys report`, `show`, `export`, `runs`. Argument parsing only.

A mistake is one line on standard error with its remedy, and exit code 2; no traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from monkeys.science_cli import Mistake, register

if TYPE_CHECKING:
    from rich.console import Console

    from monkeys.report.export import Exported
    from monkeys.store import Store

__all__ = ["main"]

LEFT_OUT_NAMED = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and do. Returns the exit code: 0 done, 1 the machine refused, 2 a mistake in what was asked."""
    try:
        arguments = _parser().parse_args(argv)
        return _carry_out(arguments)
    except SystemExit as end:  # how argparse ends for --help and for mistakes
        return end.code if isinstance(end.code, int) else 2
    except BrokenPipeError:
        # Whoever read the output has gone, as `| head` does. What is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _carry_out(arguments: argparse.Namespace) -> int:
    # Imported after parsing, so that --help and a mistyped option answer at once.
    import sqlite3
    import zlib

    from monkeys.report.finding import NotFound
    from monkeys.store import StoreError

    try:
        code: int = arguments.command(arguments)
        sys.stdout.flush()
    except (Mistake, NotFound, StoreError) as error:
        return _complain(str(error), 2)
    except (sqlite3.Error, zlib.error) as error:
        what = f"run {arguments.run}" if "run" in arguments else "a run"
        return _complain(f"{what} cannot be read ({error}); `sqlite3 run.sqlite .recover` saves what is left of it", 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _complain(f"cannot write or read{where} ({error.strerror}); see to its place and permissions", 1)
    return code


def _complain(message: str, code: int) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return code


# The commands


def _report(arguments: argparse.Namespace) -> int:
    from monkeys.report.closing import render
    from monkeys.report.summary import summarize

    with _Opened(arguments) as store:
        summary = summarize(store)
    if arguments.json:
        print(summary.to_json())
    else:
        render(summary, _console())
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from monkeys.report.finding import find_attempt, find_task
    from monkeys.report.summary import summarize
    from monkeys.report.tables import attempts, overview
    from monkeys.report.text import put
    from monkeys.report.transcript import transcript

    console = _console()
    with _Opened(arguments) as store:
        if arguments.task is None:
            put(console, overview(store, summarize(store)))
            return 0
        task = find_task(store, arguments.task)
        if arguments.attempt is None:
            put(console, attempts(store, task, console.width))
        else:
            row = find_attempt(store, task, arguments.attempt, getattr(arguments, "try"))
            put(console, transcript(store, row, full=arguments.full, log=arguments.log))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from monkeys.report import export

    write = {"predictions": export.predictions, "outcomes": export.outcomes}[arguments.format]
    with _Opened(arguments) as store:
        done: Exported = write(store, arguments.out)
    for what in done.left_out[:LEFT_OUT_NAMED]:
        print(f"warning: left out: {what}", file=sys.stderr)
    if len(done.left_out) > LEFT_OUT_NAMED:
        print(f"warning: left out: {len(done.left_out) - LEFT_OUT_NAMED} more like these", file=sys.stderr)
    rows = f"{done.rows:,} {'predictions' if arguments.format == 'predictions' else 'tasks'}"
    first, *others = [str(path) for path in done.files] or [str(arguments.out)]
    print(f"{rows} in {first}" + (f" to {Path(others[-1]).name}" if others else ""))
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    from monkeys.report.finding import run_folders
    from monkeys.report.tables import runs
    from monkeys.report.text import put

    folders = run_folders(arguments.runs)
    if folders:
        put(_console(), [runs(folders)])
    else:
        print(f"no runs in {arguments.runs} yet; `python -m agent.swe` makes one")
    return 0


class _Opened:
    """The store that the arguments name, closed at the end."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments

    def __enter__(self) -> Store:
        from monkeys.report.finding import find_run
        from monkeys.store import Store

        self._store = Store.read(find_run(self._arguments.runs, self._arguments.run))
        return self._store

    def __exit__(self, *failure: object) -> None:
        self._store.close()


def _console() -> Console:
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process itself

    return Piped(highlight=False)


# The arguments


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, in place of the usage."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{message}; `{self.prog} --help` says what there is", 2)
        raise SystemExit(2)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="monkeys", description="Look at runs: how coverage grew, what an attempt did, files for others."
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs lie (default %(default)s)"
    )
    common = _Parser(add_help=False)
    common.add_argument(
        "--runs", type=Path, default=argparse.SUPPRESS, metavar="DIR", help="where runs lie (default runs)"
    )
    one = _Parser(add_help=False, parents=[common])
    one.add_argument("run", metavar="RUN", help="a run's name, or the path of its folder")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    report = commands.add_parser("report", parents=[one], help="the final screen of a run: issues, pass@k, curve, law")
    report.add_argument("--json", action="store_true", help="the same for machines")
    report.set_defaults(command=_report)

    show = commands.add_parser("show", parents=[one], help="a run's tasks, a task's attempts, or one attempt to read")
    show.add_argument("task", metavar="TASK", nargs="?", help="a task's id, or a part that only one has")
    show.add_argument("attempt", metavar="ATTEMPT", nargs="?", type=_whole, help="the attempt's index, from 0")
    show.add_argument(
        "--try", type=_whole, metavar="N", help="this try of it, infra errors included (default: the one that counts)"
    )
    show.add_argument("--full", action="store_true", help="leave nothing out")
    show.add_argument("--log", action="store_true", help="the verifier's log too")
    show.set_defaults(command=_show)

    export = commands.add_parser("export", parents=[one], help="a run as files for other programs")
    export.add_argument(
        "--format",
        choices=("predictions", "outcomes"),
        default="predictions",
        help="SWE-bench predictions, one .jsonl file per attempt index (default), or a .csv of task, n, resolved",
    )
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write into")
    export.set_defaults(command=_export)

    runs = commands.add_parser("runs", parents=[common], help="the runs there are")
    runs.set_defaults(command=_runs)
    register(commands, common, _console)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
