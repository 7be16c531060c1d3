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

from envs import Command, Limits
from envs.local.backend import LocalBackend
from tasks import Outcome, Submission, TaskError, Verdict, load_tasks
from tasks.quick.repositories import with_repositories
from tasks.swe.grading import Grade, GraderFailed, UnittestGrader
from tasks.swe.harness import SwebenchGrader
from tasks.swe.patch_verifier import PATCH_CAP, PatchVerifier
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


def test_the_gold_patch_of_every_embedded_task_is_resolved() -> None:
    tasks = with_repositories(load_tasks("quick")).tasks

    async def all_of_them(verifier: PatchVerifier) -> list[Verdict]:
        return await asyncio.gather(*(verifier.verify(task, Submission(as_swe(task).patch.encode())) for task in tasks))

    for task, found in zip(tasks, verifying(all_of_them), strict=True):
        assert found.outcome is Outcome.RESOLVED, (task.id, found.reason, found.log)
        assert found.resolved
        assert found.reason == ""
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
    assert found.reason == "the patch has 8.0 MB, and the most that is tried is 8 MB"
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
    assert found.reason == "the test run did not come to its end"


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


# what is our fault


def test_a_verifying_sandbox_that_dies_is_an_infra_error() -> None:
    patch = work("echo 'import time; time.sleep(600)' >> tally/__init__.py")
    backend = LocalBackend()

    async def doomed(verifier: PatchVerifier) -> Verdict:
        under_way = asyncio.create_task(verifier.verify(TALLY, Submission(patch)))
        await asyncio.sleep(1.0)
        await backend.close()
        return await under_way

    found = verifying(doomed, backend=backend)
    assert found.outcome is Outcome.INFRA_ERROR
    assert "is lost: the run ended" in found.reason


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
def test_swebench_s_own_rules_grade_a_log() -> None:
    async def main() -> None:
        grader = SwebenchGrader()
        try:
            script = await grader.script(instance())
            assert script.startswith("#!/bin/bash\n")
            assert "pytest" in script

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
