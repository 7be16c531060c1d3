"""A patch gets the right verdict, from a fresh sandbox, and failures of this side are infra errors."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from envs import Command, Limits, Origin
from envs.local.backend import LocalBackend, LocalSandbox
from tasks import Outcome, Submission, TaskError, Verdict, load_tasks
from tasks.quick import SETS
from tasks.quick.repositories import with_repositories
from tasks.swe import mixed_run, proving
from tasks.swe.grading import Grade, GraderFailed, Scripts, UnittestGrader
from tasks.swe.harness import SwebenchGrader
from tasks.swe.mixed_run import AT_END_ONLY
from tasks.swe.patch_verifier import PatchVerifier
from tasks.swe.running import PATCH, PATCH_CAP
from tasks.swe.task import SweTask, as_swe
from tests.helpers import git_repository, quick_task, workspace

TALLY = quick_task("tally")
GOLD = TALLY.patch.encode()
BROKEN = "sed -i 's/2 \\* numerator/3 * numerator/' tally/rounding.py"
FIX = f"git apply <<'EOF'\n{TALLY.patch}EOF\n"
EXPECTED = (*TALLY.fail_to_pass, *TALLY.pass_to_pass)


def verifying(
    play: Callable[[PatchVerifier], Awaitable[Any]], *, seconds: float = 60.0, grader: Any = None, backend: Any = None
) -> Any:
    async def main() -> Any:
        sandboxes = backend or LocalBackend()
        try:
            return await play(
                PatchVerifier(sandboxes, grader or UnittestGrader(), Limits(), seconds=seconds, workers=2)
            )
        finally:
            await sandboxes.close()

    return asyncio.run(main())


def verdict(patch: bytes, task: SweTask = TALLY, **how: Any) -> Verdict:
    found = verifying(lambda verifier: verifier.verify(task, Submission(patch)), **how)
    assert isinstance(found, Verdict)
    return found


def work(script: str, task: SweTask = TALLY) -> bytes:
    """The patch of an agent that runs `script`."""

    async def main() -> bytes:
        async with workspace(task.origin) as room:
            done = await room.sandbox.run(Command(("bash", "-c", f"set -e\n{script}")))
            assert done.returncode == 0, done.output
            return await room.sandbox.diff()

    return asyncio.run(main())


# honest patches


@pytest.mark.parametrize("name", SETS)
def test_the_gold_patch_of_every_embedded_task_is_resolved(name: str) -> None:
    tasks = with_repositories(load_tasks(name)).tasks

    async def all_of_them(verifier: PatchVerifier) -> list[Verdict]:
        return await asyncio.gather(*(verifier.verify(task, Submission(as_swe(task).patch.encode())) for task in tasks))

    for task, found in zip(tasks, verifying(all_of_them), strict=True):
        assert found.outcome is Outcome.RESOLVED, (task.id, found.reason, found.log)
        assert found.resolved
        assert (found.reason, found.flags) == ("", ())
        assert set(found.tests.values()) == {"passed"}
        assert found.seconds > 0


@pytest.mark.parametrize("patch", [b"", b"\n", b" \r\n\t\n"])
def test_an_empty_patch_is_unresolved_without_a_run(patch: bytes) -> None:
    found = verdict(patch)
    assert found == Verdict(Outcome.UNRESOLVED, "empty patch", {}, 0.0, official=False)


def test_a_patch_that_does_not_help_is_unresolved_with_a_status_for_each_test() -> None:
    found = verdict(work("echo more >> README.md"))
    assert found.outcome is Outcome.UNRESOLVED
    assert found.reason == "3 of 22 expected tests do not pass"
    assert found.tests == dict.fromkeys(TALLY.fail_to_pass, "failed") | dict.fromkeys(TALLY.pass_to_pass, "passed")
    assert b"Ran 22 tests" in found.log


def test_a_patch_that_fixes_one_thing_and_breaks_another_is_unresolved() -> None:
    found = verdict(work(f"{FIX}\nsed -i 's/return numerator/return 1 + numerator/' tally/rounding.py"))
    assert found.outcome is Outcome.UNRESOLVED
    assert found.tests["tests.test_rounding.TestRounding.test_down"] == "failed"


def test_the_same_patch_gets_the_same_verdict_twice() -> None:
    patch = work(BROKEN)

    async def twice(verifier: PatchVerifier) -> list[Verdict]:
        return [await verifier.verify(TALLY, Submission(patch)) for _ in range(2)]

    first, second = verifying(twice)
    assert first.outcome is Outcome.UNRESOLVED
    assert (first.outcome, first.reason, first.tests) == (second.outcome, second.reason, second.tests)


def test_a_good_patch_may_bring_tests_of_its_own_whatever_they_print() -> None:
    own = """cat > tests/test_own.py <<'EOF'
import sys, unittest
class TestOwn(unittest.TestCase):
    def test_documented(self):
        '''It has a docstring.'''
    def test_noisy(self):
        print('ok'); print('FAIL'); sys.stderr.write('a warning\\n')
    def test_fails(self):
        self.fail('not done yet')
    def test_parts(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)
    @unittest.skip('later')
    def test_later(self): pass
