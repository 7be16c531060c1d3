"""The spectrum of a repository: collected by real runs of unittest and pytest in real sandboxes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.scaffolds.functions import Function, find_functions
from agent.scaffolds.relevance import suspected
from agent.scaffolds.spectrum import SETTINGS, Spectrum, collect, failed_tests, measured, spectrum_of
from envs import Origin
from tests.helpers import git_repository, workspace

SOURCE = b"""import os


def right(number):
    '''One more.'''
    return shared(number) + 1


def wrong(
    number,
):
    return shared(number) + 3


def shared(number):
    return number


def prepared():
    return 4


def unused():
    return os.sep


def short(): return 5
"""
TESTS = b"""import unittest

import pack.code as code


class TestCode(unittest.TestCase):
    def setUp(self):
        self.given = code.prepared()

    def test_right(self):
        self.assertEqual(code.right(self.given), 5)

    def test_wrong(self):
        self.assertEqual(code.wrong(self.given), 6)

    def test_twice_wrong(self):
        for number in range(2):
            with self.subTest(number):
                self.assertEqual(code.wrong(number), number)

    def test_short(self):
        self.assertEqual(code.short(), 5)
"""
FILES = {"pack/__init__.py": b"", "pack/code.py": SOURCE, "tests/__init__.py": b"", "tests/test_code.py": TESTS}
UNITTEST = "ulimit -n 64; python3 -S -m unittest discover -s tests -t ."
FUNCTIONS = {function.name: function for function in find_functions("pack/code.py", SOURCE)}


def collected(origin: Origin, command: str) -> tuple[Spectrum | None, bytes, list[str]]:
    """The spectrum, and what it leaves behind: the patch, and the files in the temporary folder."""

    async def main() -> tuple[Spectrum | None, bytes, list[str]]:
        async with workspace(origin, command) as room:
            before = await room.shell("ls -A /tmp")
            spectrum = await collect(room)
            after = await room.shell("ls -A /tmp")
            left = set(after.output.split()) - set(before.output.split())
            return spectrum, bytes(await room.sandbox.diff()), sorted(name.decode() for name in left)

    return asyncio.run(main())


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("spectrum") / "repository", FILES)


def test_what_failing_tests_alone_execute_is_suspected_most_and_nothing_is_left_behind(origin: Origin) -> None:
    spectrum, patch, left = collected(origin, UNITTEST)
    assert spectrum is not None
    assert (patch, left) == (b"", [])
    assert spectrum.failed == {"tests.test_code.TestCode.test_wrong", "tests.test_code.TestCode.test_twice_wrong"}
    assert {name: round(spectrum.suspicion(function), 3) for name, function in FUNCTIONS.items()} == {
        "wrong": 1.0,
        "shared": 0.816,  # by three tests, of which two fail
        "prepared": 0.707,  # set up for all four
        "right": 0.0,
        "unused": 0.0,
        "short": 0.0,
    }
    assert spectrum.suspects == ["tests/test_code.py", "pack/code.py"]


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m unittest discover -s tests -t . 2>/dev/null; true",  # no failure can be read
        "python3 -m unittest tests.test_code.TestCode.test_right",  # none fails
        "make test",
        "true",
        "python3 -m unittest -h",
        "python3 -m pytest_of_another_kind",
    ],
)
def test_where_nothing_can_be_collected_there_is_no_spectrum(origin: Origin, command: str) -> None:
    assert collected(origin, command) == (None, b"", [])


def test_a_test_that_a_class_inherits_is_found_by_its_function(tmp_path: Path) -> None:
    tests = b"""import unittest

from pack.code import right, wrong


class Base:
    def test_sum(self):
        self.assertEqual(wrong(1), 2)


class TestCode(Base, unittest.TestCase):
    def test_right(self):
        self.assertEqual(right(1), 2)
