"""What an attempt is told beyond what its tools answer, kind by kind, in real sandboxes with scripted models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.actions import make_actions
from agent.agent import AttemptBudget, AttemptScope, AttemptSpec
from agent.conversation import FEEDBACK, OURS, as_sent
from agent.feedback import FeedbackSetup, Verify, make_feedback
from agent.feedback.attempt_feedback import HELD_BACK
from agent.feedback.failing import excerpt, failing_tests
from agent.feedback.linting import Finding, new_findings
from agent.loop import ToolLoop
from agent.models import ContextExceeded, Model, Reply
from agent.models.scripted import Scripted, say
from agent.scaffolds import Unsuited
from agent.trajectory import Exit, Message, Trajectory, Usage, exchanges
from envs import Origin, Sandbox
from envs.registry import UnknownName
from tasks.task import Outcome, Submission, Task, Verdict
from tests.helpers import agent_setup, begins, collect, git_repository, workspace

OPENING: list[Message] = [{"role": "system", "content": "You fix."}, {"role": "user", "content": "It is broken."}]
SUBMIT = say(("submit", {}))
TESTS = b"""import unittest
import calc

class Test(unittest.TestCase):
    def test_add(self):
        self.assertEqual(calc.add(1, 2), 3)

    def test_broken(self):
        self.assertEqual(calc.half(3), 1.5)