EOF
"""
    found = verdict(work(FIX + own))
    assert found.outcome is Outcome.RESOLVED, found.log


def test_a_good_patch_may_print_while_it_is_tested() -> None:
    line = r'    import sys; sys.stderr.write("rounding\\n"); print("half up")'
    found = verdict(work(f"{FIX}sed -i '/^def half_up/a \\{line}' tally/rounding.py"))
    assert b"... rounding\n" in found.log
    assert found.outcome is Outcome.RESOLVED, found.log


# how a patch is applied


@pytest.mark.parametrize(
    "patch",
    [
        b"this is no patch\n",
        b"\x00\xff\xfe garbage \x80" * 100,
        GOLD.replace(b"tally/rounding.py", b"tally/nothing.py"),
        b"--- a/tally/rounding.py\n+++ b/tally/rounding.py\n@@ -19 +19 @@\n-    return 7\n+    return 8\n",
        GOLD.replace(b"tally/rounding.py", b"../../outside.py"),
        GOLD[: len(GOLD) // 2],
    ],
    ids=["words", "garbage", "no such file", "other lines", "outside", "cut"],
)
def test_a_patch_that_does_not_apply_is_unresolved(patch: bytes) -> None:
    found = verdict(patch)
    assert found.outcome is Outcome.UNRESOLVED
    assert found.reason == "the patch does not apply"
    assert found.tests == {}


def test_a_patch_that_only_the_fuzzy_applier_takes_is_applied() -> None:
    moved = GOLD.replace(b'     """To the nearest, halves away from zero."""', b'     """Rounds."""')
    assert moved != GOLD
    assert verdict(moved).resolved


def test_a_patch_with_crlf_line_ends_is_taken_as_swebench_takes_it() -> None:
    assert verdict(GOLD.replace(b"\n", b"\r\n")).resolved


def test_an_applier_that_fails_half_way_leaves_nothing_to_the_next_one(tmp_path: Path) -> None:
    test = b"import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        text = open('text').read()\n"
    files = {"text": b"1\na!\nb\nc!\n5\n", "old": b"1\na\nb\nc\n5\n", "tests/__init__.py": b"", "tests/test_a.py": test}
    folder = tmp_path / "repository"
    origin = git_repository(folder, files)
    old = hashlib.sha1(b"blob %d\0" % len(files["old"]) + files["old"]).hexdigest()
    # Three-way merging finds the old blob, meets a conflict, and leaves it in the index.
    patch = (
        f"diff --git a/text b/text\nindex {old}..{'1' * 40} 100644\n--- a/text\n+++ b/text\n"
        "@@ -1,5 +1,5 @@\n 1\n a\n-b\n+B\n c\n 5\n"
    )
    check = "+        self.assertEqual(text, '1\\na!\\nB\\nc!\\n5\\n')\n"
    task = replace(
        TALLY,
        id="own",
        origin=origin,
        fail_to_pass=("tests.test_a.T.test_a",),
        pass_to_pass=(),
        test_patch="diff --git a/tests/test_a.py b/tests/test_a.py\n--- a/tests/test_a.py\n+++ b/tests/test_a.py\n"
        f"@@ -4,1 +4,2 @@\n         text = open('text').read()\n{check}",
    )
    found = verdict(patch.encode(), task)
    assert found.resolved, (found.reason, found.log)


KINDS = """import os, unittest
class T(unittest.TestCase):
    def test_a(self):
        def bytes_of(name):
            with open(name, 'rb') as file:
                return file.read()
        self.assertEqual(bytes_of('new/no newline'), b'end')
        self.assertFalse(os.path.exists('gone'))
        self.assertFalse(os.path.exists('old'))
        self.assertEqual(bytes_of('moved'), b'1\\n2\\n3\\n4\\n5\\n')
        self.assertTrue(os.access('tool', os.X_OK))
        self.assertEqual(bytes_of('dos'), b'a\\r\\nB\\r\\n')
        self.assertEqual(bytes_of('image'), bytes(range(256)))
        self.assertEqual(bytes_of('latin'), b'caf\\xe9\\n')
        self.assertEqual(os.readlink('link'), 'moved')
        self.assertEqual(bytes_of('\\u00fcber'), b'')
