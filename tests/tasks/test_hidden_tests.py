"""The names and files of hidden tests, in the forms of the runners of SWE-bench."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.swe.hidden_tests import hidden_tests
from tests.monkeys.report.test_report import make_task

PATCH = "diff --git a/{0} b/{0}\n--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-x\n+y\n"


@pytest.mark.parametrize(
    ("test", "patched", "names", "files", "modules"),
    [
        (
            "pkg/tests/test_x.py::TestA::test_b[p.q-r]",
            "pkg/data.py",
            {"test_b"},
            {"pkg/tests/test_x.py"},
            {"pkg.tests.test_x"},
        ),
        ("test_x.py::test_b", "test_x.py", {"test_b"}, {"test_x.py"}, set()),
        ("tests.test_x.TestA.test_b", "tests/test_x.py", {"test_b"}, {"tests/test_x.py"}, {"tests.test_x"}),
        (
            "test_b (utils.tests.TestA)",
            "tests/utils/tests.py",
            {"test_b"},
            {"tests/utils/tests.py"},
            {"tests.utils.tests", "utils.tests"},
        ),
        ("test_b", "core/tests/test_x.py", {"test_b"}, {"core/tests/test_x.py"}, {"core.tests.test_x"}),
        ("Says what it does", "tests/t.py", {"Says what it does"}, {"tests/t.py"}, {"tests.t"}),
    ],
)
def test_an_id_tells_the_name_and_the_file_of_a_test(
    test: str, patched: str, names: set[str], files: set[str], modules: set[str]
) -> None:
    found = hidden_tests(replace(make_task("a"), fail_to_pass=(test,), test_patch=PATCH.format(patched)))
    assert [set(found.names), set(found.files), set(found.modules)] == [names, files, modules]


@pytest.mark.parametrize(
    ("text", "named", "file"),
    [
        ("tests/test_x.py::TestA::test_b FAILED", True, True),
        ("test_b (tests.test_x.TestA.test_b) ... FAIL", True, True),
        ("/testbed/tests/test_x.py ..F", False, True),
        ("pytest ./tests/test_x.py", False, True),
        ("python -m unittest tests.test_x", False, True),
        ("test_bc passed, other_test_b too", False, False),
        ("tests/test_xy.py and my_tests/test_x.py", False, False),
        ("pkg.tests.test_x", False, False),
        ("tests/test_b.py", False, False),
    ],
)
def test_a_text_names_a_test_or_its_file_as_a_word(text: str, named: bool, file: bool) -> None:
    task = replace(make_task("a"), fail_to_pass=("tests/test_x.py::TestA::test_b",), test_patch="")
    assert (hidden_tests(task).named_in(text), hidden_tests(task).file_in(text)) == (named, file)
