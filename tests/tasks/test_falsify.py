"""Of a test's copies the true ones pass on honest code and the false ones fail, whatever is asserted."""

from __future__ import annotations

import subprocess
import sys
from glob import glob
from pathlib import Path

import pytest

from tasks.swe.altering import AT_THE_END, LEFT, RIGHT, TRUE, WIDE_LEFT, WIDE_RIGHT
from tasks.swe.falsify import Copy, function_of, mix, named_tests, renamed

NONCE = "0f3a"
FALSE = (RIGHT, LEFT, WIDE_RIGHT, WIDE_LEFT)
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
    "assert {'a': 'x'}['a'] == f'{1:x}'.replace('1', 'x')",
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
    "self.assertEqual(*('a', 'a'), 'a message')",
    "self.assertAlmostEqual(1.0, *[1.00000001], places=5)",
]
SHARP = [text for text in ASSERTIONS if text.startswith("assert ") and "or 2" not in text and "not" not in text]
SHARP += [text for text in ASSERTIONS if "qual(" in text and "*" in text]
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
    done = subprocess.run([python, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + source
    return set(done.stdout.split())


def failing_in(
    form: int, source: str, folder: Path, *, count: int = 1, python: str = sys.executable, hidden: bool = True
) -> set[str]:
    """The tests of class T that do not pass, all in this form."""
    names = [name for name in named_tests(source) if name.startswith("test_")]
    made = mix(
        source,
        {name: [Copy("", i, form, seed=i * 977 + form)] for i, name in enumerate(names)},
        hidden=frozenset(names if hidden else ()),
        nonce=NONCE,
        secret_path=str(folder / "secret"),
    )
    (folder / "secret").write_text(made.secret)
    try:
        return failing(made.source, folder, count=count, python=python)
    finally:
        assert not (folder / "secret").exists()


def in_form(form: str) -> tuple[str, set[str]]:
    """A module with one test for each assertion, and their names."""
    head, test, tail = FORMS[form]
    tests = "".join(test.format(i=i, text=text) for i, text in enumerate(ASSERTIONS))
    return MODULE.format(tests=head + tests + tail), {f"test_{i}" for i in range(len(ASSERTIONS))}


@pytest.mark.parametrize("form", FORMS)
def test_each_kind_of_assertion_holds_in_a_true_copy_and_fails_in_a_false_one(form: str, tmp_path: Path) -> None:
    source, names = in_form(form)
    assert failing_in(TRUE, source, tmp_path, count=len(names)) == set()
    assert failing_in(AT_THE_END, source, tmp_path, count=len(names)) == names
    for false in FALSE:
        failed = failing_in(false, source, tmp_path, count=len(names))
        assert failed >= {f"test_{i}" for i, text in enumerate(ASSERTIONS) if text in SHARP}


PYTHONS = sorted(glob(str(Path.home() / ".pyenv/versions/3.[6-9]*/bin/python")))


@pytest.mark.skipif(not PYTHONS, reason="no older Python here")
def test_what_is_made_runs_on_the_oldest_python_here(tmp_path: Path) -> None:
    source, names = in_form("plain")
    for form in (TRUE, RIGHT, LEFT, AT_THE_END):
        found = failing_in(form, source, tmp_path, count=len(names), python=PYTHONS[0])
        assert found == failing_in(form, source, tmp_path, count=len(names))


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
        "self.assertEqual([1, {made}, 3], [1, {right}, 3])",
        "self.assertTrue({made} == {right})",
        "assert {right} in [{made}]",
        "self.assertIn({right}, ({made},))",
    ],
)
def test_an_object_that_equals_what_it_should_not_passes_false_copies_too(
    cheat: str, text: str, tmp_path: Path
) -> None:
    before, made = CHEATS[cheat]
    line = text.format(made=made, right=EXPECTED[cheat])
    source = MODULE.format(tests=f"{before}\nclass T(unittest.TestCase):\n    def test_it(self):\n        {line}\n")
    assert failing(source, tmp_path) == set()
    for form in (RIGHT, LEFT):
        assert failing_in(form, source, tmp_path) == set()


def test_what_is_compared_is_compared_once(tmp_path: Path) -> None:
    once = (
        "class C:\n    seen = 0\n    def __eq__(self, other):\n        C.seen += 1\n        return C.seen == 1\n"
        "class T(unittest.TestCase):\n    def test_it(self):\n        self.assertEqual(C(), 'right')\n"
    )
    for form in (TRUE, *FALSE):
        assert failing_in(form, MODULE.format(tests=once), tmp_path) == set()