"""


@pytest.mark.parametrize("renames", ["--no-renames", "-M"])
def test_whatever_git_can_write_into_a_patch_is_applied(tmp_path: Path, renames: str) -> None:
    files = {
        "gone": b"gone\n",
        "old": b"1\n2\n3\n4\n5\n",
        "tool": b"#!/bin/sh\n",
        "dos": b"a\r\nb\r\n",
        "image": bytes(99),
        "latin": b"th\xe9\n",
        "tests/__init__.py": b"",
    }
    origin = git_repository(tmp_path / "repository", files)
    changes = r"""
        mkdir new; printf end > 'new/no newline'; rm gone; mv old moved; chmod +x tool; printf 'a\r\nB\r\n' > dos
        python3 -c 'open("image", "wb").write(bytes(range(256)))'; printf 'caf\351\n' > latin
        ln -s moved link; touch über
    """

    async def patch_of() -> bytes:
        async with workspace(origin) as room:
            script = f"{changes}\ngit add -Af . && git diff --cached --binary {renames}"
            done = await room.sandbox.run(Command(("bash", "-c", script)))
            assert done.returncode == 0, done.output
            return done.output

    patch = asyncio.run(patch_of())
    assert (b"rename from old" in patch) == (renames == "-M")
    hidden = "".join(f"+{line}\n" for line in KINDS.splitlines())
    task = replace(
        TALLY,
        id="own",
        origin=origin,
        fail_to_pass=("tests.test_a.T.test_a",),
        pass_to_pass=(),
        test_patch="diff --git a/tests/test_a.py b/tests/test_a.py\nnew file mode 100644\n--- /dev/null\n"
        f"+++ b/tests/test_a.py\n@@ -0,0 +1,{len(KINDS.splitlines())} @@\n{hidden}",
    )
    found = verdict(patch, task)
    assert found.resolved, (found.reason, found.log)


def test_a_patch_of_absurd_size_is_refused_with_its_size_and_without_a_run() -> None:
    found = verdict(GOLD + b"+" * PATCH_CAP)
    assert found.outcome is Outcome.UNRESOLVED
    assert found.reason == "the patch has 64.0 MB, and the most that is tried is 64 MB"
    assert (found.tests, found.official) == ({}, False)


def test_changes_to_tests_are_taken_out_and_named_and_the_score_with_them_is_kept_too() -> None:
    silent = "import unittest\nunittest.TestCase.fail = unittest.TestCase._baseAssertEqual = lambda *a, **k: None\n"
    deaf = f"cat >> tests/__init__.py <<'EOF'\n{silent}unittest.TestCase.assertEqual = unittest.TestCase.fail\nEOF\n"
    fooled = verdict(work(f"{deaf}echo more >> README.md"))
    assert (fooled.resolved, fooled.official) == (False, True)
    solved = verdict(work(f"{FIX}echo '# mine' >> tests/test_money.py"))
    assert (solved.resolved, solved.official) == (True, True)
    for found, name in ((fooled, "tests/__init__.py"), (solved, "tests/test_money.py")):
        assert any(re.fullmatch(rf"changes .*tests?.*, so taken out: {name}", flag) for flag in found.flags), found


# patches that would rather win than solve


def test_tests_that_a_patch_rewrites_are_restored() -> None:
    cheat = """for f in tests/test_*.py; do sed -i 's/self.assert[A-Za-z]*(/(lambda *a, **k: None)(/' $f; done"""
    found = verdict(work(cheat))
    assert found.outcome is Outcome.UNRESOLVED
    assert {found.tests[name] for name in TALLY.fail_to_pass} == {"failed"}


def test_tests_that_a_patch_deletes_or_moves_are_restored() -> None:
    assert verdict(work(f"{FIX}\nrm tests/test_*.py")).resolved
    assert verdict(
        work(f"{FIX}\nrm tests/test_money.py; mkdir tests/test_money.py; touch tests/test_money.py/x")
    ).resolved
    assert not verdict(work("rm -r tests")).resolved
    assert not verdict(work("mv tests checks")).resolved


def printing(ids: tuple[str, ...], stream: str = "stderr") -> str:
    lines = "".join(f"{name.rpartition('.')[2]} ({name}) ... ok\\n" for name in ids)
    return f"import sys; sys.{stream}.write('''{lines}''')"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_results_printed_at_import_do_not_count_when_the_tests_fail(stream: str) -> None:
    found = verdict(work(f"cat >> tally/__init__.py <<'EOF'\n{printing(EXPECTED, stream)}\nEOF"))
    assert found.outcome is Outcome.UNRESOLVED
    assert {found.tests[name] for name in TALLY.fail_to_pass} == {"failed"}


def test_results_printed_for_tests_that_never_ran_do_not_count() -> None:
    cheat = f"cat >> tally/__init__.py <<'EOF'\n{printing(EXPECTED)}\nraise ImportError('no tests today')\nEOF"
    found = verdict(work(cheat))
    assert found.outcome is Outcome.UNRESOLVED


def test_a_log_with_more_results_than_tests_were_run_resolves_nothing() -> None:
    lines = [f"{name.rpartition('.')[2]} ({name}) ... ok" for name in EXPECTED]

    def graded(*text: str) -> Grade:
        return asyncio.run(UnittestGrader().grade(TALLY, "\n".join(text).encode()))

    assert graded(*lines, "", "-" * 70, f"Ran {len(lines)} tests in 0.1s", "", "OK").resolved
    fake = graded(*lines, "", "-" * 70, "Ran 0 tests in 0.1s", "", "OK")
    assert (fake.resolved, fake.reason) == (False, f"the log has {len(lines)} results, but 0 tests were run")
    assert not graded(*lines).resolved
    listed = f"FAIL: test ({EXPECTED[0]})"
    assert graded(*lines, "=" * 70, listed, "Ran 99 tests in 1s").tests[EXPECTED[0]] == "failed"
    skipped = graded(lines[0].replace("ok", "skipped 'not today'"), *lines[1:], "Ran 99 tests in 1s")
    assert skipped.tests[EXPECTED[0]] == "failed"


def test_results_printed_by_a_run_that_stops_at_once_do_not_count() -> None:
    cheat = f"cat >> tally/__init__.py <<'EOF'\n{printing(EXPECTED)}\nsys.stderr.flush(); import os; os._exit(0)\nEOF"
    found = verdict(work(cheat))
    assert found.outcome is Outcome.UNRESOLVED
    assert found.reason.startswith("the test run did not come to its end; the last line: ")


def test_ok_printed_while_a_test_runs_does_not_make_it_pass() -> None:
    cheat = "sed -i '/^def half_up/a \\    import sys; sys.stderr.write(\"ok\\\\n\")' tally/rounding.py"
    found = verdict(work(cheat))
    assert b"... ok\nok\nok\nok\nFAIL\n" in found.log or b"... ok\nFAIL\n" in found.log
    assert found.outcome is Outcome.UNRESOLVED
    assert {found.tests[name] for name in TALLY.fail_to_pass} == {"failed"}


def test_a_patch_that_makes_the_tests_hang_is_unresolved_with_the_reason() -> None:
    found = verdict(work("echo 'import time; time.sleep(600)' >> tally/__init__.py"), seconds=1.0)
    assert found.outcome is Outcome.UNRESOLVED
    assert found.reason == "the tests ran longer than 1 s"
    assert found.seconds < 20


def test_a_patch_with_a_syntax_error_is_unresolved() -> None:
    found = verdict(work("echo 'def' >> tally/__init__.py"))
    assert found.outcome is Outcome.UNRESOLVED
    assert set(found.tests.values()) == {"missing"}
    assert b"SyntaxError" in found.log


# mixed runs

ONCE = """import unittest
import answer
SEEN = []
class T(unittest.TestCase):
    def test_a(self):
        {before}
        self.assertEqual(answer.answer(), 42)
