"""Progress as a fold over events, and the sinks that events go to."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from agent.trajectory import Exit, Usage
from monkeys.events.events import (
    AttemptBegan,
    AttemptEnded,
    Event,
    Incident,
    LimitReached,
    Recorded,
    RunBegan,
    SessionEnded,
    Status,
    VerdictReached,
    VerifyBegan,
    VerifyEnded,
    Warned,
)
from monkeys.events.progress import Progress, VerdictProgress
from monkeys.events.sinks import EventLogError, JsonLines, several
from monkeys.report.terminal.live import make_screen, status
from monkeys.strategies import make_strategy
from tasks.task import Outcome

GOOD, BAD, INFRA = Outcome.RESOLVED, Outcome.UNRESOLVED, Outcome.INFRA_ERROR


class Clock:
    """Time that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def ended(task: str, exit: Exit = Exit.SUBMITTED, index: int = 0) -> AttemptEnded:
    return AttemptEnded(task, index, exit, 3, Usage(900, 100), 1.0, counted=not exit.infra)


def fed(progress: Progress, *events: Event) -> Progress:
    for event in events:
        progress.take(event)
    return progress


def begun(progress: Progress, attempts: int, *tasks: str) -> Progress:
    """The progress of a run that has begun, with so many attempts wanted on each task."""
    return fed(progress, RunBegan("run", tasks, attempts))


def test_a_run_is_counted_from_its_events() -> None:
    progress = fed(
        begun(Progress(), 2, "one", "two"),
        AttemptBegan("one", 0),
        AttemptBegan("one", 1),
        AttemptBegan("two", 0),
        ended("one"),
        ended("one", Exit.SANDBOX_FAILED, 1),
        VerifyBegan("one"),
        VerifyEnded("one", GOOD),
        VerdictReached("one", GOOD),
    )
    one = progress.tasks["one"]
    assert (one.sampled, one.resolved, one.unverified, one.infra) == (1, 1, 0, 1)
    assert (progress.active, progress.total, progress.done, progress.solved) == (1, 4, 1, 1)
    assert (progress.sampled_here, progress.turns_here, progress.usage_here) == (1, 6, Usage(1800, 200))
    assert progress.coverage == 0.5


def test_what_earlier_sessions_recorded_counts_but_not_as_the_work_of_this_one() -> None:
    recorded = Recorded("one", sampled=3, resolved=1, unresolved=1, infra=2)
    progress = fed(begun(Progress(), 5, "one"), recorded)
    row = progress.tasks["one"]
    assert (row.sampled, row.resolved, row.unresolved, row.unverified, row.infra) == (3, 1, 1, 1, 2)
    assert (progress.done, progress.sampled_here, progress.seconds_left) == (3, 0, None)


def test_a_cancelled_attempt_is_no_failure() -> None:
    progress = fed(begun(Progress(), 5, "one"), AttemptBegan("one", 0), ended("one", Exit.CANCELLED))
    assert (progress.tasks["one"].infra, progress.tasks["one"].sampled, progress.active) == (0, 0, 0)


def test_the_clock_starts_with_the_work() -> None:
    clock = Clock()
    progress = begun(Progress(clock=clock), 3, "one")
    clock.now = 160.0
    fed(progress, Status("the server starts"), AttemptBegan("one", 0))
    assert progress.seconds == 0
    clock.now = 170.0
    fed(progress, ended("one"), AttemptBegan("one", 1))
    assert (progress.seconds, progress.seconds_left) == (10, 20)


def test_a_note_stands_until_it_is_taken_back_or_the_session_ends() -> None:
    progress = Progress()
    assert fed(progress, Status("waiting")).note == "waiting"
    assert fed(progress, Status("")).note == ""
    assert fed(progress, Status("waiting"), SessionEnded("run", "done")).note == ""


def test_the_end_of_one_activity_does_not_end_another() -> None:
    progress = fed(Progress(), Status("preparing a", "a"), Status("pulling b"))
    assert progress.note == "pulling b (and 1 more)"
    assert fed(progress, Status("")).note == "preparing a"
    assert fed(progress, Status("preparing a, further on", "a")).note == "preparing a, further on"
    assert fed(progress, Status("", "a"), Status("", "unknown")).note == ""


def test_the_strategy_says_how_many_attempts_are_wanted() -> None:
    asked: list[tuple[int, list[int], list[int]]] = []

    def until_solved(attempts: int, sampled: Sequence[int], resolved: Sequence[int]) -> int:
        asked.append((attempts, list(sampled), list(resolved)))
        return sum(min(made, attempts) if solved else attempts for made, solved in zip(sampled, resolved, strict=True))

    progress = begun(Progress(wanted=until_solved), 5, "one", "two")
    fed(progress, Recorded("one", 2, 1, 1), Recorded("two", 2, 0, 2))
    assert (progress.total, progress.done) == (7, 4)
    assert asked[0] == (5, [2, 2], [1, 0])


@pytest.mark.parametrize(("strategy", "done"), [("independent", 6), ("fewest", 9)])
def test_attempts_beyond_those_wanted_of_a_task_count_where_tasks_may_get_unequal_numbers(
    strategy: str, done: int
) -> None:
    chosen = make_strategy(strategy)
    progress = begun(Progress(wanted=chosen.wanted, done_of=chosen.done), 5, "one", "two")
    fed(progress, Recorded("one", 8), Recorded("two", 1))
    assert (progress.total, progress.done) == (10, done)


def test_without_a_strategy_attempts_beyond_those_wanted_of_a_task_do_not_count() -> None:
    progress = fed(begun(Progress(), 5, "one", "two"), Recorded("one", 8), Recorded("two", 1))
    assert (progress.total, progress.done) == (10, 6)


