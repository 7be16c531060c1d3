"""The line of a log that says why tests did not run, as it stands in a verdict's reason."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.swe.error_line import with_error_line
from tasks.swe.harness import SwebenchGrader
from tests.helpers import quick_task


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "+ pytest -rA\nImportError: no module x\nUpdated 2 paths from a6c3146\n",
            "error line: ImportError: no module x",
        ),
        ("E   SyntaxError: bad\n++ SWEBENCH_TEST_EXIT_CODE=4\n", "error line: E   SyntaxError: bad"),
        ("bash: line 3: tox: command not found\n\n\n", "error line: bash: line 3: tox: command not found"),
        ("fatal: \x1b[31mbroken\x1b[0m\tpipe\x00\n", r"error line: fatal: \x1b[31mbroken\x1b[0m\tpipe\x00"),
        ("Error: caf\xe9 \u202eevil\n", "error line: Error: caf\xe9 \\u202eevil"),
        ("test_errors_are_told ... ok\nit stopped here\n", "last line: it stopped here"),
        ("collecting ...\ncollected 3 items\n", "last line: collected 3 items"),
        (f"Error: {'x' * 500}\n", f"error line: Error: {'x' * 193}…"),
    ],
)
def test_the_last_line_that_tells_of_an_error_is_said(log: str, said: str) -> None:
    assert with_error_line("no results", log).endswith(said)


@pytest.mark.parametrize("log", ["", "\n \n", "+ pytest\n++ : end\n"])
def test_a_log_without_a_line_is_said_to_hold_none(log: str) -> None:
    assert with_error_line("no results", log) == "no results, and nothing was printed"


@given(st.text())
def test_the_reason_is_one_printable_line_whatever_was_printed(log: str) -> None:
    reason = with_error_line("no results", log)
    assert reason.startswith("no results")
    assert reason.isprintable()
    assert len(reason) < 2500


COLLECTING = """collected 0 items / 1 error
E   ModuleNotFoundError: No module named 'a'
=== short test summary info ===
ERROR t.py
!!!!!!!!!! Interrupted: 1 error during collection !!!!!!!!!!"""


@pytest.mark.skipif(find_spec("swebench") is None, reason="swebench is not installed")
@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ("ImportError: cannot import name 'a'", "; the last error line: ImportError: cannot import name 'a'"),
        (
            "ModuleNotFoundError: No module named 'a'",
            " (missing_module); the last error line: ModuleNotFoundError: No module named 'a'",
        ),
        ("", ", and nothing was printed"),
        ("bash: python: No such file", "; the last error line: bash: python: No such file"),
        ("Fatal Python error: Aborted\n  File x", "; the last error line: Fatal Python error: Aborted"),
    ],
)
def test_a_log_without_results_is_unresolved_with_the_last_error_of_the_tests(shown: str, reason: str) -> None:
    assert reason_of(shown) == f"the log holds no test results{reason}"


@pytest.mark.skipif(find_spec("swebench") is None, reason="swebench is not installed")
@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (COLLECTING, "E   ModuleNotFoundError: No module named 'a'"),
        ("ERROR: no matching distribution\nbash: pytest: not found", "bash: pytest: not found"),
    ],
)
def test_a_log_with_errors_alone_is_unresolved_with_the_last_of_them(shown: str, line: str) -> None:
    reason = f"the log holds no result of an expected test; the last error line: {line}"
    assert reason_of(shown) == reason


def reason_of(shown: str) -> str:
    """The reason of a log in which the tests show this."""
    instance = {
        "instance_id": "owner__name-1",
        "image": "image",
        "repo": "owner/name",
        "version": "1.0",
        "FAIL_TO_PASS": ["t.py::test_new"],
        "PASS_TO_PASS": [],
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
        "eval_script": ": '>>>>> Start Test Output'\npytest\n: '>>>>> End Test Output'\n",
    }
    log = (
        f"error: before\n+ : '>>>>> Start Test Output'\n+ pytest\n{shown}\n+ : '>>>>> End Test Output'\nerror: after\n"
    )

    async def main() -> str:
        grader = SwebenchGrader()
        try:
            return (await grader.grade(replace(quick_task("tally"), instance=instance), log.encode())).reason
        finally:
            await grader.close()

    return asyncio.run(main())