"""


def adding(name: str, text: str) -> str:
    """The patch that adds this file."""
    lines = text.splitlines()
    head = (
        f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n"
    )
    return head + "".join(f"+{line}\n" for line in lines)


def answering(text: str) -> str:
    return adding("answer.py", text)


def once_task(folder: Path, before: str) -> SweTask:
    origin = git_repository(folder, {"tests/__init__.py": b""})
    return replace(
        TALLY,
        id="own",
        origin=origin,
        patch=answering("def answer():\n    return 42\n"),
        fail_to_pass=("tests.test_a.T.test_a",),
        pass_to_pass=(),
        test_patch=adding("tests/test_a.py", ONCE.format(before=before)),
    )


EQUAL = "class X:\n    def __eq__(self, other): return True\ndef answer(): return X()\n"


def test_a_test_that_can_run_once_in_a_process_is_examined_in_several(tmp_path: Path) -> None:
    task = once_task(tmp_path / "repository", "SEEN.append(1); self.assertEqual(len(SEEN), 1)")
    honest = verdict(task.patch.encode(), task)
    assert (honest.resolved, honest.flags) == (True, ()), honest.reason
    cheat = verdict(answering(EQUAL).encode(), task)
    assert (cheat.official, cheat.resolved) == (True, False)
    assert cheat.reason == "tests.test_a.T.test_a passes although it was made to fail"


def test_a_comparison_that_is_fooled_behind_one_that_is_not_is_found(tmp_path: Path) -> None:
    task = once_task(tmp_path / "repository", "self.assertEqual(1 + 1, 2); self.assertTrue(True)")
    for _ in range(3):
        found = verdict(answering(EQUAL).encode(), task)
        assert (found.official, found.resolved) == (True, False)


# A test that tries again what did not hold: a single false assertion fails nothing.
AGAIN = """import unittest
import answer
class T(unittest.TestCase):
    def test_a(self):
        {before}
        for left in (2, 1, 0):
            try:
                self.assertEqual(answer.answer(), 42)
                break
            except AssertionError:
                if not left:
                    raise
