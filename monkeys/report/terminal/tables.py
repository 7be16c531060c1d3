"""Tables to look something up in: the runs of a folder, one run, the attempts at one task."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from monkeys.report.configuration import lines
from monkeys.report.terminal.console import columns, facts, name
from monkeys.report.terminal.final_screen import issues
from monkeys.report.views import RunRow, RunsView, RunView, TaskView, Try
from monkeys.report.views.branch import BranchView
from monkeys.text import amount, brief, count, duration, money, percent, plain, several, span
from tasks.task import Outcome

__all__ = ["attempts", "outcome", "overview", "runs", "turn_values"]

HUES = {Outcome.RESOLVED: "green", Outcome.UNRESOLVED: "", Outcome.INFRA_ERROR: "red", None: "yellow"}
# The columns of the table of runs, with the room that each needs beside the longest name.
RUN_COLUMNS = {"<run": 0, "<began": 70, "<model": 50, "<tasks": 60, "issues": 32, "attempts": 24, "coverage": 16}
ROOM_FOR_REASONS = 100
ROOM_FOR_MONEY = 90


def runs(view: RunsView, width: int) -> Iterator[RenderableType]:
    """A line for every run. A run's name is whole, for one that is cut cannot be given to a command."""
    longest = max((len(plain(row.run)) for row in view.runs), default=0)
    # Where there is no room for all, what the name tells as well is left out first.
    shown = [heading for heading, room in RUN_COLUMNS.items() if width >= longest + room]
    table = columns(*shown)
    table.columns[0].min_width = longest
    for row in view.runs:
        cells = _run(row)
        table.add_row(*(cells[heading] for heading in shown))
    yield Padding(table, (1, 1, 1, 1))


def overview(view: RunView) -> Iterator[RenderableType]:
    """A run: its configuration, its sessions, its tasks."""
    summary = view.summary
    setup = facts(fold=True)
    setup.add_row("run", Text(plain(summary.folder), style="bold"))
    for label, text in lines(view.configuration):
        setup.add_row(brief(label), Text(brief(text)))
    yield Padding(setup, (1, 1, 0, 1))
    sessions = columns("<session", "lasted", "tries", "<end")
    for session in view.sessions:
        # The record does not tell whether a session's process still lives.
        end = session.note or ("under way, or killed" if session.ended is None else "")
        sessions.add_row(_moment(session.began), duration(session.seconds), count(session.tries), name(end))
    yield Padding(sessions, (1, 1, 0, 1))
    yield Padding(issues(summary), (1, 1, 0, 1))
    yield Padding(Text(f"{summary.commands[0]} TASK [ATTEMPT] shows more", style="dim"), (1, 1, 1, 1))


def attempts(view: TaskView, width: int) -> Iterator[RenderableType]:
    """Every try at a task, infra errors included. Reasons and costs need some width."""
    reasons = width >= ROOM_FOR_REASONS
    priced = width >= ROOM_FOR_MONEY and any(one.dollars is not None for one in view.tries)
    kind = brief(next((one.submission_kind for one in (*view.counted, *view.tries)), "patch"))
    headings = ["attempt", "<outcome", "<exit", "turns", "tokens", *(["$"] * priced), "time", "lines", f"<{kind}"]
    table = columns(*headings, *(["<reason"] * reasons))
    for one in view.tries:
        reason = one.reason if one.counts else one.detail
        table.add_row(*_attempt(one, priced), *([name(reason, "dim")] * reasons))
    infra = len(view.tries) - len(view.counted)
    besides = f", {several(infra, 'infra error')} besides" if infra else ""
    totals = f"{several(len(view.counted), 'attempt')}, {count(view.resolved)} resolved{besides}"
    yield Padding(Text.assemble((brief(view.task), "bold"), f"   {totals}"), (1, 1, 1, 1))
    yield Padding(table, (0, 1, 1, 1))


def turn_values(view: BranchView) -> Iterator[RenderableType]:
    """The value of each turn of an attempt."""
    table = columns("after turn", "n", "solved", "P(solved)", f"{100 * view.level:g} % interval", "infra", "no verdict")
    for value in view.values:
        interval = "" if value.low is None else f"{percent(value.low)} – {percent(value.high)}"
        others = (count(number) if number else "" for number in (value.infra, value.unverified))
        table.add_row(count(value.turn), count(value.n), count(value.solved), percent(value.p), interval, *others)
    yield Padding(table, (1, 1, 0, 1))
    ended = f"the attempt itself ended as {view.exit} after {several(view.turns, 'turn')}"
    verdict = view.outcome or "without a verdict"
    yield Padding(
        Text(f"{ended}: {verdict}; {amount(view.tokens)} tokens in all its continuations", style="dim"), (0, 1, 1, 1)
    )


def outcome(one: Try) -> Text:
    """The verdict on a try, in its colour."""
    return Text(one.outcome or "unverified", style=HUES[one.outcome], no_wrap=True)


def _run(row: RunRow) -> dict[str, RenderableType]:
    cells: dict[str, RenderableType] = dict.fromkeys(RUN_COLUMNS, "")
    if row.error:
        return cells | {"<run": name(row.run), "<model": name(row.error, "red"), "coverage": Text("unreadable", "red")}
    return {
        "<run": name(row.run),
        "<began": "–" if row.began is None else Text(_moment(row.began), no_wrap=True),
        "<model": name(row.model or "–"),
        "<tasks": name(row.tasks or "–"),
        "issues": count(row.issues),
        "attempts": count(row.attempts),
        "coverage": _coverage(row),
    }


def _coverage(row: RunRow) -> Text:
    """The coverage of a run; that of one whose attempts were told what the hidden tests say is marked."""
    mark = ("oracle ", "yellow") if row.oracle else ""
    return Text.assemble(mark, (percent(row.coverage), "green" if row.solved else "dim"), no_wrap=True)


def _attempt(one: Try, priced: bool) -> Sequence[RenderableType]:
    changed = one.submission_bytes and one.lines_added is not None
    return (
        str(one.index),
        outcome(one),
        Text(str(one.exit), no_wrap=True),
        count(one.turns),
        amount(one.usage.total),
        *(["–" if one.dollars is None else money(one.dollars).removeprefix("$")] * priced),
        span(one.seconds),
        f"+{one.lines_added} -{one.lines_removed}" if changed else "–",
        Text(one.submission_digest[:8] if one.submission_bytes else "empty", style="dim", no_wrap=True),
    )


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
