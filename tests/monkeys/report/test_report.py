"""What people see of a run: counts, curve, final screen, live display; from real stores and, for the display, a pty."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import struct
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import exp, nan
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from agent.agent import AttemptSpec
from agent.trajectory import Exit, Message, Trajectory, Turn, Usage
from envs import Origin
from monkeys.events import AttemptBegan, AttemptEnded, Progress, RunBegan, Status, VerdictReached
from monkeys.report.point import Point
from monkeys.report.record import json_text
from monkeys.report.summary import Summary, summarize
from monkeys.report.terminal.console import make_console
from monkeys.report.terminal.curve import Ink, plot
from monkeys.report.terminal.final_screen import render
from monkeys.report.terminal.live import Display, Lines, Screen, frame, make_screen, status
from monkeys.report.views.task import changed_lines
from monkeys.science.coverage import coverage_curve
from monkeys.science.scaling import fit_coverage
from monkeys.store import Store
from monkeys.text import LINE, abridged, amount, duration, percent, plain
from tasks.swe.mixed_run import AT_END_ONLY, NO_STRICT
from tasks.swe.task import SweTask
from tasks.task import Outcome, Submission, TaskSet, Verdict

# A task's tries: each a patch and its outcome (None: no verdict), or the exit of an infra error.
Tries = Sequence[tuple[bytes, Outcome | None] | Exit]

GOOD, BAD = Outcome.RESOLVED, Outcome.UNRESOLVED
CONFIG = {
    "tasks": {"set": "quick"},
    "agent": {"prompts": {"system": "You are an engineer."}, "tools": ["bash"]},
    "model": {"name": "monkey"},
    "seed": 0,
}


def make_task(name: str) -> SweTask:
    origin = Origin(commit="c" * 40, repository=Path("/nowhere"))
    return SweTask(
        id=name,
        statement="It fails.",
        group=f"some/{name}",
        origin=origin,
        test_command="python -m unittest",
        patch="",
        test_patch="",
        fail_to_pass=("test_a",),
        pass_to_pass=("test_b",),
        instance={},
    )


def make_run(
    folder: Path, tries: Mapping[str, Tries], messages: tuple[Message, ...] = (), flags: tuple[str, ...] = ()
) -> Path:
    """A run on disk, as sampling would have written it; each verdict on a task called "flagged" has the `flags`."""
    store = Store.write(folder, CONFIG, TaskSet("quick", tuple(map(make_task, tries))), {"python": "3"})
    for task, each in tries.items():
        index = 0
        for seed, one in enumerate(each):
            if isinstance(one, Exit):
                failed = Trajectory(one, (), (), Submission(b""), 0.1, "the sandbox died")
                store.record_attempt(AttemptSpec(task, index, seed), failed)
                continue
            patch, outcome = one
            answers = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
            turns = tuple(Turn(end, Usage(1000, 20, 400), 0.2, 0.3) for end in (*answers[1:], len(messages)))
            submission = Submission(patch)
            trajectory = Trajectory(Exit.SUBMITTED, messages, turns, submission, 0.5)
            store.record_attempt(AttemptSpec(task, index, seed), trajectory)
            if outcome is not None:
                tests = {"test_a": "passed" if outcome is GOOD else "failed", "test_b": "passed"}
                reason = "" if outcome is GOOD else "1 of 2 expected tests do not pass"
                given = flags if task == "flagged" else ()
                verdict = Verdict(outcome, reason, tests, 0.1, b"Ran 2 tests\n", flags=given)
                store.record_verdict(task, submission, verdict)
            index += 1
    store.end_session("done")
    store.close()
    return folder


def outcomes(n: int, resolved: int) -> Tries:
    return [(b"patch %d" % i, GOOD if i < resolved else BAD) for i in range(n)]


def summary_of(folder: Path) -> Summary:
    store = Store.read(folder)
    try:
        return summarize(store)
    finally:
        store.close()


def drawn(summary: Summary, width: int = 80, encoding: str = "utf-8") -> str:
    out = io.BytesIO()
    file = io.TextIOWrapper(out, encoding=encoding)
    render(summary, Console(file=file, width=width))
    file.flush()
    return out.getvalue().decode(encoding)


def line_with(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


# Numbers and foreign text


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (percent, 0.123456, "12.3 %"),
        (percent, 0.0001, "<0.1 %"),
        (percent, 0.0, "0.0 %"),
        (percent, 1.0, "100.0 %"),
        (percent, nan, "–"),
        (percent, None, "–"),
        (amount, 999, "999"),
        (amount, 999.6, "1.0 k"),
        (amount, 12_345_678, "12.3 M"),
        (amount, 123_456_789, "123 M"),
        (duration, 59.6, "1:00"),
        (duration, 3723, "1:02:03"),
        (duration, 273_900, "3 d 04:05"),
        (duration, None, "–"),
    ],
)
def test_numbers_are_said_shortly(function: Callable[[float | None], str], value: float | None, shown: str) -> None:
    assert function(value) == shown


def test_foreign_text_cannot_steer_the_terminal() -> None:
    assert plain("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2Jx\x9b1m") == r"red \x1b]0;title\x07\x1b[2Jx\x9b1m"
    assert plain("a\u202eb\u2066c\ufeff\udc80\U000e0041\u2028") == r"a\u202eb\u2066c\ufeff\udc80\U000e0041\u2028"
    assert plain("a\r\nb\tc\x00\x9b\u202e") == "a\nb   c" + r"\x00\x9b\u202e"


def test_a_long_text_keeps_both_ends_and_says_how_much_is_left_out() -> None:
    text = "\n".join(map(str, range(10)))
    assert abridged(text, 2, 1) == ["0", "1", "… 7 more lines", "9"]
    assert abridged(text, 8, 1) == text.splitlines()
    first, more, last = abridged(f"{'x' * (LINE + 5)}\n" + "y\n" * 10**6 + "z\x1b\n", 1, 1)
    assert first == f"{'x' * LINE} … 5 more characters"
    assert (more, last) == ("… 1,000,000 more lines", r"z\x1b")


def test_the_changed_lines_of_a_patch_are_those_of_its_hunks_alone() -> None:
    patch = b"--- a/q.sql\n+++ b/q.sql\n@@ -1,3 +1,2 @@\n--- a comment\n-x\n+++ y\n z\n\\ No newline at end of file\n"
    assert changed_lines(patch) == (1, 2)
    assert changed_lines(b"") == (0, 0)


# The curve


def law(k: float) -> float:
    return exp(-2 * k**-0.4)


POINTS = [Point(k, law(k), law(k) / 2, min(1.0, law(k) * 1.5)) for k in (1, 2, 3, 5, 10, 25, 50, 100, 250)]


@pytest.mark.parametrize("unicode", [True, False])
def test_a_plot_keeps_its_size_and_has_all_that_belongs_to_it(unicode: bool) -> None:
    lines = plot(POINTS, law, (1, 10, 100, 250), width=60, height=13, unicode=unicode)
    assert len(lines) == 15
    assert all(sum(len(text) for text, _ in line) <= 60 for line in lines)
    assert {ink for line in lines for _, ink in line} == set(Ink)
    texts = ["".join(text for text, _ in line) for line in lines]
    assert all(text.isascii() for text in texts) is not unicode
    assert texts[0].startswith(" 100 % ")
    assert texts[12].startswith("   0 % ")
    assert texts[-1].split() == ["1", "10", "100", "250"]


def test_the_curve_of_a_plot_rises_from_left_to_right() -> None:
    lines = plot(POINTS, None, (), width=60, height=21, unicode=False)[:-2]
    texts = ["".join(text for text, _ in line) for line in lines]
    heights = [
        min(row for row, text in enumerate(texts) if text[column : column + 1] == "*") for column in range(8, 60)
    ]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > heights[-1]


def test_labels_of_the_axis_never_run_into_one_another() -> None:
    ticks = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
    points = [Point(k, 0.5, None, None) for k in ticks]
    names = "".join(text for text, _ in plot(points, None, ticks, width=30, height=5, unicode=True)[-1]).split()
    assert {int(name) for name in names} <= set(ticks)
    assert names[-1] == "1000"


# The summary


def test_a_summary_counts_what_the_store_holds(tmp_path: Path) -> None:
    tries: Tries = [(b"x", GOOD), Exit.SANDBOX_FAILED, (b"x", GOOD), (b"y", BAD), (b"", BAD), (b"z", None)]
    summary = summary_of(make_run(tmp_path / "run", {"one": tries, "two": outcomes(4, 0)}))
    one, two = summary.issues
    assert (one.n, one.resolved, one.infra, one.unverified, one.patches) == (4, 2, 1, 1, 3)
    assert (two.n, two.resolved, two.infra, two.unverified, two.patches) == (4, 0, 0, 0, 4)
    assert (one.rate, two.rate) == (0.5, 0.0)
    assert (summary.solved, summary.attempts) == (1, 9)
    assert summary.exits == {"submitted": 9, "sandbox failed": 1}
    assert summary.turns == 9
    assert summary.usage == Usage(9000, 180, 3600)
    assert summary.seconds == pytest.approx(4.6)


def test_a_summary_has_the_estimators_curve_and_law(tmp_path: Path) -> None:
    resolved = {"one": 20, "two": 3, "three": 0, "four": 1}
    summary = summary_of(make_run(tmp_path / "run", {name: outcomes(40, c) for name, c in resolved.items()}))
    curve = coverage_curve(40, list(resolved.values()))
    assert summary.coverage is not None
    assert [(row.k, row.coverage, row.low, row.high) for row in summary.coverage.rows] == list(
        zip(curve.ks, curve.coverage, curve.low, curve.high, strict=True)
    )
    assert [row.k for row in summary.coverage.rows] == [1, 2, 5, 10, 25, 40]
    assert summary.law == fit_coverage(40, list(resolved.values()))
    assert summary.coverage.interval.startswith("95 % interval over 4 tasks")


def test_the_curve_ends_at_the_smallest_n_and_says_whose_it_is(tmp_path: Path) -> None:
    summary = summary_of(make_run(tmp_path / "run", {"one": outcomes(9, 2), "two": outcomes(5, 1)}))
    assert summary.coverage is not None
    assert summary.coverage.rows[-1].k == 5
    assert summary.notes == ("the curve ends at k = 5; fewer than 9 attempts with a verdict on two (5)",)


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (NO_STRICT, "no strict verdict on flagged: no FAIL_TO_PASS test could be falsified"),
        (AT_END_ONLY, "a weaker strict verdict on flagged: falsified at its end only"),
    ],
)
def test_issues_with_a_weaker_verdict_or_none_are_named_on_the_screen_and_in_json(
    flag: str, told: str, tmp_path: Path
) -> None:
    tries = {"one": outcomes(2, 1), "flagged": outcomes(2, 2)}
    summary = summary_of(make_run(tmp_path / "run", tries, flags=(flag,)))
    assert [told in note for note in summary.to_json()["notes"]] == [True]
    assert told in " ".join(drawn(summary, width=200).split())


def test_a_task_that_was_never_judged_is_left_out_of_the_curve_and_named(tmp_path: Path) -> None:
    tries: dict[str, Tries] = {"one": outcomes(5, 2), "two": outcomes(5, 1), "lost": [Exit.SANDBOX_FAILED] * 3}
    summary = summary_of(make_run(tmp_path / "run", tries))
    assert summary.coverage is not None
    assert summary.coverage.issues == 2
    missing, failed = summary.notes
    assert missing == "the curve is over 2 of 3 issues; no attempt with a verdict on lost"
    assert failed.startswith("3 tries did not count")
    assert failed.endswith("the last, at lost 0: sandbox failed: the sandbox died")


def test_a_run_without_verdicts_has_no_curve_but_the_reason(tmp_path: Path) -> None:
    summary = summary_of(make_run(tmp_path / "run", {"one": [(b"x", None)]}))
    assert summary.coverage is None
    assert summary.law is None
    assert "no attempt has a verdict yet" in drawn(summary)
    assert "1 attempt without a verdict" in summary.notes[0]


def test_a_run_without_attempts_can_be_looked_at(tmp_path: Path) -> None:
    summary = summary_of(make_run(tmp_path / "run", {"one": []}))
    assert summary.attempts == 0
    assert "0 of 1 solved" in drawn(summary)


@pytest.mark.parametrize(
    ("tries", "reason"),
    [
        ({"one": outcomes(9, 0), "two": outcomes(9, 0)}, "nothing was solved"),
        ({"one": outcomes(2, 1), "two": outcomes(2, 0)}, "at least 3 attempts"),
    ],
)
def test_a_law_that_the_counts_cannot_carry_is_absent_with_its_reason(
    tmp_path: Path, tries: dict[str, Tries], reason: str
) -> None:
    summary = summary_of(make_run(tmp_path / "run", tries))
    assert summary.law is None
    assert reason in summary.no_law
    assert line_with(drawn(summary), "law").strip().startswith("law")
    assert reason.split()[0] in drawn(summary)


def test_the_json_of_a_summary_is_strict_and_has_null_where_there_is_no_number(tmp_path: Path) -> None:
    summary = summary_of(make_run(tmp_path / "run", {"one": outcomes(5, 2)}))

    def refuse(name: str) -> float:
        raise AssertionError(name)

    data = json.loads(json_text(summary), parse_constant=refuse)
    assert data["pass_at_k"][0]["coverage"] == pytest.approx(0.4)
    assert data["pass_at_k"][0]["low"] < 0.02 < 0.98 < data["pass_at_k"][0]["high"]
    assert data["issues"][0]["resolved"] == 2
    assert data["kind"] == "patch"
    assert data["interval"]["missing"] == ""
    assert data["law"]["form"] == "c = exp(a k^b)"


def test_a_run_can_be_summarized_while_it_is_written(tmp_path: Path) -> None:
    store = Store.write(tmp_path / "run", CONFIG, TaskSet("quick", (make_task("one"),)), {})
    store.record_attempt(AttemptSpec("one", 0, 1), Trajectory(Exit.SUBMITTED, (), (), Submission(b"x"), 0.5))
    assert summary_of(tmp_path / "run").issues[0].unverified == 1
    store.close()


# The final screen


@pytest.fixture
def finished(tmp_path: Path) -> Summary:
    resolved = [0, 74, 11, 0, 4, 43, 0, 1]
    return summary_of(make_run(tmp_path / "run", {f"repo__name-{i}": outcomes(100, c) for i, c in enumerate(resolved)}))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_final_screen_fits_its_width(finished: Summary, width: int) -> None:
    shown = drawn(finished, width)
    assert max(map(len, shown.splitlines())) <= width
    assert not any(line.endswith(" ") for line in shown.splitlines())
    for number, issue in enumerate(finished.issues):
        assert line_with(shown, f"repo__name-{number}").split()[1:3] == ["100", str(issue.resolved)]
    assert line_with(shown, "5 of 8 solved").split()[4:] == ["800", "133", "0", "800"]
    assert "c = exp(a k^b)" in line_with(shown, "law")
    assert "points of coverage" in line_with(shown, "residual")
    assert "95 % interval over 8 tasks" in line_with(shown, "interval")


def test_issues_that_were_never_tried_share_a_line_where_they_are_many(tmp_path: Path) -> None:
    tried: dict[str, Tries] = {"tried__one-1": outcomes(2, 1), "failed__one-1": [Exit.SANDBOX_FAILED]}
    few = drawn(summary_of(make_run(tmp_path / "few", tried | {f"repo__name-{i}": [] for i in range(3)})))
    assert "repo__name-2" in few
    shown = drawn(summary_of(make_run(tmp_path / "many", tried | {f"repo__name-{i}": [] for i in range(300)})))
    table = shown[: shown.index("1 of 302 solved")]
    assert "tried__one-1" in table
    assert "failed__one-1" in table
    assert "300 issues without an attempt" in table
    assert "repo__name" not in table
    assert len(shown.splitlines()) < 60


def test_the_final_screen_names_the_run_and_what_to_type_next(finished: Summary) -> None:
    shown = drawn(finished, 400)
    assert f"run   {finished.folder}" in shown
    assert f"monkeys show {finished.folder}" in shown
    assert f"monkeys report {finished.folder}" in shown


def test_the_table_beside_the_curve_has_coverage_and_interval_at_each_k(finished: Summary) -> None:
    shown = drawn(finished)
    assert finished.coverage is not None
    for row in finished.coverage.rows:
        assert row.low is not None
        words = line_with(shown, f"{row.k}  ").split()
        assert words[:5] == [str(row.k), f"{100 * row.coverage:.1f}", "%", f"{100 * row.low:.1f}", "–"]


def test_the_final_screen_degrades_to_ascii(finished: Summary) -> None:
    shown = drawn(finished, encoding="ascii")
    assert shown.isascii()
    assert "**" in shown
    assert "?" not in shown


def test_a_name_that_would_steer_the_terminal_is_shown_harmless(tmp_path: Path) -> None:
    shown = drawn(summary_of(make_run(tmp_path / "run", {"one\x1b[2J[bold]": outcomes(5, 2)})))
    assert "\x1b" not in shown
    assert r"one\x1b[2J[bold]" in shown


@pytest.mark.parametrize(
    ("kind", "heading"),
    [("patch", "patches"), ("answer", "answers"), ("program", "programs"), ("proof", "proofs")],
)
def test_the_last_column_of_the_issues_is_headed_by_the_kind_of_the_submissions(
    finished: Summary, kind: str, heading: str
) -> None:
    shown = drawn(replace(finished, kind=kind))
    assert line_with(shown, "issue").split() == ["issue", "n", "resolved", "rate", "infra", heading]


def test_attempts_whose_patch_lacks_changes_are_counted_and_named(tmp_path: Path) -> None:
    store = Store.write(tmp_path / "run", CONFIG, TaskSet("quick", (make_task("one"),)), {})
    for index, detail in enumerate(("", "left out of the patch: changes in lib (a submodule)")):
        trajectory = Trajectory(Exit.SUBMITTED, (), (), Submission(b"x"), 0.5, detail=detail)
        store.record_attempt(AttemptSpec("one", index, 1), trajectory)
    lacking = [note for note in summary_of(tmp_path / "run").notes if "lacks" in note]
    store.close()
    assert lacking == ["the patch lacks changes of 1 attempt, one 1; `monkeys show` names them"]


def test_the_kind_of_a_run_is_that_of_its_attempts_and_needs_no_suite(tmp_path: Path) -> None:
    store = Store.write(tmp_path / "run", CONFIG | {"suite": "gone"}, TaskSet("q", (make_task("one"),), "gone"), {})
    assert summarize(store).kind == "submission", "nothing is known of it before the first attempt"
    failed = Trajectory(Exit.SANDBOX_FAILED, (), (), Submission(), 0.1)
    store.record_attempt(AttemptSpec("one", 0, 1), failed)
    assert summarize(store).kind == "submission", "an infra error hands in nothing"
    answer = Trajectory(Exit.SUBMITTED, (), (), Submission(b"42", "answer"), 0.5)
    store.record_attempt(AttemptSpec("one", 0, 2), answer)
    summary = summarize(store)
    store.close()
    assert (summary.kind, summary.to_json()["kind"]) == ("answer", "answer")
    assert line_with(drawn(summary), "issue").split()[-1] == "answers"


@pytest.mark.parametrize(("suite", "kind"), [("swe", "patch"), ("answers", "answer")])
def test_before_its_first_attempt_a_run_has_the_kind_of_its_suite(tmp_path: Path, suite: str, kind: str) -> None:
    store = Store.write(tmp_path / "run", CONFIG | {"suite": suite}, TaskSet("q", (make_task("one"),), suite), {})
    assert summarize(store).kind == kind
    store.close()


def test_tasks_that_are_all_alike_have_a_wide_interval(tmp_path: Path) -> None:
    shown = drawn(summary_of(make_run(tmp_path / "run", {"one": outcomes(5, 2), "two": outcomes(5, 2)})))
    assert line_with(shown, "1  ").split()[:4] == ["1", "40.0", "%", "6.3"]
    assert "95 % interval over 2 tasks" in line_with(shown, "interval")


# The live display


def progress_of(tasks: int, attempts: int, done: int) -> Progress:
    """The progress of a run with the first `done` attempts made and verified, and eight under way."""
    progress = Progress()
    progress.take(begun(tasks, attempts))
    for number in range(done):
        name, index = f"repo__name-{number // attempts}", number % attempts
        progress.take(AttemptBegan(name, index))
        progress.take(AttemptEnded(name, index, Exit.SUBMITTED, 3, Usage(2700, 300), 1.0, counted=True))
        progress.take(VerdictReached(name, GOOD if number % 7 == 3 else BAD))
    progress.active = 8
    return progress


def begun(tasks: int, attempts: int) -> RunBegan:
    return RunBegan("run", tuple(f"repo__name-{number}" for number in range(tasks)), attempts, "quick · monkey")


def text_of(lines: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize(("tasks", "width", "height"), [(14, 80, 24), (14, 120, 40), (300, 80, 24), (300, 200, 60)])
def test_the_live_display_fits_the_terminal(tasks: int, width: int, height: int) -> None:
    lines = text_of(frame(progress_of(tasks, 50, tasks * 20), "quick · monkey", width, height))
    assert len(lines) < height
    assert max(map(len, lines)) <= width


def test_the_live_display_has_a_line_for_each_issue_and_the_totals() -> None:
    progress = progress_of(4, 10, 25)
    progress.began = time.monotonic() - 10
    progress.take(AttemptBegan("repo__name-2", 5))
    progress.take(AttemptEnded("repo__name-2", 5, Exit.SANDBOX_FAILED, 0, Usage(), 0.1, counted=False))
    lines = text_of(frame(progress, "quick · monkey", 80, 24))
    assert lines[0].split() == ["quick", "·", "monkey", "4", "issues", "×", "10", "attempts"]
    assert [line.split()[2:] for line in lines[3:7]] == [
        ["10/10", "1"],
        ["10/10", "2"],
        ["5/10", "1", "1"],
        ["0/10", "0"],
    ]
    words = " ".join(" ".join(lines[-2:]).split())
    assert "3 of 4 solved 75.0 % coverage 25 of 40 attempts 8 active" in words
    assert "7.5 turns/s 75.0 k tokens 0:10 elapsed 0:06 left" in words


def test_with_very_many_issues_the_ones_under_way_are_shown_and_the_rest_is_counted() -> None:
    lines = text_of(frame(progress_of(300, 10, 1005), "lite", 80, 24))
    assert any(line.startswith(" repo__name-100 ") and "5/10" in line for line in lines)
    assert not any(line.startswith(" repo__name-0 ") for line in lines)
    assert any("100 issues done" in line and "1 under way, 199 to come" in line for line in lines)


def test_the_note_of_the_sampler_is_shown() -> None:
    progress = progress_of(2, 10, 5)
    progress.take(Status("the server answers 429, waiting"))
    assert text_of(frame(progress, "quick", 80, 24))[-1].strip() == progress.note
    assert status(progress).endswith(progress.note)


def test_before_anything_is_known_the_display_shows_dashes() -> None:
    assert "–" in text_of(frame(progress_of(2, 10, 0), "quick", 80, 24))[-1]
    assert "– left" in status(progress_of(2, 10, 0))


def test_off_a_terminal_there_are_plain_lines_at_the_start_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # colours may be forced; a live display must not be
    file = io.StringIO()
    progress = progress_of(4, 10, 25)
    screen = make_screen(progress, quiet=False, console=Console(file=file, width=40))
    assert isinstance(screen, Lines)
    with screen:
        screen.take(begun(4, 10))
    first, last = file.getvalue().splitlines()
    assert first == "quick · monkey: 4 issues × 10 attempts"
    assert "25/40 attempts   3/4 solved   coverage 75.0 %" in last
    assert "\x1b" not in file.getvalue()


def test_plain_lines_come_again_while_the_run_goes_on() -> None:
    read, write = os.pipe()
    with (
        os.fdopen(read) as lines,
        os.fdopen(write, "w") as file,
        Lines(progress_of(1, 10, 5), Console(file=file), every=0.001) as screen,
    ):
        screen.take(begun(1, 10))
        heard = [lines.readline() for _ in range(4)]
    assert heard[0].startswith("quick")
    assert all("5/10 attempts" in line for line in heard[1:])


def test_a_quiet_screen_shows_nothing() -> None:
    file = io.StringIO()
    with make_screen(progress_of(1, 1, 0), quiet=True, console=Console(file=file)) as screen:
        screen.take(begun(1, 1))
    assert file.getvalue() == ""


class Terminal:
    """A pseudo-terminal of 24 by 80, and what was written to it."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.file = os.fdopen(slave, "w", encoding="utf-8")
        self._heard = bytearray()
        self._reader = Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self._heard += data
        except OSError:
            pass  # the other end is closed

    def close(self) -> str:
        self.file.close()
        self._reader.join()
        os.close(self._master)
        return self._heard.decode()


