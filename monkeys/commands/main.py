"""The front door of what is done with runs, tasks, and the machine they run on. Argument parsing only.

`monkeys report`, `show`, `export` and `runs` look at runs; `verify` makes one of patches that are there,
`calibrate` tries the tests of tasks; `images` and `clean` keep the machine in order.

A mistake is one line on standard error with its remedy, and exit code 2; no traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from agent.arguments import at_least, seconds, share
from monkeys.commands.science import UsageError, register

if TYPE_CHECKING:
    from rich.console import Console

    from monkeys.formats.export import Exported
    from monkeys.runner.resources import ResourceSpec
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

    from envs.sandbox import SandboxError
    from monkeys.formats.predictions import PredictionsError
    from monkeys.runner.calibration import CalibrationError
    from monkeys.runner.circuit_breaker import RunStopped
    from monkeys.store import StoreError
    from monkeys.store.finding import NotFound
    from tasks.task import TaskError

    try:
        code: int = arguments.command(arguments)
        sys.stdout.flush()
    except (UsageError, NotFound, StoreError, TaskError, PredictionsError, CalibrationError) as error:
        return _complain(str(error), 2)
    except (SandboxError, RunStopped) as error:
        return _complain(str(error), 1)
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
    from monkeys.report.summary import summarize
    from monkeys.report.terminal.final_screen import render

    with _Opened(arguments) as store:
        summary = summarize(store)
    if arguments.json:
        print(summary.to_json())
    else:
        render(summary, _console())
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from monkeys.report.summary import summarize
    from monkeys.report.terminal.tables import attempts, overview
    from monkeys.report.terminal.transcript import transcript
    from monkeys.store.finding import find_attempt, find_task
    from monkeys.text import put

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
    from monkeys.formats import export

    formats: dict[str, Callable[[Store, Path], Exported]] = {
        "predictions": export.predictions,
        "outcomes": export.outcomes,
        "trajectories": partial(export.trajectories, tokens=arguments.tokens),
    }
    if arguments.tokens and arguments.format != "trajectories":
        raise UsageError("--tokens goes with --format trajectories")
    with _Opened(arguments) as store:
        done = formats[arguments.format](store, arguments.out)
    for what in done.left_out[:LEFT_OUT_NAMED]:
        print(f"warning: left out: {what}", file=sys.stderr)
    if len(done.left_out) > LEFT_OUT_NAMED:
        print(f"warning: left out: {len(done.left_out) - LEFT_OUT_NAMED} more like these", file=sys.stderr)
    rows = f"{done.rows:,} {'tasks' if arguments.format == 'outcomes' else arguments.format}"
    first, *others = [str(path) for path in done.files] or [str(arguments.out)]
    print(f"{rows} in {first}" + (f" to {Path(others[-1]).name}" if others else ""))
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    from monkeys.report.terminal.tables import runs
    from monkeys.store.finding import run_folders
    from monkeys.text import put

    folders = run_folders(arguments.runs)
    if folders:
        put(_console(), [runs(folders)])
    else:
        print(f"no runs in {arguments.runs} yet; `python -m agent.swe` makes one")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from monkeys.runner.verify_job import Verification, verify_predictions

    return verify_predictions(
        Verification(
            predictions=arguments.predictions,
            tasks=arguments.tasks,
            ids=tuple(arguments.ids or ()),
            run=arguments.name,
            runs=arguments.runs,
            venue=_venue(arguments, arguments.verify_workers),
            seconds=arguments.verify_seconds,
            remember=not arguments.no_verdict_cache,
            recheck=arguments.recheck,
            calibration=arguments.calibration,
            unstable=arguments.unstable,
            skip_unknown=arguments.skip_unknown,
            quiet=arguments.quiet,
        )
    )


def _calibrate(arguments: argparse.Namespace) -> int:
    from monkeys.runner.calibrate_job import REPEATS, calibrate

    return calibrate(
        arguments.tasks,
        ids=arguments.ids or (),
        repeats=arguments.repeats or REPEATS,
        out=arguments.out,
        venue=_venue(arguments, arguments.workers),
        seconds=arguments.verify_seconds,
        console=_console(),
        as_json=arguments.json,
    )


def _venue(arguments: argparse.Namespace, workers: int) -> ResourceSpec:
    from monkeys.runner.resources import WARM_AT_MOST, ResourceSpec

    limits = {} if arguments.memory_mb is None else {"memory_mb": arguments.memory_mb}
    # The next sandbox is opened while tests run in this one: then a verification waits for little but its tests.
    return ResourceSpec(arguments.sandbox, limits, workers, warm=min(workers, WARM_AT_MOST))


def _images(arguments: argparse.Namespace) -> int:
    from monkeys.commands.housekeeping import ImageSource, show_images

    return show_images(ImageSource(arguments.tasks, tuple(arguments.ids or ())), _console())


def _prefetch(arguments: argparse.Namespace) -> int:
    from monkeys.commands.housekeeping import ImageSource, prefetch

    source = ImageSource(
        tasks=arguments.tasks,
        ids=tuple(arguments.ids or ()),
        mirror=arguments.image_mirror,
        platform=arguments.platform,
        quota_gb=arguments.image_quota,
    )
    return prefetch(source, arguments.parallel, _console())


def _remove_images(arguments: argparse.Namespace) -> int:
    from monkeys.commands.housekeeping import remove_images

    return remove_images(0.0 if arguments.all else arguments.quota, arguments.dry_run, _console())


def _clean(arguments: argparse.Namespace) -> int:
    from monkeys.commands.housekeeping import clean

    return clean(arguments.dry_run, _console())


class _Opened:
    """The store that the arguments name, closed at the end."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments

    def __enter__(self) -> Store:
        from monkeys.store import Store
        from monkeys.store.finding import find_run

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