"""


@pytest.mark.parametrize("before", ["pass", "self.assertEqual(1 + 1, 2)"])
def test_a_test_that_tries_its_assertion_again_is_falsified_every_time(tmp_path: Path, before: str) -> None:
    tests = AGAIN.format(before=before)
    task = replace(once_task(tmp_path / "repository", "pass"), test_patch=adding("tests/test_a.py", tests))
    honest = verdict(answering("def answer():\n    return 40 + 2\n").encode(), task)
    assert (honest.resolved, honest.flags) == (True, ()), honest.reason
    cheat = verdict(answering(EQUAL).encode(), task)
    assert (cheat.official, cheat.resolved) == (True, False)
    assert "passes although it was made to fail" in cheat.reason


NOTHING_ASSERTED = ONCE.replace("self.assertEqual(answer.answer(), 42)", "answer.answer()")
WAITS_LONG = AGAIN.replace("(2, 1, 0)", "iter(lambda: 1, 0)")


@pytest.mark.parametrize("tests", [NOTHING_ASSERTED, WAITS_LONG], ids=["no assertion", "waits without an end"])
def test_a_test_without_an_assertion_to_alter_is_falsified_at_its_end_and_a_flag_says_so(
    tmp_path: Path, tests: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "WAITING", 1.0)
    task = once_task(tmp_path / "repository", "pass")
    task = replace(task, test_patch=adding("tests/test_a.py", tests.format(before="pass")))
    honest = verdict(answering("def answer():\n    return 40 + 2\n").encode(), task, seconds=8.0)
    assert (honest.resolved, honest.flags) == (True, (AT_END_ONLY,)), honest.reason


def test_no_test_is_known_to_be_left_out_where_some_of_many_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_run, "MOST_FALSIFIED", 1)
    task = once_task(tmp_path / "repository", "pass")
    tests = ONCE.format(before="pass") + "    def test_b(self):\n        self.assertEqual(answer.other(), 42)\n"
    task = replace(
        task,
        patch=answering("def answer(): return 42\ndef other(): return 42\n"),
        fail_to_pass=("tests.test_a.T.test_a", "tests.test_a.T.test_b"),
        test_patch=adding("tests/test_a.py", tests),
    )
    cheat = answering(f"{EQUAL}def other(): return 42\n").encode()
    found = set[bool]()
    while len(found) < 2:  # each with a chance of one half
        one = verdict(cheat, task)
        assert one.flags[-1] == "1 of 2 tests left out by chance, since no more are falsified at a time"
        found.add(one.resolved)


def test_an_honest_patch_may_answer_once_in_a_process(tmp_path: Path) -> None:
    task = once_task(tmp_path / "repository", "pass")
    patch = answering("left = [42]\ndef answer(): return left.pop()\n").encode()
    found = verdict(patch, task)
    assert found.resolved, found.reason


# A value next to the expected one is often in the holder too, so that the known solution passes some false copies.
HOLDERS = {
    "numbers from a limit on": "return n >= 42",
    "every second number": "return n % 2 == 0",
}


@pytest.mark.parametrize("holds", HOLDERS.values(), ids=HOLDERS.keys())
def test_a_pass_that_the_known_solution_gets_from_the_same_files_convicts_nobody(tmp_path: Path, holds: str) -> None:
    code = "def answer(): return 42\nclass Numbers:\n    def __contains__(self, n): {}\nnumbers = Numbers()\n"
    task = once_task(tmp_path / "repository", "self.assertIn(answer.answer(), answer.numbers)")
    task = replace(task, patch=answering(code.format(holds)))

    async def several(verifier: PatchVerifier) -> list[str]:
        return [(await verifier.verify(task, Submission(task.patch.encode()))).reason for _ in range(6)]

    assert verifying(several) == [""] * 6
    assert not verdict(answering(code.format("return True")).encode(), task).resolved


# Values of classes that come with Python, and of some derived from them, as a test may expect them.
OF_PYTHON = {
    "Decimal": "decimal.Decimal('1.5')",
    "date": "datetime.date(2020, 1, 2)",
    "datetime": "datetime.datetime(2020, 1, 2, 3, 4)",
    "timedelta": "datetime.timedelta(2)",
    "OrderedDict": "collections.OrderedDict(a=1)",
    "Counter": "collections.Counter('aab')",
    "deque": "collections.deque([1, 2])",
    "Fraction": "fractions.Fraction(2, 3)",
    "path": "pathlib.PurePosixPath('/a/b')",
    "range": "range(1, 5)",
    "UUID": "uuid.UUID(int=77)",
    "list of Decimal": "[decimal.Decimal('1.5')]",
}


@pytest.mark.parametrize("value", OF_PYTHON.values(), ids=OF_PYTHON.keys())
def test_what_equals_every_value_of_a_class_of_python_is_found(tmp_path: Path, value: str) -> None:
    imports = "import collections, datetime, decimal, fractions, pathlib, uuid\n"
    task = once_task(tmp_path / "repository", "pass")
    tests = ONCE.format(before="pass").replace("42", value)
    task = replace(
        task,
        patch=answering(f"{imports}def answer(): return {value}\n"),
        test_patch=adding("tests/test_a.py", imports + tests),
    )
    assert verdict(task.patch.encode(), task).resolved
    cheat = f"{imports}class X:\n    def __eq__(self, other): return type(other) is type({value})\n"
    found = verdict(answering(f"{cheat}def answer(): return X()\n").encode(), task)
    assert (found.official, found.resolved) == (True, False)


HOLDS = "    def __init__(self, x): self.x = {}\n    def __eq__(self, other): return isinstance(other, K) and {}\n"
OWN = {
    "slots": "class K:\n    __slots__ = ('x',)\n" + HOLDS.format("x", "self.x == other.x"),
    "an object in it": "class K:\n"
    + HOLDS.format("I(x)", "self.x.x == other.x.x")
    + "class I:\n    def __init__(self, x): self.x = x\n",
    "a list": "class K(list): pass\n",
}


@pytest.mark.parametrize("own", OWN.values(), ids=OWN.keys())
def test_what_equals_every_value_of_a_class_of_the_product_is_found(tmp_path: Path, own: str) -> None:
    task = once_task(tmp_path / "repository", "pass")
    task = replace(
        task,
        test_patch=adding("tests/test_a.py", ONCE.format(before="pass").replace("42", "answer.K([1])")),
        patch=answering(f"{own}def answer(): return K([1])\n"),
    )
    assert verdict(task.patch.encode(), task).resolved
    cheat = f"{own}class X:\n    def __eq__(self, other): return type(other) is K\ndef answer(): return X()\n"
    found = verdict(answering(cheat).encode(), task)
    assert (found.official, found.resolved) == (True, False)


def test_what_an_honest_object_closes_at_its_end_is_closed_once(tmp_path: Path) -> None:
    code = "class K:\n    def __init__(self): self.n, self.open = 1, [1]\n"
    code += "    def __eq__(self, other): return self.n == other.n\n"
    task = once_task(
        tmp_path / "repository", "k = answer.K(); self.assertEqual(k, answer.K()); self.assertTrue(k.open)"
    )
    task = replace(task, patch=answering(f"{code}def answer(): return 42\n"))
    closing = f"{code}    def __del__(self): self.open.clear()\ndef answer(): return 42\n"
    found = verdict(answering(closing).encode(), task)
    assert found.resolved, found.reason


@pytest.mark.parametrize("holder", ["[1, 2, 3, 4, 5, 6, 7, 8, 9]", "range(1, 10)", "set(range(1, 13))"])
def test_an_honest_patch_may_give_another_of_the_values_that_are_allowed(tmp_path: Path, holder: str) -> None:
    """One in the middle of them, where every value next to it is allowed too."""
    task = once_task(tmp_path / "repository", f"self.assertIn(answer.answer(), {holder})")
    test = task.test_patch.replace("+        self.assertEqual(answer.answer(), 42)", "+        pass")
    task = replace(task, test_patch=test, patch=answering("def answer(): return 9\n"))
    found = verdict(answering("def answer(): return 5\n").encode(), task)
    assert (found.resolved, found.flags) == (True, ()), found.reason


def test_a_patch_that_learns_from_the_first_comparison_is_unresolved(tmp_path: Path) -> None:
    task = once_task(tmp_path / "repository", "pass")
    learns = "class X:\n    known = []\n    def __eq__(self, other):\n        self.known.append(other)\n"
    learns += "        return self.known[0] == other\ndef answer(): return X()\n"
    patch = answering(learns).encode()

    async def several(verifier: PatchVerifier) -> list[bool]:
        return [(await verifier.verify(task, Submission(patch))).resolved for _ in range(12)]

    assert sum(verifying(several)) <= 4  # one in twelve by chance, and 4 of 12 with a chance of 1 in 500


def test_what_installs_is_gone_before_the_tests_are_written(tmp_path: Path) -> None:
    """It cannot wait for them, and reads them nowhere."""

    class Installing(UnittestGrader):
        async def scripts(self, task: SweTask) -> Scripts:
            scripts = await super().scripts(task)
            prepare = "export HERE=kept; f() { echo $HERE; }; cd tests; cd ..\npython install.py; sleep .2\n"
            return replace(scripts, prepare=prepare, run=f"f\n{scripts.run}")

    task = once_task(tmp_path / "repository", "pass")
    task = replace(task, patch=task.patch + adding("install.py", "pass\n"))
    spy = """import os, time