@contextmanager
def display(terminal: Terminal, progress: Progress) -> Iterator[Screen]:
    screen = make_screen(progress, quiet=False, console=Console(file=terminal.file))
    assert isinstance(screen, Display)
    with screen:
        screen.take(begun(len(progress.tasks), progress.attempts))
        yield screen


@pytest.fixture
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("colourful")
def test_on_a_terminal_the_display_is_drawn_in_place_and_its_last_line_stays() -> None:
    terminal = Terminal()
    with display(terminal, progress_of(3, 10, 15)):
        pass
    heard = terminal.close()
    assert "repo__name-2" in heard
    assert "\x1b[2K" in heard
    assert heard.splitlines()[-1].split("\x1b[2K")[-1].startswith("0:00   15/30 attempts")


@pytest.mark.usefixtures("colourful")
@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_the_terminal_is_restored_whatever_ends_the_display(failure: type[BaseException]) -> None:
    terminal = Terminal()
    before = termios.tcgetattr(terminal.file.fileno())
    with pytest.raises(failure), display(terminal, progress_of(3, 10, 15)):
        raise failure
    assert termios.tcgetattr(terminal.file.fileno()) == before
    heard = terminal.close()
    assert heard.rfind("\x1b[?25h") > heard.rfind("\x1b[?25l")


