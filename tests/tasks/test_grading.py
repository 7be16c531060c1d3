"""What unittest reports is read whatever else is written to the same log."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.swe.grading import Grade, UnittestGrader
from tests.helpers import quick_task

TALLY = quick_task("tally")
EXPECTED = (*TALLY.fail_to_pass, *TALLY.pass_to_pass)
FIRST = EXPECTED[0]


def graded(results: dict[str, str], noise: str = "", after: str = "", listed: str = "") -> Grade:
    """The grade of a log in which `noise` stands before each result, and `after` behind it."""
    lines = [f"{name.rpartition('.')[2]} ({name}) ... {noise}{results.get(name, 'ok')}\n{after}" for name in EXPECTED]
    end = f"\n{listed}{'-' * 70}\nRan {len(EXPECTED)} tests in 0.001s\n\nOK\n"
    return asyncio.run(UnittestGrader().grade(TALLY, "".join([*lines, end]).encode()))


WORDS = ("ok", "FAIL", "ERROR", " ... ", "(x)", " (a.b)", "\r", "\n", "=" * 70, "Ran 3 tests in 1s", "x" * 999, "ü")
noises = st.lists(st.sampled_from(WORDS), max_size=8).map("".join)


@given(noises)
def test_what_stands_before_a_result_does_not_change_it(noise: str) -> None:
    assert graded({}, noise).resolved
    for result in ("FAIL", "ERROR", "skipped 'not today'", 'skipped "it\'s not"', "expected failure"):
        found = graded({FIRST: result}, noise)
        assert not found.resolved
        assert {name for name, status in found.tests.items() if status != "passed"} == {FIRST}


@pytest.mark.parametrize("after", ["torn down", "price (EUR)\n", "level (a.b) ... high\n", "\x1b[0m", "x\n" * 1000])
def test_what_stands_between_two_tests_does_not_change_a_result(after: str) -> None:
    assert graded({}, after=after).resolved
    assert graded({FIRST: "FAIL"}, after=after).tests[FIRST] == "failed"


def test_a_test_that_the_runner_lists_as_failed_is_failed_whatever_its_line_says() -> None:
    listed = f"{'=' * 70}\nFAIL: {FIRST.rpartition('.')[2]} ({FIRST}) (rate=3)\n{'-' * 70}\nTraceback\n\n"
    assert graded({}, listed=listed).tests[FIRST] == "failed"


def test_a_result_is_read_in_time_that_grows_with_the_log() -> None:
    assert graded({}, after="(x" * 500_000 + "\n").resolved