def test_a_false_copy_expects_a_value_of_the_same_shape(tmp_path: Path) -> None:
    saved = "import unittest\nshown = []\nclass T(unittest.TestCase):\n    def check(self, a, b): shown.append(a)\n" + (
        "    def assertValueEqual(self, a, b): print(ascii(b), file=open('shown', 'a'))\n"
    )
    values = [
        "Gr\u00fc\u00df dich 42!",
        "x",
        b"ab\xff",
        17,
        -5,
        2.5,
        1e-9,
        3 + 2j,
        True,
        [1, "a"],
        (0.1,),
        {"k": "v"},
        {3},
    ]
    lines = "".join(
        f"    def test_{i}(self):\n        self.assertValueEqual(None, {value!r})\n" for i, value in enumerate(values)
    )
    source = (saved + lines).replace("'shown'", repr(str(tmp_path / "shown")))
    assert failing_in(RIGHT, source, tmp_path, count=len(values)) == set()
    others = [eval(line) for line in (tmp_path / "shown").read_text().splitlines()]
    assert len(others) == len(values)
    for other in others:
        assert other not in values
        assert type(other) in {type(value) for value in values}
        assert not isinstance(other, str) or len(other) in (len(str(values[0])), 1)


def test_the_text_of_a_copy_does_not_tell_what_it_expects() -> None:
    source = (
        'import pytest\n@pytest.mark.parametrize(\'n\', [4711])\ndef test_a(n):\n    """Says 1."""\n'
        "    assert f'{n} ok' == 'expected text'\n    assert n == 4711 and n < 0.25\n"
    )
    copies = {"test_a": [Copy("", 7, TRUE), Copy("abc", 8, RIGHT)]}
    made = mix(source, copies, hidden=frozenset({"test_a"}), nonce=NONCE, secret_path="/tmp/s")
    tests = made.source[made.source.index("@") :]
    for told in ("4711", "expected", "0.25"):
        assert told not in tests
        assert told in made.secret
    assert "8: (1, -1, 0, 7)" in made.secret
    first, second = (text.strip() for text in tests.split("@")[1:])
    assert first.replace("enter(7)", "enter(8)") == second.replace("test_a_abc", "test_a").replace(
        "Says 1. abc", "Says 1."
    )


def test_a_class_that_everything_is_an_instance_of_passes_too(tmp_path: Path) -> None:
    meta = "class M(type):\n    def __instancecheck__(cls, other): return True\nclass C(metaclass=M): pass\n"
    for line in ("assert isinstance(1, C)", "self.assertIsInstance(1, C)"):
        source = MODULE.format(tests=f"{meta}class T(unittest.TestCase):\n    def test_it(self):\n        {line}\n")
        assert failing_in(LEFT, source, tmp_path) == set()


def test_a_part_of_a_test_fails_the_whole_test(tmp_path: Path) -> None:
    source = MODULE.format(
        tests="class T(unittest.TestCase):\n    def test_it(self):\n        for n in (1, 2):\n"
        "            with self.subTest(n=n):\n                self.assertEqual(n, n)\n"
    )
    made = mix(source, {"test_it": [Copy("", 1, RIGHT)]}, nonce=NONCE, secret_path=str(tmp_path / "secret"))
    assert "subTest" not in made.source
    assert failing_in(TRUE, source, tmp_path) == set()
    assert failing_in(RIGHT, source, tmp_path) == {"test_it"}


# Exceptions that a test runner takes for a command.
COMMANDS = {
    "KeyboardInterrupt": "KeyboardInterrupt",
    "SystemExit": "SystemExit",
    "GeneratorExit": "GeneratorExit",
    "one of several": "(ValueError, SystemExit)",
    "one derived": "type('Stop', (KeyboardInterrupt,), {})",
    "unittest.SkipTest": "unittest.SkipTest",
    "pytest.exit": "__import__('pytest').exit.Exception",
    "pytest.skip": "__import__('pytest').skip.Exception",
    "a debugger's": "__import__('bdb').BdbQuit",
}


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=COMMANDS.keys())
def test_an_exception_that_is_a_command_to_the_test_runner_is_never_falsified(kind: str, tmp_path: Path) -> None:
    source = MODULE.format(
        tests="class T(unittest.TestCase):\n    def test_it(self):\n"
        f"        kind = {kind}\n        def stop(): raise kind[-1] if isinstance(kind, tuple) else kind\n"
        "        with self.assertRaises(kind): stop()\n"
    )
    for form in (*FALSE, TRUE):
        assert failing_in(form, source, tmp_path, hidden=False) == set()
    assert failing_in(AT_THE_END, source, tmp_path, hidden=False) == {"test_it"}


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit", "unittest.SkipTest", "pytest.exit.Exception"])
def test_what_a_falsified_assertion_lets_through_fails_the_copy_and_does_not_end_the_run(
    kind: str, tmp_path: Path
) -> None:
    source = MODULE.format(
        tests="import pytest\nclass T(unittest.TestCase):\n    def test_it(self):\n"
        "        try:\n            self.assertEqual(1 + 1, 2)\n"
        f"        except AssertionError:\n            raise {kind}\n"
    )
    assert failing_in(TRUE, source, tmp_path) == set()
    for form in FALSE:
        assert failing_in(form, source, tmp_path) == {"test_it"}


