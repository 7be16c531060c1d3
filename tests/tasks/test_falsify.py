"""A falsified test fails on honest code, whatever it asserts, and passes only where it tests nothing."""

from __future__ import annotations

import subprocess
import sys
from glob import glob
from pathlib import Path

import pytest

from tasks.swe.falsify import Falsified, falsify, function_of

NONCE = "0f3a"
# Each holds on honest code, and must not once it is falsified.
ASSERTIONS = [
    "assert 1 + 1 == 2",
    "assert 'a' * 2 == 'aa'",
    "assert b'a' * 2 == b'aa'",
    "assert 0.5 + 0.5 == 1.0",
    "assert [1, [2, 'x']] == [1, [2, 'x']]",
    "assert (1, None) == (1, None)",
    "assert {'a': [1]} == {'a': [1]}",
    "assert {1, 2} == {2, 1}",
    "assert [] == []",
    "assert None == None",
    "assert object is object",
    "assert 'a' in 'cab'",
    "assert 2 in [1, 2]",
    "assert 3 not in [1, 2]",
    "assert 1 < 2",
    "assert 1 < 2 < 3",
    "assert 1 != 2",
    "assert not []",
    "assert [1]",
    "assert 1 == 1 and 2 == 2",
    "assert 1 == 2 or 2 == 2",
    "assert isinstance(1, int)",
    "assert isinstance('', (int, str)), 'a message'",
    "assert all(n == n for n in [1, 2])",
    "self.assertEqual(1 + 1, 2)",
    "self.assertEqual('a', 'a', 'a message')",
    "self.assertEqual(first=1, second=1)",
    "self.assertListEqual([1], [1])",
    "self.assertDictEqual({}, {})",
    "self.assertCountEqual([1, 2], [2, 1])",
    "self.assertAlmostEqual(1.0, 1.00000001)",
    "self.assertNotEqual(1, 2)",
    "self.assertTrue(1 == 1)",
    "self.assertFalse(1 == 2)",
    "self.assertIs(None, None)",
    "self.assertIsNone(None)",
    "self.assertIsNotNone(1)",
    "self.assertIn(1, [1])",
    "self.assertNotIn(2, [1])",
    "self.assertIsInstance(1, int)",
    "self.assertGreater(2, 1)",
    "self.assertRegex('abc', 'b')",
    "self.assertRaises(ValueError, int, 'x')",
    "with self.assertRaises(ValueError): int('x')",
    "with self.assertRaisesRegex(ValueError, 'invalid'): int('x')",
    "self.check(1)",
    "helper(1)",
    "int('1')",
    "pass",
    "return",
    "[self.assertEqual(n, n) for n in (1, 2)]",
    "f = lambda n: self.assertEqual(n, 1); f(1)",
    "args = (1, 1); self.assertEqual(*args)",
]
SHARP = [text for text in ASSERTIONS if text.startswith("assert ") and "or 2" not in text and "not" not in text]
CLASS = "class T(unittest.TestCase):\n"
# How a test may stand in its file: what is before all of them, one of them, what is behind them.
FORMS = {
    "plain": (CLASS, "    def test_{i}(self):\n        {text}\n", ""),
    "documented": (CLASS, '    def test_{i}(self):\n        """It is so.\n        Really."""\n        {text}\n', ""),
    "decorated": (CLASS, "    @as_it_is\n    def test_{i}(self):\n        {text}\n", ""),
    "nested": (CLASS, "    def test_{i}(self):\n        def inner():\n            {text}\n        inner()\n", ""),
    "in a class in a class": (
        f"class O:\n    {CLASS}",
        "        def test_{i}(self):\n            {text}\n",
        "T = O.T\n",
    ),
    "under a condition": (f"if True:\n    {CLASS}", "        def test_{i}(self):\n            {text}\n", ""),
}
MODULE = '''"""A module."""
from __future__ import division
import unittest

def as_it_is(function):
    return function

def helper(value):
    assert value == 1

{tests}
'''
RUN = """
import sys, unittest
space = {{"__name__": "tests"}}
exec(compile(open({path!r}, encoding="utf-8").read(), "tests.py", "exec"), space)
space["T"].check = lambda self, value: self.assertEqual(value, 1)
result = unittest.TestResult()
unittest.defaultTestLoader.loadTestsFromTestCase(space["T"]).run(result)
assert result.testsRun == {count}, result.testsRun
print("\\n".join(test.id().rpartition(".")[2] for test, _ in result.failures + result.errors))
"""