def test_a_run_that_begins_again_keeps_what_was_counted_and_takes_the_new_number() -> None:
    progress = fed(begun(Progress(), 2, "one"), AttemptBegan("one", 0), ended("one"))
    begun(progress, 4, "one", "two")
    assert (progress.total, progress.done, list(progress.tasks)) == (8, 1, ["one", "two"])


def test_before_a_run_begins_there_is_nothing_to_count() -> None:
    progress = Progress()
    assert (progress.total, progress.done, progress.solved, progress.spending) == (0, 0, 0, [])
    assert status(progress).startswith("0:00   0/0 attempts   0/0 solved   coverage –")


def test_where_attempts_were_made_elsewhere_they_count_with_their_verdicts() -> None:
    progress = begun(VerdictProgress(), 4, "one", "two")
    fed(
        progress,
        Recorded("one", sampled=4, resolved=1),
        Recorded("two", sampled=2),
        VerifyBegan("one"),
        VerifyBegan("two"),
        VerifyEnded("two", INFRA),
        VerifyBegan("two"),
        VerifyEnded("one", BAD),
        VerdictReached("one", BAD, 2),
    )
    assert (progress.tasks["one"].sampled, progress.tasks["one"].unverified) == (3, 0)
    assert (progress.active, progress.total, progress.done, progress.sampled_here) == (1, 6, 3, 2)


def test_the_display_shows_what_the_events_told() -> None:
    progress = fed(Progress(), RunBegan("run", ("one",), 2), AttemptBegan("one", 0), ended("one"))
    assert "1/2 attempts   0/1 solved" in status(progress)
    assert "1 without verdict   0 active" in status(progress)


# Sinks


EVENTS: tuple[Event, ...] = (
    RunBegan("run", ("one",), 2, "quick", ("first line",), ("NETWORK",)),
    Recorded("one", 1),
    AttemptBegan("one", 0),
    ended("one"),
    VerifyBegan("one"),
    VerifyEnded("one", GOOD),
    VerdictReached("one", GOOD, 2),
    Status("waiting"),
    Warned("a field is not taken"),
    Incident("model failed", "429", 3),
    LimitReached("stopped at --max-cost $5.00"),
    SessionEnded("run", "done"),
)


def test_a_log_has_one_object_a_line_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    clock = Clock()
    with JsonLines(path, clock) as log:
        for number, event in enumerate(EVENTS):
            log(event)
            clock.now += 1
            assert len(path.read_text().splitlines()) == number + 1, "each event is flushed"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["event"] for row in rows] == [type(event).__name__ for event in EVENTS]
    assert [row["t"] for row in rows] == [100.0 + number for number in range(len(EVENTS))]
    assert rows[3]["usage"] == {"prompt": 900, "completion": 100, "cached": 0, "reasoning": 0}
    assert (rows[3]["exit"], rows[6]["outcome"], rows[6]["count"]) == ("submitted", "resolved", 2)


def test_a_log_is_appended_to_and_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"t": 1.0, "event": "Status"}\n{"t": 2.0, "ev')
    with JsonLines(path) as log:
        log(Status("again"))
    with JsonLines(path) as log:
        log(Status("and again"))
    first, torn, *others = path.read_text().splitlines()
    assert json.loads(first)["t"] == 1.0
    assert torn == '{"t": 2.0, "ev'
    assert [json.loads(line)["text"] for line in others] == ["again", "and again"]


def test_a_disk_that_is_full_ends_the_log_and_not_the_run() -> None:
    with JsonLines(Path("/dev/full")) as log:
        log(Status("one"))
        log(Status("two"))
    assert log.failure is not None
    log(Status("after the end"))


def test_a_log_that_cannot_be_opened_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match=r"Is a directory.*name a file"):
        JsonLines(tmp_path)


def test_several_sinks_get_each_event_in_order() -> None:
    heard: list[tuple[str, Event]] = []
    sink = several(lambda event: heard.append(("a", event)), lambda event: heard.append(("b", event)))
    sink(Status("one"))
    sink(Status("two"))
    assert [(name, event) for name, event in heard] == [
        ("a", Status("one")),
        ("b", Status("one")),
        ("a", Status("two")),
        ("b", Status("two")),
    ]


def test_a_screen_prints_the_first_lines_and_the_warnings_as_they_are() -> None:
    file, progress = io.StringIO(), Progress()
    with make_screen(progress, quiet=False, console=Console(file=file, width=20)) as screen:
        for event in EVENTS:
            several(progress.take, screen.take)(event)
        screen.take(Warned("[bold]markup\x1b[2J and more than twenty characters"))
    *lines, last = file.getvalue().splitlines()
    assert lines == [
        "first line",
        "NETWORK",
        "quick: 1 issue × 2 attempts",
        "a field is not taken",
        "infra error, which does not count: model failed: 429",
        r"[bold]markup\x1b[2J and more than twenty characters",
    ]
    assert "2/2 attempts   1/1 solved" in last


def test_warnings_before_a_run_begins_are_printed_and_a_run_that_never_begins_has_no_last_line() -> None:
    file = io.StringIO()
    with make_screen(Progress(), quiet=False, console=Console(file=file)) as screen:
        screen.take(Warned("no server answers"))
    assert file.getvalue() == "no server answers\n"


def test_a_quiet_screen_prints_only_what_changes_the_meaning_of_a_number() -> None:
    file = io.StringIO()
    with make_screen(Progress(), quiet=True, console=Console(file=file)) as screen:
        for event in EVENTS:
            screen.take(event)
        screen.take(Warned("3 of 9 predictions are empty", numbers=True))
    assert file.getvalue() == "3 of 9 predictions are empty\n"