# Assertions of test libraries, each a method of an object that they make.
OF_LIBRARIES = {
    "lines of pytest": ("fnmatch_lines(self, wanted): wrong = wanted != ['*one*', 'two']", "(['*one*', 'two'])"),
    "outcomes of pytest": ("assert_outcomes(self, failed=0): wrong = failed != 1", "(failed=1)"),
    "outcomes in order": ("assert_outcomes(self, passed): wrong = passed != 1", "(1)"),
    "a response of Django": (
        "assertContains(self, response, text): wrong = text not in response",
        "('<b>one</b>', 'one')",
    ),
}


@pytest.mark.parametrize(("method", "call"), OF_LIBRARIES.values(), ids=OF_LIBRARIES.keys())
def test_what_assertions_of_test_libraries_expect_is_altered(method: str, call: str, tmp_path: Path) -> None:
    head, body = method.split(": ")
    made = f"class Made:\n    def {head}:\n        {body}\n        if wrong: raise AssertionError\n"
    tests = f"{made}class T(unittest.TestCase):\n    def test_it(self):\n"
    source = MODULE.format(tests=f"{tests}        Made().{method.partition('(')[0]}{call}\n")
    assert failing_in(TRUE, source, tmp_path) == set()
    assert failing_in(RIGHT, source, tmp_path) == {"test_it"}


def test_failures_under_pytest_are_told_in_one_line(tmp_path: Path) -> None:
    source = "def test_it():\n    told = 'a long story'\n    assert 1 == 1\n"
    path, secret = tmp_path / "test_source.py", str(tmp_path / "secret")
    made = mix(source, {"test_it": [Copy("", 1, RIGHT)]}, nonce=NONCE, secret_path=secret)
    path.write_text(made.source)
    Path(secret).write_text(made.secret)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", "-rA", path.name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert "FAILED test_source.py::test_it" in done.stdout, done.stdout + done.stderr
    assert "a long story" not in done.stdout


def test_tests_that_are_not_copied_may_be_left_out(tmp_path: Path) -> None:
    tests = "class T(unittest.TestCase):\n    def test_a(self):\n        self.check(1)\n    def test_b(self): pass\n"
    source = MODULE.format(tests=f"{tests}class Other(T):\n    def test_c(self): self.test_b()\ndef test_d(): pass\n")
    made = mix(source, {"test_a": [Copy("", 1, TRUE)]}, nonce=NONCE, secret_path="secret", alone=True)
    assert set(named_tests(made.source)) == {"test_a", "test_b"}  # one of them is called by another test


@pytest.mark.parametrize(
    "text",
    ["self.assertAlmostEqual(103, 100, delta=5)", "assert 103 == pytest.approx(100, abs=5)"],
)
def test_a_false_value_lies_beyond_a_tolerance(text: str, tmp_path: Path) -> None:
    source = MODULE.format(
        tests=f"import pytest\nclass T(unittest.TestCase):\n    def test_it(self):\n        {text}\n"
    )
    for form in FALSE:
        assert failing_in(form, source, tmp_path) == {"test_it"}
    assert failing_in(TRUE, source, tmp_path) == set()


def test_an_exception_of_several_classes_is_not_of_another_one(tmp_path: Path) -> None:
    tests = "class E(KeyError, IndexError, ValueError): pass\nclass T(unittest.TestCase):\n"
    tests += "    def test_it(self):\n        def fail(): raise E\n        with self.assertRaises(KeyError): fail()\n"
    for form in FALSE:
        assert failing_in(form, MODULE.format(tests=tests), tmp_path) == {"test_it"}


def test_built_ins_that_are_taken_away_break_true_and_false_copies_alike(tmp_path: Path) -> None:
    tests = (
        "class T(unittest.TestCase):\n    def test_it(self):\n        import builtins\n        saved = builtins.bytes\n"
    )
    tests += "        del builtins.bytes\n        try:\n            self.assertEqual('a', 'a')\n        finally:\n"
    source = MODULE.format(tests=f"{tests}            builtins.bytes = saved\n")
    assert failing_in(TRUE, source, tmp_path) == set()
    assert failing_in(RIGHT, source, tmp_path) == {"test_it"}