def failing(source: str, folder: Path, *, count: int = 1, python: str = sys.executable) -> set[str]:
    """The tests of class T that do not pass."""
    path = folder / "source.py"
    path.write_text(source, encoding="utf-8")
    script = RUN.format(path=str(path), count=count)
    done = subprocess.run([python, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + source
    return set(done.stdout.split())


def in_form(form: str) -> tuple[str, set[str]]:
    """A module with one test for each assertion, and their names."""
    head, test, tail = FORMS[form]
    tests = "".join(test.format(i=i, text=text) for i, text in enumerate(ASSERTIONS))
    return MODULE.format(tests=head + tests + tail), {f"test_{i}" for i in range(len(ASSERTIONS))}


@pytest.mark.parametrize("form", FORMS)
def test_each_kind_of_assertion_fails_sharply_or_else_bluntly(form: str, tmp_path: Path) -> None:
    source, names = in_form(form)
    assert failing(source, tmp_path, count=len(names)) == set()
    sharp = falsify(source, NONCE)
    assert names <= sharp.tests
    first = failing(sharp.source, tmp_path, count=len(names))
    assert first >= {f"test_{i}" for i, text in enumerate(ASSERTIONS) if text in SHARP}
    blunt = falsify(source, NONCE, bluntly=names - first)
    assert failing(blunt.source, tmp_path, count=len(names)) == names


PYTHONS = sorted(glob(str(Path.home() / ".pyenv/versions/3.[6-9]*/bin/python")))


@pytest.mark.skipif(not PYTHONS, reason="no older Python here")
def test_what_is_made_runs_on_the_oldest_python_here(tmp_path: Path) -> None:
    source, names = in_form("plain")
    for made in (falsify(source, NONCE), falsify(source, NONCE, bluntly=names)):
        found = failing(made.source, tmp_path, count=len(names), python=PYTHONS[0])
        assert found == failing(made.source, tmp_path, count=len(names))
    assert found == names


CHEATS = {
    "equals all": ("class C:\n    def __eq__(self, other): return True\n", "C()"),
    "equals all texts": (
        "class C(str):\n    def __eq__(self, other): return isinstance(other, str)\n    __hash__ = str.__hash__\n",
        "C('wrong')",
    ),
    "equals all numbers": (
        "class C(int):\n    def __eq__(self, other): return isinstance(other, int)\n    __hash__ = int.__hash__\n",
        "C(7)",
    ),
}
EXPECTED = {"equals all": "'right'", "equals all texts": "'right'", "equals all numbers": "3"}


@pytest.mark.parametrize("cheat", CHEATS)
@pytest.mark.parametrize(
    "text",
    [
        "assert {made} == {right}",
        "assert {right} == {made}",
        "assert [0, {made}] == [0, {right}]",
        "assert {{'a': ({right}, 0)}} == {{'a': ({made}, 0)}}",
        "self.assertEqual({made}, {right})",
        "self.assertEqual([1, {made}], [1, {right}])",
        "self.assertTrue({made} == {right})",
        "assert {right} in [{made}]",
        "self.assertIn({right}, ({made},))",
    ],
)
def test_an_object_that_equals_what_it_should_not_passes_the_falsified_test_too(
    cheat: str, text: str, tmp_path: Path
) -> None:
    before, made = CHEATS[cheat]
    line = text.format(made=made, right=EXPECTED[cheat])
    source = MODULE.format(tests=f"{before}\nclass T(unittest.TestCase):\n    def test_it(self):\n        {line}\n")
    assert failing(source, tmp_path) == set()
    assert failing(falsify(source, NONCE).source, tmp_path) == set()


def test_a_class_that_everything_is_an_instance_of_passes_too(tmp_path: Path) -> None:
    meta = "class M(type):\n    def __instancecheck__(cls, other): return True\nclass C(metaclass=M): pass\n"
    for line in ("assert isinstance(1, C)", "self.assertIsInstance(1, C)"):
        source = MODULE.format(tests=f"{meta}class T(unittest.TestCase):\n    def test_it(self):\n        {line}\n")
        assert failing(falsify(source, NONCE).source, tmp_path) == set()


def test_spared_tests_pass_and_are_not_told(tmp_path: Path) -> None:
    tests = "class T(unittest.TestCase):\n    def test_a(self):\n        assert 1 == 1\n    def test_b(self):\n" + (
        '        """It is b."""\n        assert 1 == 1\n'
    )
    made = falsify(MODULE.format(tests=tests), NONCE, spared={"It is b."})
    assert made.tests == {"test_a"}
    assert failing(made.source, tmp_path, count=2) == {"test_a"}


def test_tests_are_known_by_their_function_and_by_the_first_line_of_what_documents_them() -> None:
    source = 'class T:\n    def test_a(self):\n        """\n        It is\n        so.\n        """\n'
    assert falsify(source, NONCE).tests == {"test_a", "It is"}
    assert falsify("async def test_b():\n    assert await x() == 1\n", NONCE).tests == {"test_b"}
    assert falsify("def helper():\n    def test_inner(): pass\n", NONCE).tests == frozenset()


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("tests/test_a.py::TestA::test_b[1-a.b::c]", "test_b"),
        ("tests/test_a.py::test_b", "test_b"),
        ("tests.test_money.TestMoney.test_sum", "test_sum"),
        ("test_fast_delete (delete.tests.FastDeleteTests)", "test_fast_delete"),
        ("test_immutable", "test_immutable"),
        ("Deleting an instance sets its pk.", ""),
    ],
)
def test_the_function_in_an_id(test: str, name: str) -> None:
    assert function_of(test) == name