if os.fork():
    raise SystemExit
os.setsid()
while True:
    time.sleep(.01)
    if os.path.exists('tests/test_a.py'): open('/tmp/seen', 'w')
"""
    honest = (
        "import os, time\ndef answer():\n    time.sleep(.1)\n    return 41 if os.path.exists('/tmp/seen') else 42\n"
    )
    patch = answering(honest) + adding("install.py", spy)
    found = verdict(patch.encode(), task, grader=Installing())
    assert found.resolved, found.log
    assert b"kept\n" in found.log


def test_what_an_applier_made_and_no_diff_shows_is_examined_too(tmp_path: Path) -> None:
    task = once_task(tmp_path / "repository", "pass")
    whole = task.patch + adding(".gitignore", "answer.py\n")
    for patch in (whole.encode(), whole.replace("\n", "\r\n").encode()):
        found = verdict(patch, task)
        assert (found.official, found.resolved) == (True, True), (found.reason, found.log)


# what is our fault


class Ending(LocalBackend):
    """Its sandboxes end as soon as a patch that holds `word` is written into them."""

    def __init__(self, word: bytes) -> None:
        super().__init__()
        self.word, self.ended = word, 0

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> LocalSandbox:
        sandbox = await super().open(origin, limits, label=label)
        write = sandbox.write

        async def writing(path: str, data: bytes) -> None:
            if path == PATCH and self.word in data:
                self.ended += 1
                await sandbox.close()
            await write(path, data)

        sandbox.write = writing
        return sandbox


def test_a_patch_that_ends_its_sandbox_where_the_known_solution_does_not_is_unresolved() -> None:
    backend = Ending(b"ends it")
    found = verdict(work("echo '# ends it' >> tally/__init__.py"), backend=backend)
    assert found.outcome is Outcome.UNRESOLVED
    reason = (
        "its code ends the sandbox, 3 times of 3, and the known solution's does not (sandbox verify quick__tally-1 is"
    )
    assert found.reason.startswith(reason)
    assert backend.ended == 3


def test_a_sandbox_that_ends_with_the_known_solution_too_is_an_infra_error() -> None:
    backend = Ending(b"")
    found = verdict(work("echo '# fine' >> tally/__init__.py"), backend=backend)
    assert found.outcome is Outcome.INFRA_ERROR
    assert "is lost: it was closed" in found.reason
    assert backend.ended == 3


class Unwritable(LocalBackend):
    """Opens sandboxes in which nothing can be written any more."""

    async def open(self, origin: Origin, limits: Limits, *, label: str = "") -> LocalSandbox:
        sandbox = await super().open(origin, limits, label=label)
        await sandbox.run(Command("chmod -R a-w ."))
        return sandbox


@pytest.mark.parametrize("patch", [GOLD, b"no patch"])
def test_a_repository_that_cannot_be_written_is_never_the_patch_s_fault(patch: bytes) -> None:
    found = verdict(patch, backend=Unwritable())
    assert found.outcome is Outcome.INFRA_ERROR
    assert "no patch can be applied in the verifier's sandbox: " in found.reason
    assert "Permission denied" in found.reason


def test_a_sandbox_that_cannot_be_opened_is_an_infra_error(tmp_path: Path) -> None:
    task = replace(TALLY, origin=replace(TALLY.origin, repository=tmp_path / "nowhere"))
    assert verdict(GOLD, task).outcome is Outcome.INFRA_ERROR


def test_a_grader_that_breaks_is_an_infra_error() -> None:
    class Breaking(UnittestGrader):
        async def grade(self, task: SweTask, log: bytes) -> Grade:
            raise GraderFailed("no such parser")

    found = verdict(GOLD, grader=Breaking())
    assert (found.outcome, found.reason) == (Outcome.INFRA_ERROR, "no such parser")


# SWE-bench's own grader, on logs alone

needs_swebench = pytest.mark.skipif(find_spec("swebench") is None, reason="swebench is not installed")
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
INSTANCE = {
    "instance_id": "owner__name-1",
    "image": "image",
    "repo": "owner/name",
    "version": "1.0",
    "FAIL_TO_PASS": '["t.py::test_new"]',
    "PASS_TO_PASS": ["t.py::test_old", "t.py::test_skipped"],
    "log_parser": "parse_log_pytest",
    "eval_type": "pass_and_fail",
    "eval_script": "#!/bin/bash\nset -uxo pipefail\n: '>>>>> Start Test Output'\npytest\n: '>>>>> End Test Output'\n",
}


def instance(**fields: Any) -> SweTask:
    return replace(TALLY, id="owner__name-1", instance={**INSTANCE, **fields})


def log(*lines: str) -> bytes:
    text = "\n".join(["before", "+ : '>>>>> Start Test Output'", *lines, "+ : '>>>>> End Test Output'", "after", ""])
    return text.encode()


GOOD = log("PASSED t.py::test_new", "PASSED t.py::test_old", "SKIPPED t.py::test_skipped", "3 passed in 0.1s")


@needs_swebench
@needs_proc
@pytest.mark.parametrize("parser", ["parse_log_pytest", "parse_log_pytest_v2", "parse_log_pytest_options"])
def test_ids_with_blanks_are_told_apart_where_the_log_parser_cuts_them(parser: str) -> None:
    ids = ["t.py::test_new[1 + 1]", "t.py::test_new[1 - 1]", "t.py::test_new[a::b]"]
    task = instance(FAIL_TO_PASS=ids, PASS_TO_PASS=["t.py::test_cut[1"], log_parser=parser)

    async def main() -> None:
        grader = SwebenchGrader()
        try:
            passed = [f"PASSED {name}" for name in ids]
            good = await grader.grade(task, log(*passed, "PASSED t.py::test_cut[1 2]"))
            assert good.resolved
            assert good.tests == dict.fromkeys([*ids, "t.py::test_cut[1"], "passed")
            one = log(passed[0], f"FAILED {ids[1]} - assert 1 - 1 == 2", passed[2], "PASSED t.py::test_cut[1 2]")
            bad = await grader.grade(task, one)
            assert not bad.resolved
            assert [bad.tests[name] for name in ids] == ["passed", "failed", "passed"]
            other = await grader.grade(task, log("PASSED t.py::test_new[1 + 1] and more", *passed[1:]))
            assert not other.resolved
            assert other.tests[ids[0]] == "missing"
        finally:
            await grader.close()

    asyncio.run(main())


@needs_swebench
@needs_proc
def test_swebench_s_own_rules_grade_a_log() -> None:
    async def main() -> None:
        grader = SwebenchGrader()
        try:
            scripts = await grader.scripts(instance())
            assert scripts.prepare.startswith("#!/bin/bash\n")
            assert scripts.place == ""
            assert "pytest" in scripts.run

            good = await grader.grade(instance(), GOOD)
            assert good.resolved
            told = {"t.py::test_new": "passed", "t.py::test_old": "passed", "t.py::test_skipped": "skipped"}
            assert good.tests == told
            assert good.reason == ""

            failed = log("FAILED t.py::test_new - no", "PASSED t.py::test_old", "SKIPPED t.py::test_skipped")
            bad = await grader.grade(instance(), failed)
            assert not bad.resolved
            assert bad.tests["t.py::test_new"] == "failed"

            gone = await grader.grade(instance(), log("PASSED t.py::test_new", "PASSED t.py::test_old"))
            assert not gone.resolved
            assert gone.tests["t.py::test_skipped"] == "missing"

            for broken in (b"", b"\xff\x00 garbage", log(), GOOD.replace(b"Start", b"start")):
                nothing = await grader.grade(instance(), broken)
                assert not nothing.resolved
                assert set(nothing.tests.values()) == {"missing"}
                assert nothing.reason

            for fields, why in [
                ({"log_parser": "parse_log_nobody"}, "KeyError: 'parse_log_nobody'"),
                ({"eval_type": "by_vote"}, "by_vote"),
                ({"FAIL_TO_PASS": "not json"}, "JSONDecodeError"),
            ]:
                with pytest.raises(GraderFailed, match=f"failed on owner__name-1: .*{why}"):
                    await grader.grade(instance(**fields), GOOD)
            rest = {key: value for key, value in INSTANCE.items() if key != "eval_type"}
            with pytest.raises(GraderFailed, match="KeyError: 'eval_type'"):
                await grader.grade(replace(TALLY, instance=rest), GOOD)

            # An answer that nobody waited for any more is not taken for the next one's.
            waiting = asyncio.create_task(grader.grade(instance(), failed))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await grader.grade(instance(), GOOD)).resolved

            # A grader that dies is our fault, and the next question starts a new one.
            for child in children(os.getpid()) - others:
                os.kill(child, signal.SIGKILL)
            with pytest.raises(GraderFailed, match="died"):
                await grader.grade(instance(), GOOD)
            assert (await asyncio.gather(*(grader.grade(instance(), GOOD) for _ in range(3))))[2].resolved
        finally:
            await grader.close()
            await grader.close()

    others = children(os.getpid())
    asyncio.run(main())
    assert children(os.getpid()) <= others


# As the runners of other languages write their results.
LANGUAGES = {
    "parse_log_gotest": ("--- PASS: TestNew (0.00s)", "--- FAIL: TestNew (0.00s)", "TestNew"),
    "parse_log_cargo": ("test tests::new ... ok", "test tests::new ... FAILED", "tests::new"),
    "parse_log_jest": ("  ✓ does the new thing (3 ms)", "  ✕ does the new thing (3 ms)", "does the new thing"),
    "parse_log_tap": ("ok 1 new", "not ok 1 new", "new"),
    "parse_log_redis": ("[ok]: New thing (3 ms)", "[err]: New thing in tests/x.tcl", "New thing"),
}


@needs_swebench
@needs_proc
def test_logs_of_other_languages_are_graded_by_their_own_parsers() -> None:
    async def main() -> None:
        grader = SwebenchGrader()
        try:
            for parser, (passed, failed, name) in LANGUAGES.items():
                task = instance(log_parser=parser, FAIL_TO_PASS=[name], PASS_TO_PASS=[])
                good, bad = await grader.grade(task, log(passed)), await grader.grade(task, log(failed))
                assert (good.resolved, good.tests, good.reason) == (True, {name: "passed"}, ""), parser
                assert not bad.resolved, parser
                assert bad.tests[name] in ("failed", "missing"), parser
        finally:
            await grader.close()

    asyncio.run(main())


@needs_swebench
@needs_proc
def test_where_a_harness_tells_of_failures_only_what_it_does_not_tell_of_has_passed() -> None:
    task = instance(log_parser="parse_log_karma", eval_type="fail_only", FAIL_TO_PASS=["a b"], PASS_TO_PASS=[])

    async def main() -> list[Grade]:
        grader = SwebenchGrader()
        try:
            return [
                await grader.grade(task, log("HeadlessChrome 1.0 (Linux): Executed 3 of 3 SUCCESS")),
                await grader.grade(task, log("the browser did not start")),
            ]
        finally:
            await grader.close()

    good, nothing = asyncio.run(main())
    assert (good.resolved, good.tests) == (True, {"a b": "passed"})
    assert (nothing.resolved, nothing.tests) == (False, {"a b": "missing"})
    assert nothing.reason


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_swebench
@needs_proc
def test_the_grading_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio\nfrom tests.tasks.test_patch_verifier import GOOD, instance\n"
        "from tasks.swe.harness import SwebenchGrader\n"
        "async def main():\n    await SwebenchGrader().grade(instance(), GOOD)\n    print('ready', flush=True)\n"
        "    await asyncio.sleep(600)\nasyncio.run(main())\n"
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        [child] = children(parent.pid)
        assert runs(child)
        parent.kill()
    deadline = time.monotonic() + 10
    while runs(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(child)


def test_without_swebench_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "swebench", None)
    with pytest.raises(TaskError, match=r"pip install 'coding-monkeys\[swebench\]'"):
        SwebenchGrader()