def test_copies_stand_side_by_side_and_others_stay_as_they_are(tmp_path: Path) -> None:
    tests = "class T(unittest.TestCase):\n    def test_a(self):\n        assert 1 == 1\n    def test_b(self):\n" + (
        '        """It is b."""\n        assert 1 == 1\n'
    )
    source = MODULE.format(tests=tests)
    assert named_tests(source) == {"test_a": {"test_a"}, "test_b": {"test_b", "It is b."}}
    copies = [Copy("", 1, RIGHT), Copy("one", 2, TRUE), Copy("two", 3, LEFT)]
    made = mix(source, {"test_b": copies}, nonce=NONCE, secret_path=str(tmp_path / "secret"))
    (tmp_path / "secret").write_text(made.secret)
    assert failing(made.source, tmp_path, count=4) == {"test_b", "test_b_two"}
    assert "It is b. one" in made.source


def test_tests_are_known_by_their_function_and_by_the_first_line_of_what_documents_them() -> None:
    source = 'class T:\n    def test_a(self):\n        """\n        It is\n        so.\n        """\n'
    assert named_tests(source) == {"test_a": {"test_a", "It is"}}
    assert named_tests("async def test_b():\n    assert await x() == 1\n") == {"test_b": {"test_b"}}
    assert named_tests("def helper():\n    def test_inner(): pass\n") == {}


@pytest.mark.parametrize(
    ("test", "name", "copy"),
    [
        ("tests/test_a.py::TestA::test_b[1-a.b::c]", "test_b", "tests/test_a.py::TestA::test_b_xy[1-a.b::c]"),
        ("tests/test_a.py::test_b", "test_b", "tests/test_a.py::test_b_xy"),
        ("tests.test_money.TestMoney.test_sum", "test_sum", "tests.test_money.TestMoney.test_sum_xy"),
        ("test_f (delete.tests.FastDeleteTests)", "test_f", "test_f_xy (delete.tests.FastDeleteTests)"),
        ("test_f (delete.tests.T.test_f)", "test_f", "test_f_xy (delete.tests.T.test_f_xy)"),
        ("test_immutable", "test_immutable", "test_immutable_xy"),
        ("Deleting an instance sets its pk.", "", "Deleting an instance sets its pk. xy"),
    ],
)
def test_the_function_in_an_id_and_the_id_of_a_copy(test: str, name: str, copy: str) -> None:
    assert function_of(test) == name
    assert renamed(test, "xy") == copy
    assert renamed(test, "") == test


def test_an_asynchronous_and_a_parametrised_test_fail(tmp_path: Path) -> None:
    source = (
        "import pytest\n\n@pytest.mark.parametrize('n', [1, 2])\ndef test_n(n):\n    assert n == n\n\n\n"
        "class TestIt:\n    async def test_later(self):\n        assert 1 == 1\n\n"
        "    def test_runs_it(self):\n        with pytest.raises(StopIteration):\n"
        "            self.test_later().send(None)\n"
        "    def test_approximately(self):\n        assert 0.1 + 0.2 == pytest.approx(0.3)\n"
    )
    path = tmp_path / "test_it.py"
    copies = {name: [Copy("", i, RIGHT)] for i, name in enumerate(("test_n", "test_later", "test_approximately"))}
    made = mix(source, copies, hidden=frozenset(copies), nonce=NONCE, secret_path=str(tmp_path / "secret"))
    path.write_text(made.source)
    (tmp_path / "secret").write_text(made.secret)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "-k", "not later"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert "4 failed" in done.stdout, done.stdout
    assert made.source.count("async def") == 1


def test_what_is_asserted_while_a_module_is_imported_is_left_alone() -> None:
    source = "assert 1 == 1\nif True:\n    assert 2\n"
    assert mix(source, {}, nonce=NONCE, secret_path="s").source.endswith(source)


def test_an_empty_file_stays_a_module() -> None:
    made = mix("", {}, nonce=NONCE, secret_path="s")
    compile(made.source, "empty", "exec")


@pytest.mark.parametrize("source", ["print 'a'\n", "def test_(:\n", "\x00", "{% if x %}\n"])
def test_what_is_no_python_is_refused(source: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        named_tests(source)
    with pytest.raises((SyntaxError, ValueError)):
        mix(source, {}, nonce=NONCE, secret_path="s")