def _gigabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of gigabytes") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of gigabytes from 0, not {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="monkeys",
        description="Look at runs: how coverage grew, what an attempt did, files for others. Verify patches that are "
        "there, and find out how far tests can be trusted. Keep machines tidy.",
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
    show.add_argument("attempt", metavar="ATTEMPT", nargs="?", type=at_least(0), help="the attempt's index, from 0")
    show.add_argument(
        "--try",
        type=at_least(0),
        metavar="N",
        help="this try, infra errors included (default: the one that counts)",
    )
    show.add_argument("--full", action="store_true", help="leave nothing out")
    show.add_argument("--log", action="store_true", help="the verifier's log too")
    show.set_defaults(command=_show)

    export = commands.add_parser("export", parents=[one], help="a run as files for other programs")
    export.add_argument(
        "--format",
        choices=("predictions", "outcomes", "trajectories"),
        default="predictions",
        help="SWE-bench predictions, one .jsonl file per attempt index (default), a .csv of task, n, resolved, or a "
        ".jsonl of whole attempts",
    )
    export.add_argument(
        "--tokens", action="store_true", help="with trajectories: token ids and log-probabilities of each turn"
    )
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write into")
    export.set_defaults(command=_export)

    runs = commands.add_parser("runs", parents=[common], help="the runs there are")
    runs.set_defaults(command=_runs)

    _add_verify(commands, common)
    _add_calibrate(commands)
    _add_images(commands)
    clean = commands.add_parser(
        "clean", parents=[_dry()], help="remove what dead runs left: containers, snapshots, folders"
    )
    clean.set_defaults(command=_clean)
    register(commands, common, _console)
    return parser


def _add_verify(commands: argparse._SubParsersAction[_Parser], common: _Parser) -> None:
    verify = commands.add_parser(
        "verify",
        parents=[common, _tried()],
        help="verify the patches of a predictions file, or of a run again: makes a run",
        epilog="Give the same command again to go on; predictions that were added are verified then.",
    )
    verify.add_argument(
        "predictions", metavar="PREDICTIONS", help="SWE-bench predictions (.jsonl, .json, a folder of these), or a run"
    )
    verify.add_argument("--tasks", required=True, metavar="SET", help="as for python -m agent.swe")
    verify.add_argument(
        "--run", dest="name", metavar="NAME", help="the new run's name (default: from all that is told)"
    )
    verify.add_argument("--skip-unknown", action="store_true", help="leave out predictions for tasks not in the set")
    verify.add_argument(
        "--verify-workers",
        type=at_least(1),
        default=os.cpu_count() or 2,
        metavar="N",
        help="verifications at once (default: the processors)",
    )
    verify.add_argument(
        "--no-verdict-cache", action="store_true", help="neither use nor keep the verdicts of this machine"
    )
    verify.add_argument(
        "--recheck", type=share, default=0.0, metavar="RATE", help="share of kept verdicts that are made again"
    )
    verify.add_argument("--calibration", type=Path, metavar="FILE", help="what monkeys calibrate found")
    verify.add_argument(
        "--unstable",
        choices=("majority", "exclude", "keep"),
        default="majority",
        help="tasks that it calls flaky: the majority of as many runs decides (default), left out, or as others",
    )
    verify.add_argument("--quiet", action="store_true", help="say nothing but errors")
    verify.set_defaults(command=_verify)