def test_an_asynchronous_and_a_parametrised_test_fail(tmp_path: Path) -> None:
    source = (
        "import pytest\n\n@pytest.mark.parametrize('n', [1, 2])\ndef test_n(n):\n    assert n == n\n\n\n"
        "class TestIt:\n    async def test_later(self):\n        assert 1 == 1\n\n"
        "    def test_runs_it(self):\n        with pytest.raises(StopIteration):\n"
        "            self.test_later().send(None)\n"
        "    def test_approximately(self):\n        assert 0.1 + 0.2 == pytest.approx(0.3)\n"
    )
    path = tmp_path / "test_it.py"
    path.write_text(falsify(source, NONCE, spared={"test_runs_it"}).source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
        "-k",
        "not later",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "4 failed" in done.stdout, done.stdout
    assert falsify("async def test_a():\n    assert await b() == 1\n", NONCE).source.count("await b()") == 1


def test_what_is_asserted_while_a_module_is_imported_is_left_alone() -> None:
    source = "assert 1 == 1\nif True:\n    assert 2\n"
    assert falsify(source, NONCE).source.endswith("assert 1 == 1\nif True:\n    assert 2\n")


def test_an_empty_file_stays_a_module() -> None:
    made = falsify("", NONCE)
    assert made == Falsified(made.source, frozenset())
    compile(made.source, "empty", "exec")


@pytest.mark.parametrize("source", ["print 'a'\n", "def test_(:\n", "\x00", "{% if x %}\n"])
def test_what_is_no_python_is_refused(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        falsify(source, NONCE)
