"""Every suite keeps the contract of `tasks.suite`, and suites are found by name and by what they read."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from envs import Limits, Sandbox
from envs.errors import MonkeysError
from envs.local.backend import LocalBackend
from envs.registry import UnknownName
from tasks import Outcome, Submission, Suite, Task, TaskError, TaskSet, VerifierSetup, load_tasks, suite_of
from tasks.answers.suite import AnswerSuite
from tasks.suites import SUITES
from tasks.swe.suite import SweSuite, diff_in

QUESTIONS = [
    {"question": "What is 6 times 7?", "answer": 42},
    {"question": "Which city is the capital of France?", "answer": ["Paris", "City of Paris"], "subject": "geography"},
]
PATCH = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n"
MARKDOWN = (  # its lines look like fences
    "diff --git a/x.md b/x.md\n--- a/x.md\n+++ b/x.md\n@@ -1,4 +1,4 @@\n ```diff\n- ```diff\n+ ```patch\n b\n ```\n"
)


def indented(width: int, patch: str = PATCH) -> str:
    return "".join(f"{' ' * width}{line}" for line in patch.splitlines(keepends=True))


def questions(folder: Path, *rows: Any) -> str:
    path = folder / "questions.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows or QUESTIONS), "utf-8")
    return str(path)


def quick(folder: Path) -> str:
    return "quick"


CASES: list[tuple[str, Callable[[Path], str], str]] = [("swe", quick, "patch"), ("answers", questions, "answer")]
each_suite = pytest.mark.parametrize(("name", "source", "kind"), CASES, ids=[name for name, _, _ in CASES])


def one_task(name: str, source: str) -> tuple[Suite, TaskSet, Task]:
    suite = suite_of(name)
    tasks = load_tasks(source)
    tasks = suite.prepare(tasks.select([tasks.tasks[-1].id]))
    return suite, tasks, tasks.tasks[0]


# the contract


@each_suite
def test_a_suite_reads_its_own_sources_and_no_other(
    name: str, source: Callable[[Path], str], kind: str, tmp_path: Path
) -> None:
    suite = suite_of(name)
    spec = source(tmp_path)
    assert (suite.name, suite.kind) == (name, kind)
    assert suite.sources
    assert suite.reads(spec)
    for other in (str(tmp_path / "no.jsonl"), str(tmp_path), "swiftly", "", "a\0b", "x" * 5000):
        assert not suite.reads(other)
        with pytest.raises(TaskError):
            suite.load(other)
    assert [known for known in SUITES.names if suite_of(known).reads(spec)] == [name]


@each_suite
def test_a_task_set_names_its_suite_and_keeps_it(
    name: str, source: Callable[[Path], str], kind: str, tmp_path: Path
) -> None:
    tasks = load_tasks(source(tmp_path))
    assert tasks.suite == name
    assert tasks.select([tasks.tasks[0].id]).suite == name
    assert suite_of(name).prepare(tasks).suite == name
    assert load_tasks(source(tmp_path), name) == tasks
    assert len({task.digest for task in tasks.tasks}) == len(tasks)
    assert all(task.group for task in tasks.tasks)


@each_suite
def test_prepared_tasks_have_the_origin_that_a_sandbox_needs_and_the_same_digest(
    name: str, source: Callable[[Path], str], kind: str, tmp_path: Path
) -> None:
    suite, _, task = one_task(name, source(tmp_path))
    assert (task.origin is not None) == suite.needs_sandbox
    assert task.digest == load_tasks(source(tmp_path)).select([task.id]).tasks[0].digest


@each_suite
def test_what_an_agent_is_shown_holds_the_statement_and_nothing_that_decides(
    name: str, source: Callable[[Path], str], kind: str, tmp_path: Path
) -> None:
    suite, _, task = one_task(name, source(tmp_path))
    shown = suite.shown(task)
    assert task.statement.strip() in shown
    assert not any(text in shown for text in task.criteria)


@each_suite
def test_the_known_solution_is_resolved_and_nothing_is_not(
    name: str, source: Callable[[Path], str], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, _, task = one_task(name, source(tmp_path))
    known = suite.known(task)
    assert known is not None
    assert known.kind == kind

    async def main() -> None:
        backend = LocalBackend() if suite.needs_sandbox else None
        setup = VerifierSetup(backend, Limits() if backend else None, seconds=lambda task: 60.0, cache=False)
        verifier = suite.verifier(setup)
        try:
            good = await verifier.verify(task, known)
            assert (good.outcome, good.reason) == (Outcome.RESOLVED, "")
            assert set(good.tests.values()) == {"passed"}
            for bad in (Submission(b"", kind), Submission(b"nonsense \xff", kind), Submission(known.body, "other")):
                found = await verifier.verify(task, bad)
                assert found.outcome is Outcome.UNRESOLVED
                assert found.reason
        finally:
            await verifier.close()
            await verifier.close()
            if backend:
                await backend.close()

    asyncio.run(main())


@each_suite
def test_the_canonical_form_of_a_canonical_form_is_itself(
    name: str, source: Callable[[Path], str], kind: str, tmp_path: Path
) -> None:
    suite, _, task = one_task(name, source(tmp_path))
    known = suite.known(task)
    assert known is not None
    for body in (known.body, b"", b"nonsense \xff", b" A  b. "):
        once = suite.canonical(task, Submission(body, kind))
        assert suite.canonical(task, Submission(once, kind)) == once


# finding suites


def test_an_unknown_suite_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="there is no suite 'answer'; did you mean answers\\? There are swe, answers"):
        load_tasks(questions(tmp_path), "answer")


def test_a_named_suite_refuses_a_file_of_another_form(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"questions.jsonl:1: field 'instance_id' is missing"):
        load_tasks(questions(tmp_path), "swe")
    with pytest.raises(TaskError, match=r"no task set 'quick' in suite answers, which reads a \.jsonl"):
        load_tasks("quick", "answers")
    with pytest.raises(TaskError, match="no task set 'swiftly' in suite swe, which reads quick, quick-easy, lite"):
        load_tasks("swiftly", "swe")


class Riddles(AnswerSuite):
    """A suite that an installed package brings."""

    name = "riddles"
    sources = "the name riddles"

    def reads(self, source: str) -> bool:
        return source == "riddles"

    def load(self, source: str) -> TaskSet:
        return TaskSet("riddles", (Task(id="r-1", statement="What has keys and opens no door?"),), self.name)


def test_a_package_brings_a_suite_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("riddles", "tests.tasks.test_suites:Riddles", SUITES.group)
    monkeypatch.setitem(SUITES.__dict__, "_offered", EntryPoints([entry]))
    assert load_tasks("riddles").suite == "riddles"
    assert suite_of("riddles").shown(load_tasks("riddles").tasks[0]).startswith("What has keys")
    with pytest.raises(TaskError, match="suite riddles reads the name riddles"):
        load_tasks("swiftly")


def test_errors_of_tasks_derive_from_the_one_base() -> None:
    from tasks.swe.grading import GraderFailed

    assert issubclass(TaskError, MonkeysError)
    assert issubclass(GraderFailed, MonkeysError)


# the suite swe


def collected(suite: Suite, task: Task, reply: str, sandbox: Sandbox | None = None) -> Submission:
    return asyncio.run(suite.collect(task, sandbox, reply))


def test_a_patch_is_taken_from_the_sandbox_whatever_the_reply_says(tmp_path: Path) -> None:
    suite, _, task = one_task("swe", "quick")

    async def main() -> Submission:
        backend = LocalBackend()
        assert task.origin is not None
        try:
            sandbox = await backend.open(task.origin, Limits())
            await sandbox.write("new.txt", b"new\n")
            return await suite.collect(task, sandbox, f"```diff\n{PATCH}```")
        finally:
            await backend.close()

    found = asyncio.run(main())
    assert found.kind == "patch"
    assert b"+new\n" in found.body
    assert b"x.py" not in found.body


@pytest.mark.parametrize(
    ("reply", "patch"),
    [
        (f"The fix:\n\n```diff\n{PATCH}```\nDone.", PATCH),
        (f"```diff\nwrong\n```\nNo, rather\n```patch\n{PATCH}```", PATCH),
        (f"```diff\n{PATCH}", PATCH),  # cut off
        (f"\n{PATCH}", PATCH),
        (PATCH.split("\n", 1)[1].rstrip("\n"), PATCH.split("\n", 1)[1]),
        (f"~~~diff\n{PATCH}~~~\n", PATCH),
        (f"1. The fix:\n\n   ```diff\n{indented(3)}   ```\n2. Done.", PATCH),
        (f"- ~~~~ patch\n{indented(2)}  ~~~~\n", PATCH),
        (f"   ```diff\n{indented(3)}", PATCH),
        (f"```diff\n{MARKDOWN}```\n", MARKDOWN),
        (f"   ```diff\n{indented(3, MARKDOWN)}   ```\n", MARKDOWN),
        (MARKDOWN, MARKDOWN),
        (f"Then\n```different\n{PATCH}```", ""),
        (f"```python\n{PATCH}```", ""),
        ("I cannot do it.", ""),
        ("", ""),
        ("--- just a line\n", ""),
    ],
)
def test_without_a_sandbox_the_patch_is_the_diff_in_the_reply(reply: str, patch: str) -> None:
    _, _, task = one_task("swe", "quick")
    assert diff_in(reply) == patch
    assert collected(SweSuite(), task, reply) == Submission(patch.encode(), "patch")


def test_a_verifier_of_patches_needs_a_back_end() -> None:
    with pytest.raises(ValueError, match="give a back end and its limits"):
        SweSuite().verifier(VerifierSetup())


def test_a_task_of_another_suite_is_a_mistake_of_the_caller() -> None:
    task = Task(id="a", statement="b")
    for suite in (SweSuite(), AnswerSuite()):
        with pytest.raises(TypeError, match="task a is a Task and not one of the suite"):
            suite.known(task)


def test_tasks_that_the_harness_grades_are_refused_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.tasks.test_task_sets import row, write

    tasks = load_tasks(write(tmp_path, row()))
    monkeypatch.setitem(sys.modules, "swebench", None)
    with pytest.raises(TaskError, match="pip install"):
        SweSuite().prepare(tasks)