def _add_calibrate(commands: argparse._SubParsersAction[_Parser]) -> None:
    calibrate = commands.add_parser(
        "calibrate",
        parents=[_tried()],
        help="run the known solutions and the empty patch again and again: which tests can be trusted",
        epilog="Give the same command again to go on; more --repeats add to what is there.",
    )
    calibrate.add_argument("tasks", metavar="TASKS", help="a task set, as for python -m agent.swe")
    calibrate.add_argument(
        "--repeats", type=at_least(1), metavar="R", help="runs of each patch (default 11, as often as the paper)"
    )
    calibrate.add_argument("--out", type=Path, metavar="FILE", help="default: the set's name and .calibration.json")
    calibrate.add_argument(
        "--workers", type=at_least(1), default=1, metavar="N", help="runs at once; more make times longer (default 1)"
    )
    calibrate.add_argument("--json", action="store_true", help="print the file, not a table")
    calibrate.set_defaults(command=_calibrate)


def _tried() -> _Parser:
    """What verifying and calibrating have in common."""
    tried = _Parser(add_help=False)
    tried.add_argument("--ids", nargs="+", metavar="ID", help="only these instances")
    tried.add_argument("--sandbox", metavar="NAME", help="local or docker (default: what the tasks need)")
    tried.add_argument(
        "--verify-seconds",
        type=seconds,
        default=1800.0,
        metavar="S",
        help="one run of a task's tests (default %(default)s)",
    )
    tried.add_argument("--memory-mb", type=at_least(1), metavar="MB", help="of a sandbox, as for python -m agent.swe")
    return tried


def _add_images(commands: argparse._SubParsersAction[_Parser]) -> None:
    chosen = _Parser(add_help=False)
    chosen.add_argument("--ids", nargs="+", metavar="ID", help="only these instances")
    images = commands.add_parser("images", parents=[chosen], help="the Docker images that were pulled for tasks")
    images.add_argument("--tasks", metavar="SET", help="which of a task set's images are here, instead")
    images.set_defaults(command=_images)
    of_images = images.add_subparsers(metavar="COMMAND")
    prefetch = of_images.add_parser("prefetch", parents=[chosen], help="pull all that a task set needs, before a run")
    prefetch.add_argument("--tasks", required=True, metavar="SET", help="as for python -m agent.swe")
    prefetch.add_argument(
        "--image-mirror", default="", metavar="PREFIX", help="look for PREFIX/IMAGE first, then for IMAGE"
    )
    prefetch.add_argument("--platform", default="", metavar="P", help="such as linux/amd64 (default: the engine's own)")
    prefetch.add_argument(
        "--image-quota",
        type=_gigabytes,
        metavar="GB",
        help="remove the least recently used images that were pulled this way to stay below (default: remove none)",
    )
    prefetch.add_argument(
        "--parallel", type=at_least(1), default=3, metavar="N", help="pulls at once (default %(default)s)"
    )
    prefetch.set_defaults(command=_prefetch)
    remove = of_images.add_parser(
        "remove", parents=[_dry()], help="remove pulled images, the least recently used first; never one that is in use"
    )
    down_to = remove.add_mutually_exclusive_group(required=True)
    down_to.add_argument("--quota", type=_gigabytes, metavar="GB", help="until what is left takes no more than this")
    down_to.add_argument("--all", action="store_true", help="all of them")
    remove.set_defaults(command=_remove_images)


def _dry() -> _Parser:
    dry = _Parser(add_help=False)
    dry.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    return dry


if __name__ == "__main__":
    raise SystemExit(main())