"""
FILES = {
    "calc.py": b"import os\n\n\ndef add(a, b):\n    return a + b\n\n\ndef half(a):\n    return a // 2\n",
    "old.py": b"print 'of another Python'\n",
    "settings.json": b'{"a": 1}\n',
    "tests/__init__.py": b"",
    "tests/test_calc.py": TESTS,
}
COMMAND = "python -S -m unittest discover -s tests -t ."


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return git_repository(tmp_path_factory.mktemp("feedback") / "repository", FILES)


class Listening(Scripted):
    """Plays its lines, and keeps every request."""

    def __init__(self, lines: Sequence[Message], usage: Usage | None = None) -> None:
        super().__init__(lines, usage)
        self.requests: list[list[Message]] = []

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        self.requests.append([dict(message) for message in messages])
        return await super().reply(messages, tools, scope=scope)


def edit(path: str, old: str, new: str) -> tuple[str, dict[str, Any]]:
    return "edit", {"command": "replace", "path": path, "old": old, "new": new}


def played(
    origin: Origin,
    kinds: str,
    model: Model,
    *,
    reviewer: Model | None = None,
    verify: Verify | None = None,
    form: str = "native",
    collects: list[bytes] | None = None,
    command: str = COMMAND,
    seconds: float = 20.0,
    scope: AttemptScope | None = None,
) -> Trajectory:
    """One attempt of the loop with these kinds of feedback."""
    feedback = make_feedback(tuple(filter(None, kinds.split(","))), FeedbackSetup(reviewer=reviewer, verify=verify))

    async def counted(task: Task, sandbox: Sandbox | None, reply: str) -> Submission:
        found = await collect(task, sandbox, reply)
        if collects is not None:
            collects.append(found.body)
        return found

    async def main() -> Trajectory:
        async with workspace(origin, command) as room:
            setup = agent_setup(model, begins(OPENING, make_actions(form)), command_seconds=seconds)
            agent = ToolLoop(replace(setup, feedback=feedback, collect=counted))
            task = Task(id="task", statement="It is broken.", origin=origin, test_command=command)
            return await agent.run(task, room.sandbox, scope or AttemptScope(AttemptSpec("task", 0, 1)))

    return asyncio.run(main())


def told(trajectory: Trajectory) -> list[tuple[str, str]]:
    """The feedback of an attempt, in order: its kind, and its text without the heading."""
    found = [message for message in trajectory.messages if FEEDBACK in message]
    return [(one[FEEDBACK], one["content"].removeprefix(f"[feedback: {one[FEEDBACK]}]\n")) for one in found]


def results(trajectory: Trajectory) -> list[str]:
    return [message["content"] for message in trajectory.messages if message["role"] == "tool"]


def test_without_feedback_nothing_is_asked_of_the_sandbox_and_nothing_is_said(origin: Origin) -> None:
    taken: list[bytes] = []
    trajectory = played(origin, "", Scripted([say(edit("calc.py", "a // 2", "a / 2")), SUBMIT]), collects=taken)
    assert (len(taken), told(trajectory)) == (1, [])
    assert all(OURS.isdisjoint(message) for message in trajectory.messages)


def test_check_names_what_the_changes_broke_and_nothing_that_was_there(origin: Origin) -> None:
    lines = [
        say(edit("calc.py", "import os\n", "import os\n# a line more\n"), edit("old.py", "print", "print  ")),
        say(edit("calc.py", "a // 2", "a / tow")),
        say(("bash", {"command": "cat calc.py"})),
        say(edit("calc.py", "a / tow", "a / ("), edit("settings.json", "1}", "1,}")),
        say(edit("calc.py", "a / (", "a / 2"), edit("settings.json", "1,}", "2}")),
        SUBMIT,
    ]
    trajectory = played(origin, "check", Scripted(lines))
    (_, undefined), (_, broken), (_, gone) = told(trajectory)
    assert undefined == "These are new since your changes:\n- calc.py:10: F821 Undefined name `tow`"
    assert "- calc.py:11: unexpected EOF" in broken
    assert "F821" not in broken
    assert "- settings.json:1:" in broken
    assert gone == "What was found before is gone."
    assert trajectory.exit is Exit.SUBMITTED


def test_check_reads_a_new_file_and_passes_over_what_is_gone_or_not_text(origin: Origin) -> None:
    lines = [
        say(("bash", {"command": "rm settings.json; printf 'a = b\\n' > 'new one.py'; head -c 9 /dev/zero > z.py"}))
    ]
    ((_, text),) = told(played(origin, "check", Scripted(lines)))[:1]
    assert "- new one.py:1: F821 Undefined name `b`" in text
    assert "settings.json" not in text


def test_diff_shows_the_patch_so_far_shortened_and_says_when_it_is_undone(origin: Origin) -> None:
    lines = [
        say(("bash", {"command": "seq 500 > many.txt; head -c 99 /dev/zero > some.bin"})),
        say(("bash", {"command": "ls"})),
        say(("bash", {"command": "rm many.txt some.bin"})),
        SUBMIT,
    ]
    (_, shown), (_, undone) = told(played(origin, "diff", Scripted(lines)))
    assert "+++ b/many.txt" in shown
    assert "+1\n" in shown
    assert "lines left out" in shown
    assert "some.bin: a binary file" in shown
    assert len(shown.splitlines()) < 80
    assert undone.startswith("Nothing is changed any more")


def test_tests_names_those_that_fail_now_and_did_not_before(origin: Origin) -> None:
    lines = [
        say(edit("calc.py", "a + b", "a - b")),
        say(("bash", {"command": "ls"})),
        say(edit("calc.py", "a - b", "a + b")),
        say(edit("calc.py", "a // 2", "a / 2")),
        SUBMIT,
    ]
    (_, worse), (_, same), (_, better) = told(played(origin, "tests", Scripted(lines)))
    assert worse.startswith("1 visible test fails that did not fail before your changes:\n- test_add (tests.test_calc.")
    assert "test_broken" not in worse
    assert "AssertionError: -1 != 3" in worse
    assert "These failed before, and still fail:\n- test_broken (" in same
    assert "These failed before, and do not fail now:\n- test_broken (" in better


def test_tests_at_submit_hold_a_submission_back_once_for_one_patch(origin: Origin) -> None:
    lines = [say(edit("calc.py", "a + b", "a - b")), SUBMIT, SUBMIT]
    trajectory = played(origin, "tests:submit", Scripted(lines))
    assert [kind for kind, _ in told(trajectory)] == ["tests"]
    assert results(trajectory)[1:] == [HELD_BACK, "[submitted]"]
    assert (trajectory.exit, len(trajectory.turns)) == (Exit.SUBMITTED, 3)


def test_a_submission_in_the_same_reply_as_the_edit_waits_for_the_feedback_on_it(origin: Origin) -> None:
    lines = [say(edit("calc.py", "a + b", "a - b"), ("submit", {})), say(edit("calc.py", "a - b", "a + b")), SUBMIT]
    lines[0]["tool_calls"][1]["id"] = "call_b"
    trajectory = played(origin, "tests,check", Scripted(lines))
    assert results(trajectory)[1] == HELD_BACK
    assert trajectory.submission.body == b""
    assert len(trajectory.turns) == 3


def test_tests_that_come_to_no_end_are_told(origin: Origin) -> None:
    lines = [say(("bash", {"command": "echo 'import os; os._exit(3)' > tests/__init__.py"})), SUBMIT]
    ((_, text),) = told(played(origin, "tests", Scripted(lines)))[:1]
    assert text.startswith("The visible tests do not come to their end, and did before your changes.")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sleep 60", ["The visible tests did not end within 1 s before your changes, so they are not run again."]),
        ("! [ -f new ] || sleep 60", ["The visible tests did not end within 1 s, and did before your changes."] * 2),
    ],
)
def test_tests_that_take_too_long_are_told_and_not_tried_again_where_they_did_at_the_base(
    origin: Origin, command: str, words: list[str]
) -> None:
    lines = [say(("bash", {"command": f"echo {at} > new"})) for at in range(2)]
    trajectory = played(origin, "tests", Scripted([*lines, SUBMIT]), command=command, seconds=1.0)
    assert told(trajectory) == [("tests", text) for text in words]


def test_reproduce_runs_the_models_test_without_and_with_its_changes(origin: Origin) -> None:
    def script(text: str) -> Message:
        return say(("bash", {"command": f"echo '{text}' > /tmp/reproduce.sh"}))

    works = 'touch ran; test "$(cat calc.py | grep -c "a / 2")" = 1'
    lines = [
        SUBMIT,
        script("exit 0"),
        say(edit("calc.py", "a // 2", "a / 2")),
        SUBMIT,
        script("exit 7"),
        SUBMIT,
        script(works),
        SUBMIT,
    ]
    trajectory = played(origin, "reproduce", Scripted(lines))
    missing, passes, fails, good = (text for _, text in told(trajectory))
    assert trajectory.messages[1]["content"].startswith("It is broken.\n\nBefore you change the source, write a test")
    assert missing == "There is no test at /tmp/reproduce.sh. Write it, then submit."
    assert "passes without your changes too" in passes
    assert "with them it ends with exit status 7" in fails
    assert good == "The test at /tmp/reproduce.sh fails without your changes and passes with them."
    assert (trajectory.exit, len(trajectory.turns)) == (Exit.SUBMITTED, 8)
    assert b"+    return a / 2" in trajectory.submission.body
    assert b"ran" not in trajectory.submission.body  # the test ran in copies


def test_a_model_that_submits_again_unchanged_is_taken_at_its_word(origin: Origin) -> None:
    trajectory = played(origin, "reproduce", Scripted([SUBMIT] * 9))
    assert results(trajectory) == [HELD_BACK, "[submitted]"]
    assert trajectory.exit is Exit.SUBMITTED


def review(text: str) -> Message:
    return {"role": "assistant", "content": text}


class Reviewer(Listening):
    """Says one review after the other."""

    name = "reviewer"

    async def reply(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
    ) -> Reply:
        await super().reply(messages, tools, scope=scope)
        return Reply(self._lines[len(self.requests) - 1], Usage(200, 30))


def test_a_review_is_read_before_a_submission_is_accepted_and_paid_by_the_attempt(origin: Origin) -> None:
    reviewer = Reviewer([review("half(3) is still wrong.\nREVISE"), review("Good.\n\n**ACCEPT**")])
    lines = [say(edit("calc.py", "a + b", "b + a")), SUBMIT, say(edit("calc.py", "a // 2", "a / 2")), SUBMIT]
    scope = AttemptScope(AttemptSpec("task", 0, 1), AttemptBudget())
    trajectory = played(origin, "review", Scripted(lines, Usage(10, 1)), reviewer=reviewer, scope=scope)
    assert [text for _, text in told(trajectory)] == ["half(3) is still wrong.\nREVISE", "Good.\n\n**ACCEPT**"]
    assert results(trajectory)[1::2] == [HELD_BACK, "[submitted]"]
    assert trajectory.aside == Usage(400, 60)
    assert trajectory.usage == scope.budget.used == Usage(440, 64)
    first, second = exchanges(trajectory.messages)
    assert [list(first.messages), list(second.messages)] == reviewer.requests
    assert "+    return b + a" in first.messages[0]["content"]
    assert "It is broken." in first.messages[0]["content"]
    assert (first.model, first.purpose) == ("reviewer", "review")


def test_without_another_model_the_own_one_reviews_in_a_conversation_of_its_own(origin: Origin) -> None:
    class Both(Listening):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            if scope.purpose == "review":
                return Reply(review("ACCEPT"), Usage(5, 5))
            return await super().reply(messages, tools, scope=scope)

    trajectory = played(origin, "review", Both([say(edit("calc.py", "a // 2", "a / 2")), SUBMIT]))
    assert told(trajectory) == [("review", "ACCEPT")]
    assert (trajectory.exit, len(trajectory.turns), trajectory.aside) == (Exit.SUBMITTED, 2, Usage(5, 5))


def test_a_review_that_cannot_be_had_holds_nothing_back(origin: Origin) -> None:
    class TooLong(Scripted):
        async def reply(
            self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, scope: AttemptScope
        ) -> Reply:
            raise ContextExceeded("9 tokens are the most")

    lines = [say(edit("calc.py", "a // 2", "a / 2")), SUBMIT]
    trajectory = played(origin, "review", Scripted(lines), reviewer=TooLong([SUBMIT]))
    assert told(trajectory) == [("review", "The patch was not reviewed: 9 tokens are the most")]
    assert trajectory.exit is Exit.SUBMITTED


def verdict(outcome: Outcome, **tests: str) -> Verify:
    async def verify(task: Task, submission: Submission) -> Verdict:
        good = b"a / 2" in submission.body
        status = dict.fromkeys(tests, "passed") if good else tests
        return Verdict(Outcome.RESOLVED if good else outcome, "a daemon is gone", status, 0.0)

    return verify


def test_the_oracle_names_or_counts_the_hidden_tests_that_do_not_pass(origin: Origin) -> None:
    lines = [say(edit("calc.py", "a + b", "b + a")), say(edit("calc.py", "a // 2", "a / 2")), SUBMIT]
    verify = verdict(Outcome.UNRESOLVED, a="failed", b="passed", c="missing")
    trajectory = played(origin, "oracle-tests,oracle-count", Scripted(lines), verify=verify)
    assert told(trajectory) == [
        ("oracle-tests", "2 of 3 hidden tests do not pass:\n- a\n- c"),
        ("oracle-count", "2 of 3 hidden tests do not pass."),
        ("oracle-tests", "All hidden tests pass."),
        ("oracle-count", "All hidden tests pass."),
    ]
    assert trajectory.exit is Exit.SUBMITTED


def test_a_hidden_test_that_cannot_be_run_is_an_infra_error_and_nothing_that_the_model_reads(origin: Origin) -> None:
    lines = [say(edit("calc.py", "a + b", "b + a")), SUBMIT]
    trajectory = played(origin, "oracle-count", Scripted(lines), verify=verdict(Outcome.INFRA_ERROR))
    assert trajectory.exit.infra
    assert told(trajectory) == []
    assert "a daemon is gone" in trajectory.detail


@pytest.mark.parametrize("form", ["native", "text"])
def test_feedback_is_sent_behind_the_results_and_every_request_can_be_told_from_the_record(
    origin: Origin, form: str
) -> None:
    break_it, mend = "echo '(' >> calc.py", "sed -i '$d' calc.py"
    if form == "native":
        lines = [say(("bash", {"command": one})) for one in (break_it, mend)]
    else:
        lines = [{"role": "assistant", "content": f"```bash\n{one}\n```"} for one in (break_it, mend)]
    model = Listening([*lines, SUBMIT if form == "native" else {"role": "assistant", "content": "```submit\n```"}])
    trajectory = played(origin, "check,diff", model, form=form)
    ends = [len(OPENING), *(turn.end for turn in trajectory.turns)]
    assert model.requests == [as_sent(trajectory.messages[:end]) for end in ends[: len(model.requests)]]
    roles = [message["role"] for message in model.requests[-1]]
    result = "tool" if form == "native" else "user"
    assert roles == ["system", "user", "assistant", result, "assistant", result]
    assert "\n\n[feedback: check]\nThese are new" in model.requests[-1][3]["content"]
    assert model.requests[-1][3]["content"].count("[feedback: ") == 2
    assert all(OURS.isdisjoint(message) for request in model.requests for message in request)
    assert [kind for kind, _ in told(trajectory)] == ["check", "diff", "check", "diff"]


def test_a_patch_that_cannot_be_taken_is_told_and_ends_nothing(origin: Origin) -> None:
    lines = [say(("bash", {"command": "mkdir -p sub && cd sub && git init -q . && echo a > a"})), SUBMIT]
    trajectory = played(origin, "diff", Scripted(lines))
    assert trajectory.exit in (Exit.SUBMITTED, Exit.PATCH_FAILED)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (("checks",), "did you mean check?"),
        (("tests", "tests:submit"), "feedback tests is asked for twice"),
        (("tests:always",), "there are tests and tests:submit"),
        (("diff:long",), "feedback diff takes no argument; leave out :long"),
        (("oracle-count",), "leave out --no-verify"),
    ],
)
def test_kinds_that_cannot_be_are_refused_in_a_line(kinds: tuple[str, ...], words: str) -> None:
    with pytest.raises((Unsuited, UnknownName), match=words.replace("?", r"\?")):
        make_feedback(kinds, FeedbackSetup())


OUTPUTS = {
    "pytest": (
        "____ test_a[x y] ____\n\n    def test_a():\n>       assert f() == 2\nE       assert 1 == 2\n"
        "\nt.py:3: AssertionError\n"
        "==== short test summary info ====\nFAILED t.py::test_a[x y] - assert 1 == 2\nERROR other.py - ImportError\n",
        ["t.py::test_a[x y]", "other.py"],
        "assert 1 == 2",
    ),
    "unittest": (
        f"{'=' * 70}\nFAIL: test_a (t.T.test_a) (i=1)\n{'-' * 70}\nTraceback\nAssertionError: 1\n\n{'=' * 70}\n"
        f"ERROR: test_b (t.T.test_b)\n{'-' * 70}\nKeyError\n\nRan 2 tests\nFAILED (failures=1, errors=1)\n",
        ["test_a (t.T.test_a) (i=1)", "test_b (t.T.test_b)"],
        "AssertionError: 1",
    ),
    "go": (
        "--- FAIL: TestA (0.00s)\n    a_test.go:3: no\n    --- FAIL: TestA/b (0.00s)\nFAIL\n",
        ["TestA", "TestA/b"],
        "no",
    ),
    "rust": ("test a::b ... ok\ntest a::c ... FAILED\n", ["a::c"], ""),
    "tap": ("ok 1 - a\nnot ok 2 - b is c\nnot ok 3 - later # TODO not yet\n", ["b is c"], ""),
    "jest": ("  ✓ adds (2 ms)\n  ✕ halves (12 ms)\n", ["halves"], ""),
    "none": ("ERROR: this is a log line\nFAILED to connect\nall good\n", [], ""),
}


@pytest.mark.parametrize("runner", OUTPUTS)
def test_failing_tests_are_named_as_their_runner_does(runner: str) -> None:
    output, names, words = OUTPUTS[runner]
    assert failing_tests(output) == names
    if words:
        shown = excerpt(output, names[0])
        assert words in shown
        assert "KeyError" not in shown


@pytest.mark.parametrize(
    "text", ["FAIL: x" + " " * 10**6, "✕ " + "( " * 10**6, "FAILED a::" + " - " * 10**6, "\n" * 10**6]
)
def test_an_output_made_to_take_long_is_read_soon(text: str) -> None:
    output = f"{'=' * 70}\n{text}\n"
    began = time.process_time()
    shown = excerpt(output, (failing_tests(output) or ["a"])[0])
    assert len(shown) < 1_000
    assert time.process_time() - began < 20  # of this process alone; it takes half a second


def test_a_file_that_the_linter_cannot_read_is_told_and_ends_nothing(origin: Origin) -> None:
    lines = [say(("bash", {"command": "python -c \"print('x = ' + '-' * 200000 + '1')\" > deep.py"})), SUBMIT]
    trajectory = played(origin, "check", Scripted(lines))
    ((_, text),) = told(trajectory)
    assert text.startswith(("The check could not be made: ruff failed", "These are new"))
    assert trajectory.exit is Exit.SUBMITTED


FINDINGS = st.lists(
    st.builds(
        Finding,
        st.integers(1, 50),
        st.sampled_from(["F401", "F821"]),
        st.sampled_from(["a", "b"]),
        st.text("xy", max_size=2),
    )
)


@given(FINDINGS, FINDINGS, st.integers(0, 9))
def test_what_moves_is_not_new_and_what_is_added_is(base: list[Finding], more: list[Finding], shift: int) -> None:
    moved = [replace(one, line=one.line + shift) for one in base]
    assert new_findings(base, moved) == []
    assert new_findings(base, moved[1:]) == []
    found = new_findings(base, [*moved, *more])
    assert len(found) == len(more)
    assert sorted((one.code, one.says) for one in found) == sorted((one.code, one.says) for one in more)