"""
    own = git_repository(tmp_path / "repository", {**FILES, "tests/test_code.py": tests})
    spectrum, _, _ = collected(own, UNITTEST)
    assert spectrum is not None
    assert [name for name, one in FUNCTIONS.items() if spectrum.suspicion(one) == 1.0] == ["wrong"]


def test_a_module_called_coverage_in_the_repository_is_not_run(tmp_path: Path) -> None:
    own = git_repository(tmp_path / "repository", {**FILES, "coverage.py": b"open('made', 'w').write('x')\n"})
    assert collected(own, UNITTEST) == (None, b"", [])


def test_a_file_that_failing_tests_do_not_touch_is_no_suspect() -> None:
    spectrum = Spectrum(
        {
            "a.py": {1: frozenset({"", "t"})},
            "b.py": {1: frozenset({""})},
            "c.py": {n: frozenset({"t"}) for n in (1, 2)},
        },
        frozenset({"t", "u"}),
        frozenset({"t"}),
    )
    assert spectrum.suspects == ["c.py", "a.py"]
    assert spectrum.suspicion(Function("b.py", "f", "def f(): 0", 1, 1, 1)) == 0.0
    assert spectrum.suspicion(Function("no.py", "f", "def f(): 0", 1, 1, 1)) == 0.0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m pytest -rA", "python -m coverage run --rcfile=R -m pytest -rA"),
        ("cd /testbed && pytest tests", "cd /testbed && python -m coverage run --rcfile=R -m pytest tests"),
        (
            "/opt/env/bin/python3.9 -S -B -m unittest",
            "/opt/env/bin/python3.9 -S -B -m coverage run --rcfile=R -m unittest",
        ),
        ("python -W ignore -Xdev -m pytest", "python -W ignore -Xdev -m coverage run --rcfile=R -m pytest"),
        ("py.test -q; pytest b", "python -m coverage run --rcfile=R -m pytest -q; pytest b"),
        ("./bin/pytest", None),
        ("pytest-3 -q", None),
        ("make test", None),
        ("", None),
    ],
)
def test_the_runner_of_a_test_command_is_started_by_coverage(command: str, expected: str | None) -> None:
    assert measured(command, "R") == expected


def test_failures_are_read_from_the_output_of_both_runners() -> None:
    output = """
FAIL: test_new (tests.test_code.TestCode.test_new) (number=0)
ERROR: test_old (tests.test_code.TestCode)
FAILED tests/test_code.py::TestCode::test_some[1-a b] - assert 1 == 2
FAILED tests/deep/test_code.py::test_plain - ValueError
SUBFAILED[one of two](number=0) tests/test_code.py::TestCode::test_part - assert 0 == 1
ERROR tests/test_broken.py
"""
    assert failed_tests(output) == [
        ("tests", "test_code", "TestCode", "test_new"),
        ("tests", "test_code", "TestCode", "test_old"),
        ("tests", "test_code", "TestCode", "test_some"),
        ("tests", "deep", "test_code", "test_plain"),
        ("tests", "test_code", "TestCode", "test_part"),
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_chances_stay_chances_and_follow_the_suspicion(given_: list[tuple[float, float]]) -> None:
    chances = [chance / sum(chance for chance, _ in given_) for chance, _ in given_]
    suspicions = [suspicion for _, suspicion in given_]
    found = suspected(chances, suspicions)
    assert sum(found) == pytest.approx(1)
    assert all(chance > 0 for chance in found)
    if not any(suspicions):
        assert found == chances


def test_pytest_is_measured_too(tmp_path: Path) -> None:
    """By the runner's own Python, since local sandboxes hide its packages."""
    plain = b"from pack.code import right, wrong\n\n\ndef test_wrong():\n    assert wrong(1) == 2\n\n\n"
    files = {"pack/__init__.py": b"", "pack/code.py": SOURCE, "tests/test_code.py": TESTS, "tests/test_plain.py": plain}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    settings = tmp_path / "settings"
    settings.write_text(SETTINGS.format(folder=tmp_path))
    command = measured(f"{sys.executable} -m pytest -p no:cacheprovider", str(settings))
    assert command is not None
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    spectrum = spectrum_of((tmp_path / "data").read_bytes(), done.stdout)
    assert spectrum is not None
    assert {test.rpartition(".")[2] for test in spectrum.failed} == {"test_wrong", "test_twice_wrong"}
    assert len(spectrum.failed) == 3
    assert [name for name, one in FUNCTIONS.items() if spectrum.suspicion(one) == 1.0] == ["wrong"]


def test_data_that_cannot_be_read_makes_no_spectrum() -> None:
    assert spectrum_of(b"no data", "FAIL: test_a (tests.test_a)") is None
