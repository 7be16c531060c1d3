"""SWE-bench's own grading: its test spec, log parsers and FAIL_TO_PASS / PASS_TO_PASS rules.

`swebench.harness` runs in a separate process, which starts at the first patch: importing it takes 1.5 s and 170 MB, and
changes the environment. The process answers length-prefixed JSON on its standard streams. It ends when its input does,
so it never outlives the runner.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import struct
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.swe.error_line import with_error_line
from tasks.swe.grading import Grade, GraderFailed, Scripts
from tasks.swe.task import SweTask
from tasks.task import TaskError

__all__ = ["SwebenchGrader", "check_installed", "has_blank_inside", "parser_of_repository", "values_known"]

STATUSES = "PASSED|FAILED|ERROR|SKIPPED|XFAIL"
BLANK = "\u2420"  # stands for a blank inside an id
LENGTH = struct.Struct(">I")
GRADE_SECONDS = 300.0  # starting, on a busy machine, included; a log parser takes milliseconds
ROOT = Path(__file__).resolve().parents[2]
START = ">>>>> Start Test Output"
END = ">>>>> End Test Output"
APPLIES = re.compile(r"git apply\b.*<<")  # how an eval script adds the hidden tests
# Each of these is in an honest log once.
ONCE = (START, END, "\n>>>>> Test Exit Code:")
BOOT = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tasks.swe.harness import answer_all; answer_all()"


@cache
def values_known(field: str) -> frozenset[str]:
    """The values of a row's `field`, "log_parser" or "eval_type", that the installed harness knows; empty if unknown.

    They are read from its source, since it takes too long to import only to look at a row.
    """
    place, table = {"log_parser": ("log_parsers", "PARSER_REGISTRY"), "eval_type": ("constants", "EvalType")}[field]
    entries: list[ast.expr | None] = []
    for node in _statements(f"{place}/__init__.py"):
        if isinstance(node, ast.ClassDef) and node.name == table:
            entries += [line.value for line in node.body if isinstance(line, ast.Assign)]
        elif (
            isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) == table
        ):
            entries += node.value.keys
    return frozenset(
        entry.value for entry in entries if isinstance(entry, ast.Constant) and isinstance(entry.value, str)
    )


@cache
def parser_of_repository(repository: str) -> str:
    """The log parser of a Python repository of SWE-bench, by which the installed harness reads its logs.

    Raises `TaskError` if the harness is not installed or knows none.
    """
    check_installed()
    for node in _statements("log_parsers/python.py"):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == repository and isinstance(value, ast.Name):
                    return value.id
    raise TaskError(f"the installed swebench knows no log parser of {repository}; install swebench 5 or later")


def _statements(file: str) -> list[ast.stmt]:
    """The statements of a module of the installed harness; none if it is not there."""
    found = find_spec("swebench")
    if found is None or not found.submodule_search_locations:
        return []
    try:
        return ast.parse(Path(found.submodule_search_locations[0], "harness", file).read_bytes()).body
    except (OSError, SyntaxError):
        return []


def check_installed() -> None:
    """Raises `TaskError`, with the command that installs it, if SWE-bench's harness is not installed."""
    if find_spec("swebench") is None:
        raise TaskError("these tasks are graded by SWE-bench's own harness: pip install 'coding-monkeys[swebench]'")


def has_blank_inside(name: str) -> bool:
    """Whether a test id is a whole one of pytest whose parameters hold a blank, as in "t.py::test[1 + 1]"."""
    return "::" in name and name.endswith("]") and " " in name.partition("[")[2]


class SwebenchGrader:
    """Grades the log of a task's own eval script with `swebench.harness`. Raises `TaskError` if it is not installed."""

    def __init__(self) -> None:
        check_installed()
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def scripts(self, task: SweTask) -> Scripts:
        return _parts(str(await self._ask({"ask": "script", "instance": dict(task.instance)})))

    async def grade(self, task: SweTask, log: bytes) -> Grade:
        question = {"ask": "grade", "instance": dict(task.instance), "log": log.decode("utf-8", "replace")}
        return Grade(**await self._ask(question))

    async def _ask(self, question: dict[str, Any]) -> Any:
        async with self._turn:
            if self._process is None or self._process.returncode is not None:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # names in the working folder are not ours
                    "-c",
                    BOOT,
                    stdin=PIPE,
                    stdout=PIPE,
                    start_new_session=True,  # Ctrl-C is for the runner, which then closes this
                )
            writer, reader = self._process.stdin, self._process.stdout
            assert writer is not None
            assert reader is not None
            text = json.dumps(question, default=str).encode()
            answer = None
            try:
                async with asyncio.timeout(GRADE_SECONDS):
                    writer.write(LENGTH.pack(len(text)) + text)
                    await writer.drain()
                    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                    answer = json.loads(await reader.readexactly(length))
            except TimeoutError:
                raise GraderFailed(f"SWE-bench's grader gave no answer within {GRADE_SECONDS:.0f} s") from None
            except (OSError, EOFError) as error:
                raise GraderFailed(f"SWE-bench's grader died ({type(error).__name__}: {error})") from None
            finally:
                if answer is None:  # interrupted: a late answer would be taken for that of the next question
                    await self._end(kill=True)
        if "error" in answer:
            raise GraderFailed(f"SWE-bench's grader failed on {question['instance']['instance_id']}: {answer['error']}")
        return answer["is"]

    async def close(self) -> None:
        await self._end(kill=False)

    async def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            if kill and process.returncode is None:
                process.kill()
            await process.wait()


