"""The live display of a run: what a person sees while attempts and verifications go on.

On a terminal: issues x attempts, redrawn four times a second in place. Elsewhere: one plain line at the start, every
ten seconds and at the end. Quiet: nothing but what changes the meaning of a number. A `Screen` draws a `Progress` from
a thread of its own, and its `take` is a sink that prints the first lines of a run and its warnings above the display.

Guarantees: the last line stays when the display goes; the cursor is never hidden, so that a terminal can be used even
after SIGKILL; drawing does not slow the sampling noticeably (lines are put together by hand, because a rich table of
this size costs ten times as much).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Event as Flag
from threading import Thread
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from monkeys.events.events import Event, Incident, RunBegan, Warned
from monkeys.events.progress import Progress, TaskProgress
from monkeys.report.terminal.console import Encodable
from monkeys.text import amount, brief, count, duration, percent, plain, several

__all__ = ["Display", "Lines", "Screen", "frame", "make_screen", "status"]

EVERY_SECONDS = 10.0
REDRAWS_PER_SECOND = 4.0
FAILURES = 20  # different causes that are printed

# A line as (characters, style) from left to right.
Line = list[tuple[str, str]]


class Screen:
    """Shows a run while it goes on; this one shows nothing. Use it as a context manager, and `take` as a sink."""

    def take(self, event: Event) -> None:
        """Print what a person should read once. Other events are shown through the progress."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        return None


def make_screen(progress: Progress, *, quiet: bool, console: Console) -> Screen:
    """The screen that suits the console."""
    if quiet:
        return Quiet(progress, console)
    # A console may call itself a terminal because colours are forced; control codes belong on a real one only.
    if console.is_interactive and console.file.isatty():
        return Display(progress, console)
    return Lines(progress, console)


class _Telling(Screen):
    """A screen that prints the first lines of a run and its warnings, and then shows how the run goes on."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress, self._console, self._title = progress, console, ""
        self._shown = False
        self._failures: set[str] = set()  # that were printed

    def take(self, event: Event) -> None:
        if isinstance(event, RunBegan):
            self._title = event.title
            for line in event.lines:
                self._say(line)
            for line in event.warnings:
                self._say(line, "bold red")
            self._shown = True
            self._begin()
        elif isinstance(event, Warned):
            self._say(event.text, "bold red")
        elif isinstance(event, Incident) and len(self._failures) < FAILURES:
            # A cause may hold numbers of its own, such as a seed or a port.
            cause = re.sub(r"\d+", "#", f"{event.kind}: {event.cause}")
            if cause not in self._failures:
                self._failures.add(cause)
                self._say(
                    f"infra error, which does not count: {event.kind}: {event.cause or 'no cause was told'}", "red"
                )

    def __exit__(self, *failure: object) -> None:
        if self._shown:
            self._shown = False
            self._end()
            self._say(status(self._progress))

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def _say(self, line: str, style: str = "") -> None:
        """One line, however long."""
        self._console.print(Encodable(Text(plain(line).replace("\n", " "), style)), soft_wrap=True, end="")


class Quiet(_Telling):
    """What changes the meaning of the run's numbers, and nothing else: they will be read later."""

    def take(self, event: Event) -> None:
        if isinstance(event, Warned) and event.numbers:
            self._say(event.text)


class Lines(_Telling):
    """Plain lines, for files and pipes."""

    def __init__(self, progress: Progress, console: Console, every: float = EVERY_SECONDS) -> None:
        super().__init__(progress, console)
        self._every, self._over = every, Flag()
        self._thread = Thread(target=self._go_on, name="screen", daemon=True)

    def _begin(self) -> None:
        self._say(f"{self._title}: {_size(self._progress)}")
        self._thread.start()

    def _end(self) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._over.wait(self._every):
            self._say(status(self._progress))