@pytest.mark.usefixtures("colourful")
def test_the_cursor_is_shown_while_the_display_stands_so_that_a_kill_leaves_the_terminal_sane() -> None:
    terminal = Terminal()
    with display(terminal, progress_of(3, 10, 15)):
        pass
    heard = terminal.close()
    while_it_stood = heard[: heard.index("\x1b[2K")]
    assert while_it_stood.rfind("\x1b[?25h") > while_it_stood.rfind("\x1b[?25l")


# replies without an action, and consoles of no width

IDLE: tuple[Message, ...] = (
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": "I would look."},
    {"role": "user", "content": "[error] no tool was called"},
)


def test_replies_without_an_action_are_counted_and_many_of_them_are_a_warning(tmp_path: Path) -> None:
    summary = summary_of(make_run(tmp_path / "idle", {"one": [(b"x", BAD), (b"y", BAD)]}, IDLE))
    assert summary.unread is not None
    assert (summary.unread.unread, summary.unread.replies) == (2, 2)
    assert any("--enable-auto-tool-choice" in note for note in summary.notes)
    assert "100.0 % of 2 replies held no action" in drawn(summary)
    busy = (*IDLE[:2], {"role": "user", "content": "Result of bash:\n[error] no such file"})
    summary = summary_of(make_run(tmp_path / "busy", {"one": [(b"x", BAD)]}, busy))
    assert summary.unread is not None
    assert summary.unread.unread == 0
    assert not any("no action" in note for note in summary.notes)


@pytest.mark.parametrize("columns", ["0", "00", "7"])
def test_a_width_that_holds_nothing_is_not_known(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert make_console(file=io.StringIO()).width == 80
    monkeypatch.setenv("COLUMNS", "33")
    assert make_console(file=io.StringIO()).width == 33


@pytest.mark.parametrize(
    ("turns", "changes", "told"),
    [
        (3, {}, True),
        (2, {}, False),
        (3, {"limits": {"context": "elide"}}, False),
        (3, {"agent": {"tools": []}}, False),
    ],
)
def test_prompts_that_stay_as_large_while_the_conversation_grows_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int, changes: dict[str, object], told: bool
) -> None:
    monkeypatch.setattr("tests.monkeys.report.test_report.CONFIG", CONFIG | changes)
    talk = (IDLE[0], *(message for _ in range(turns) for message in IDLE[1:]))
    summary = summary_of(make_run(tmp_path / "cut", {"one": [(b"x", BAD), (b"y", BAD)]}, talk))
    notes = [note for note in summary.notes if "stay at 1,000 tokens" in note]
    assert [note[:44] for note in notes] == ["the prompts of 2 attempts of 2 stay at 1,000"] * told