def _parts(script: str) -> Scripts:
    """Cut an eval script where it restores the test files, and where the tests start."""
    lines = script.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if line.startswith(f": '{START}'")), 0)
    place = next((i for i, line in enumerate(lines[:start]) if APPLIES.match(line)), start)
    while place and lines[place - 1].startswith("git checkout "):
        place -= 1
    return Scripts(*("".join(part) for part in (lines[:place], lines[place:start], lines[start:])))


# What follows runs inside the grading process.


def answer_all() -> None:
    """Answer questions until the input ends. Only answers may reach the real standard output."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    while head := sys.stdin.buffer.read(LENGTH.size):
        question = json.loads(sys.stdin.buffer.read(LENGTH.unpack(head)[0]))
        try:
            answer = {"is": _answer(question)}
        except Exception as error:  # whatever a log or a row does to the harness is reported, and the process goes on
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        text = json.dumps(answer).encode()
        answers.write(LENGTH.pack(len(text)) + text)
        answers.flush()


def _answer(question: dict[str, Any]) -> Any:
    from swebench.harness.utils import make_test_spec

    spec = make_test_spec(question["instance"])
    if question["ask"] == "script":
        return spec.eval_script  # the row's own script, which also records the exit code
    return _grade(spec, question["log"])


def _grade(spec: Any, log: str) -> dict[str, Any]:
    import tempfile

    from swebench.harness.grading import _resolve_case, get_eval_report, get_logs_eval

    expected = (*spec.FAIL_TO_PASS, *spec.PASS_TO_PASS)
    spec, log, inside = _joined(spec, log)
    prediction = {"instance_id": spec.instance_id, "model_name_or_path": "", "model_patch": "a patch"}
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(log)
        file.flush()
        report = get_eval_report(spec, prediction, file.name, include_tests_status=True)[spec.instance_id]
        statuses, found = get_logs_eval(spec, file.name)
    told = {name: _resolve_case(inside.get(name, name), statuses) for name in expected}
    tests = {name: statuses[key].lower() if key else "missing" for name, key in told.items()}
    if spec.eval_type != "pass_and_fail":  # such a harness reports failures only
        tests = {name: "passed" if status == "missing" and found else status for name, status in tests.items()}
    reason = "" if found else _why_no_results(report.get("infra_failure_reason"), log)
    if not reason and set(tests.values()) == {"missing"}:  # such as an error while tests were collected
        reason = with_error_line("the log holds no result of an expected test", _shown_by_tests(log))
    if not reason and any(log.count(mark) > 1 for mark in ONCE):
        reason = "the log has more than one beginning or end: the code under test prints the harness's own markers"
    return {"resolved": bool(report["resolved"]), "tests": tests, "reason": reason}


def _why_no_results(kind: str | None, log: str) -> str:
    """The reason of a log without test results; `kind` is the harness's own word for it, where it has one."""
    return with_error_line(f"the log holds no test results{f' ({kind})' if kind else ''}", _shown_by_tests(log))


def _shown_by_tests(log: str) -> str:
    """What the log shows between its beginning and its end; all of it if it has no beginning."""
    before, started, tests = log.partition(START)
    return tests.partition(END)[0].strip("'\"\n ") if started else before


def _joined(spec: Any, log: str) -> tuple[Any, str, dict[str, str]]:
    """The spec and the log with the blanks of whole ids replaced, and these ids with what now stands for them.

    The parsers of pytest's logs cut a line at blanks, so an expected id that has one would never be found. It is
    replaced only where the log tells of exactly this id, so that ids which other parsers read stay as they are.
    """
    inside = {}
    for name in filter(has_blank_inside, (*spec.FAIL_TO_PASS, *spec.PASS_TO_PASS)):
        joined = name.replace(" ", BLANK)
        line = re.compile(rf"^({STATUSES}) {re.escape(name)}(?= - |\r?$)", re.M)
        log, found = line.subn(lambda told, joined=joined: f"{told[1]} {joined}", log)  # type: ignore[misc]
        if found:
            inside[name] = joined
    lists = {key: [inside.get(name, name) for name in getattr(spec, key)] for key in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    return replace(spec, **lists), log, inside