class Display(_Telling):
    """Issues x attempts, in place."""

    def _begin(self) -> None:
        drawn = _Frame(self._progress, self._title)
        self._live = Live(
            Encodable(drawn),
            console=self._console,
            refresh_per_second=REDRAWS_PER_SECOND,
            transient=True,
            # Output that goes to a file must not be caught and drawn here.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start(refresh=True)
        self._console.show_cursor(True)

    def _end(self) -> None:
        self._live.stop()


def status(progress: Progress) -> str:
    """The progress in one plain line."""
    parts = [
        duration(progress.seconds),
        f"{count(progress.done)}/{count(progress.total)} attempts",
        f"{progress.solved}/{len(progress.tasks)} solved",
        f"coverage {percent(_coverage(progress))}",
        f"{_turns_per_second(progress)} turns/s",
        f"{amount(progress.usage_here.total)} tokens",
    ]
    if spent := progress.spending:
        parts.append(f"spent {', '.join(spent)}")
    if infra := sum(row.infra for row in progress.tasks.values()):
        parts.append(several(infra, "infra error"))
    if waiting := sum(row.unverified for row in progress.tasks.values()):
        parts.append(f"{count(waiting)} without verdict")
    if progress.turns_queued:
        parts.append(_turn_verdicts(progress))
    if progress.done < progress.total:
        parts += [f"{progress.active} active", f"{duration(progress.seconds_left)} left"]
    return "   ".join([*parts, *([brief(progress.note)] if progress.note else [])])


def frame(progress: Progress, title: str, width: int, height: int) -> list[Line]:
    """The whole display, for a terminal of this size: at most `height` lines of at most `width` cells."""
    rows, spent = list(progress.tasks.values()), progress.spending
    room = max(
        1, height - 9 - bool(spent) - bool(progress.turns_queued)
    )  # without the other lines and one to spare for the cursor
    shown = rows if len(rows) <= room else _under_way(rows, progress.attempts, max(1, room - 1))
    columns = _Columns.fit(rows, progress.attempts, width)
    lines = [
        _heading(title, _size(progress), width),
        [],
        columns.names(),
        *(columns.row(row, progress.attempts) for row in shown),
    ]
    if len(shown) < len(rows):
        lines.append(_others(rows, progress.attempts))
    lines += [[], *_totals(progress, width)]
    if spent:
        lines.append([(" spent ", "dim"), ("   ".join(spent)[: width - 8], "bold")])
    if progress.turns_queued:
        lines.append([(" each turn ", "dim"), (_turn_verdicts(progress)[: width - 12], "bold")])
    if progress.note:
        lines.append([(" " + brief(progress.note)[: width - 2], "yellow")])
    return lines


@dataclass(frozen=True, slots=True)
class _Columns:
    """The widths of the columns of one issue's line."""

    name: int
    bar: int
    attempts: int

    @classmethod
    def fit(cls, rows: Iterable[TaskProgress], wanted: int, width: int) -> _Columns:
        attempts = max(8, 2 * len(count(wanted)) + 1)
        longest = max((len(brief(row.id)) for row in rows), default=0)
        name = min(longest, max(12, width // 3))
        return cls(name, max(4, width - name - attempts - 24), attempts)

    def names(self) -> Line:
        left = f" {'issue':<{self.name}}  {'':{self.bar}}"
        return [(f"{left}  {'attempts':>{self.attempts}}  {'resolved':>8}  {'infra':>6}", "dim")]

    def row(self, row: TaskProgress, wanted: int) -> Line:
        name = brief(row.id)
        name = name if len(name) <= self.name else name[: self.name - 1] + "…"
        sampled = f"{count(row.sampled)}/{count(wanted)}"
        return [
            (f" {name:<{self.name}}  ", "" if 0 < row.sampled < wanted else "dim" if not row.resolved else ""),
            *self.gauge(row, wanted),
            (f"  {sampled:>{self.attempts}}", "" if row.sampled else "dim"),
            (f"  {count(row.resolved):>8}", "green" if row.resolved else "dim"),
            (f"  {count(row.infra):>6}" if row.infra else f"{'':8}", "red"),
        ]

    def gauge(self, row: TaskProgress, wanted: int) -> Line:
        """Resolved, without verdict, unresolved, to come. A number above zero gets at least one cell."""
        left = self.bar
        line: Line = []
        for number, glyph, style in (
            (row.resolved, "━", "bold green"),
            (row.unverified, "━", "yellow"),
            (row.unresolved, "━", "bright_black"),
        ):
            cells = min(left, max(round(number / wanted * self.bar), 1)) if number > 0 else 0
            if cells:
                line.append((glyph * cells, style))
                left -= cells
        return [*line, ("┄" * left, "bright_black")] if left else line


def _size(progress: Progress) -> str:
    return f"{several(len(progress.tasks), 'issue')} × {several(progress.attempts, 'attempt')}"


def _heading(title: str, size: str, width: int) -> Line:
    title = brief(title)[: max(0, width - len(size) - 4)]
    return [(f" {title}", "bold"), (f"{size:>{max(0, width - len(title) - 2)}}", "dim")]


def _under_way(rows: Sequence[TaskProgress], wanted: int, room: int) -> list[TaskProgress]:
    """Issues that are begun and not done and, as far as there is room, those done last; in their order."""
    begun = [number for number, row in enumerate(rows) if row.sampled or row.infra]
    unfinished = [number for number in begun if rows[number].sampled < wanted or rows[number].unverified]
    finished = [number for number in begun if number not in set(unfinished)]
    chosen = unfinished[-room:]
    chosen += finished[len(finished) - min(len(finished), room - len(chosen)) :]
    return [rows[number] for number in sorted(chosen)]


def _others(rows: Sequence[TaskProgress], wanted: int) -> Line:
    done = [row for row in rows if row.sampled >= wanted]
    solved = sum(row.resolved > 0 for row in done)
    to_come = sum(not row.sampled for row in rows)
    under_way = len(rows) - len(done) - to_come
    return [
        (
            f" {several(len(done), 'issue')} done, {solved} of them solved, {under_way} under way, {to_come} to come",
            "dim",
        )
    ]


def _totals(progress: Progress, width: int) -> list[Line]:
    """A bar, and below it what is reached and at which pace, in two lines of four columns."""
    reached = [
        (f"{progress.solved} of {len(progress.tasks)}", "solved"),
        (percent(_coverage(progress)), "coverage"),
        (f"{count(progress.done)} of {count(progress.total)}", "attempts"),
        (str(progress.active), "active"),
    ]
    pace = [
        (_turns_per_second(progress), "turns/s"),
        (amount(progress.usage_here.total), "tokens"),
        (duration(progress.seconds), "elapsed"),
        (duration(progress.seconds_left), "left"),
    ]
    share = progress.done / progress.total if progress.total else 0.0
    bar = width - 2
    filled = round(share * bar)
    widths = [max(len(f"{a} {b}"), len(f"{c} {d}")) for (a, b), (c, d) in zip(reached, pace, strict=True)]
    gap = max(2, min(6, (bar - sum(widths)) // 3))
    lines: list[Line] = [[(" ", ""), ("━" * filled, "cyan"), ("┄" * (bar - filled), "bright_black")]]
    for cells in (reached, pace):
        line: Line = [(" ", "")]
        for (value, label), size in zip(cells, widths, strict=True):
            line += [(value, "bold"), (f" {label}".ljust(size - len(value) + gap), "dim")]
        line[-1] = (line[-1][0].rstrip(), "dim")
        lines.append(line)
    return lines


def _coverage(progress: Progress) -> float | None:
    return progress.coverage if progress.tasks else None


def _turn_verdicts(progress: Progress) -> str:
    return f"{count(progress.turns_verified)}/{count(progress.turns_queued)} patches of turns verified"


def _turns_per_second(progress: Progress) -> str:
    rate = progress.turns_here / progress.seconds if progress.seconds > 0 else 0.0
    return count(rate) if rate >= 99.5 else f"{rate:.1f}"


class _Frame:
    """`frame` as rich draws it."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._title = progress, title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in frame(self._progress, self._title, *console.size):
            yield from (Segment(text, console.get_style(style)) for text, style in line)
            yield Segment.line()
