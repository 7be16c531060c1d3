"""Tables to look something up in: the runs of a folder, one run, the attempts at one task."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monkeys.pricing.cost_report import attempt_dollars, quotes_of
from monkeys.report.summary import Summary
from monkeys.report.terminal.final_screen import columns, issues, name
from monkeys.store import AttemptRow, Store, StoreError
from monkeys.text import amount, count, duration, money, percent, plain, several, span
from tasks.task import Outcome

__all__ = ["attempts", "extent", "outcome", "overview", "runs"]

HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
HUES = {Outcome.RESOLVED: "green", Outcome.UNRESOLVED: "", Outcome.INFRA_ERROR: "red", None: "yellow"}
ROOM_FOR_REASONS = 100
ROOM_FOR_MONEY = 90


def runs(folders: Iterable[Path]) -> RenderableType:
    """A line for every run, the newest first."""
    table = columns("<run", "<began", "<model", "<tasks", "issues", "attempts", "coverage")
    table.columns[1].no_wrap = True
    lines: list[tuple[float, list[str | Text]]] = []
    for folder in folders:
        try:
            store = Store.read(folder)
        except StoreError as error:
            lines.append((0.0, [name(folder.name), "", name(str(error), "red")]))
            continue
        try:
            began, config, tallies = store.sessions()[0]["began"], store.config, store.tallies()
        finally:
            store.close()
        solved = sum(tally.resolved > 0 for tally in tallies)
        cells: list[str | Text] = [
            name(folder.name),
            _moment(began),
            name(str(config.get("model", "–"))),
            name(str(config.get("tasks", "–"))),
            count(len(tallies)),
            count(sum(tally.resolved + tally.unresolved + tally.unverified for tally in tallies)),
            Text(percent(solved / len(tallies) if tallies else None), style="green" if solved else "dim"),
        ]
        lines.append((began, cells))
    for _, cells in sorted(lines, key=lambda line: line[0], reverse=True):
        table.add_row(*cells)
    return Padding(table, (1, 1, 1, 1))


def overview(store: Store, summary: Summary) -> Iterator[RenderableType]:
    """A run: how it was set up, who wrote it, its tasks."""
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("run", Text(plain(summary.folder), style="bold"))
    for key, value in store.config.items():
        if (told := _setting(key, value)) is not None:
            facts.add_row(key.replace("_", " "), Text(plain(told)))
    yield Padding(facts, (1, 1, 0, 1))
    sessions = columns("<session", "lasted", "tries", "<end")
    for session in store.sessions():
        ended = session["ended"]
        lasted = duration(ended - session["began"]) if ended else "–"
        # It cannot be told from here whether its process still lives.
        end = session["note"] or ("" if ended else "under way, or killed")
        sessions.add_row(_moment(session["began"]), lasted, count(session["attempts"]), name(end))
    yield Padding(sessions, (1, 1, 0, 1))
    yield Padding(issues(summary), (1, 1, 0, 1))
    yield Padding(Text(f"{summary.commands[0]} TASK [ATTEMPT] shows more", style="dim"), (1, 1, 1, 1))


def attempts(store: Store, task: str, width: int) -> Iterator[RenderableType]:
    """Every try at a task, infra errors included."""
    reasons = width >= ROOM_FOR_REASONS
    rows, quotes = list(store.attempts(task)), quotes_of(store) if width >= ROOM_FOR_MONEY else {}
    priced = ["$"] if quotes else []
    table = columns(
        "attempt", "<outcome", "<exit", "turns", "tokens", *priced, "time", "lines", "<patch", *(["<reason"] * reasons)
    )
    for row in rows:
        dollars = attempt_dollars(store, row, quotes)
        table.add_row(
            *_attempt(store, row, dollars), *([name(row.detail if row.exit.infra else row.reason, "dim")] * reasons)
        )
    counted = [row for row in rows if not row.exit.infra]
    resolved = sum(row.outcome is Outcome.RESOLVED for row in counted)
    infra = f", {several(len(rows) - len(counted), 'infra error')} besides" if len(rows) > len(counted) else ""
    said = f"{several(len(counted), 'attempt')}, {count(resolved)} resolved{infra}"
    head = Text.assemble((plain(task), "bold"), f"   {said}")
    yield Padding(head, (1, 1, 1, 1))
    yield Padding(table, (0, 1, 1, 1))


def outcome(row: AttemptRow) -> Text:
    return Text(row.outcome or "unverified", style=HUES[row.outcome], no_wrap=True)


def extent(patch: bytes) -> tuple[int, int]:
    """How many lines a git patch adds and removes."""
    added = removed = old = new = 0
    for line in patch.split(b"\n"):
        if old > 0 or new > 0:  # inside a hunk, where "--- a" is a line that begins with "-- a"
            added += line.startswith(b"+")
            removed += line.startswith(b"-")
            old -= not line.startswith((b"+", b"\\"))
            new -= not line.startswith((b"-", b"\\"))
        elif hunk := HUNK.match(line):
            old, new = (int(size) if size is not None else 1 for size in hunk.groups())
    return added, removed


def _attempt(store: Store, row: AttemptRow, dollars: float | None) -> Sequence[RenderableType]:
    patch = store.patch(row)
    added, removed = extent(patch)
    return (
        str(row.index),
        outcome(row),
        Text(row.exit, no_wrap=True),
        count(row.turns),
        amount(row.usage.total),
        *([] if dollars is None else [money(dollars).removeprefix("$")]),
        span(row.seconds),
        f"+{added} -{removed}" if patch else "–",
        Text(row.patch.hex()[:8] if patch else "empty", style="dim", no_wrap=True),
    )


def _setting(key: str, value: Any) -> str | None:
    """A setting in one line; None for what is empty or too long to be read here."""
    if isinstance(value, Mapping):
        pairs = [(inner, value[inner]) for inner in value if isinstance(value[inner], int | float | str | None)]
        if key == "prompts":
            return f"{', '.join(value)} (whole in the run)"
        return ", ".join(f"{inner.replace('_', ' ')} {said}" for inner, said in pairs if said is not None) or None
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or None
    return str(value)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
