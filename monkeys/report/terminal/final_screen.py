"""The final screen of a run: its issues, pass@k beside the coverage curve, the power law, costs, and what to type next.

Each colour has one meaning: green resolved, red infra error, cyan measured, yellow fitted. Nothing is told by colour
alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monkeys.report.summary import Coverage, Issue, Summary
from monkeys.report.terminal.console import MARGIN, columns, facts, name, put, speaks_unicode
from monkeys.report.terminal.figure import WIDEST, figure
from monkeys.text import amount, brief, count, duration, money, percent, plain, several

__all__ = ["final_screen", "issues", "render"]

HUES = {"n": "", "resolved": "green", "rate": "", "infra": "red", "unverified": "yellow", "patches": ""}
PLURALS = {"patch": "patches"}  # the others take an s
TABLE_WIDTH = 32  # of pass@k, with a gap
NARROWEST = 36
MOST_UNTRIED = 3  # issues without an attempt that have a line each


def render(summary: Summary, console: Console) -> None:
    """Draw the final screen."""
    put(console, final_screen(summary, console))


def final_screen(summary: Summary, console: Console) -> Iterator[RenderableType]:
    """The screen's parts from top to bottom, for this console's width and characters."""
    width = console.width - 2 * MARGIN
    for part in (
        issues(summary),
        *_curve(summary, width, speaks_unicode(console)),
        _facts(summary),
        _commands(summary),
    ):
        yield Padding(part, (1, MARGIN, 0, MARGIN))
    yield ""


def issues(summary: Summary) -> RenderableType:
    """A line for every issue, and one for all of them.

    Issues that were never tried share one line where they are many: with a few predictions for a large set they would
    be most of the screen.
    """
    absent = set() if any(issue.unverified for issue in summary.issues) else {"unverified"}
    if summary.sampling.kind != "independent":  # resolved / n would be read as pass@1, which it is not
        absent.add("rate")
    keys = [key for key in HUES if key not in absent]
    kinds = PLURALS.get(summary.kind, f"{summary.kind}s")
    table = columns("<issue", *(kinds if key == "patches" else key for key in keys))
    table.show_footer = True
    untried = [issue for issue in summary.issues if not (issue.n or issue.infra or issue.unverified)]
    if not MOST_UNTRIED < len(untried) < len(summary.issues):
        untried = []
    for issue in summary.issues:
        if issue not in untried:
            table.add_row(name(issue.id), *(_number(issue, key) for key in keys))
    if untried:
        table.add_row(name(f"{count(len(untried))} issues without an attempt", "dim"))
    table.columns[0].footer = Text(f"{summary.solved} of {len(summary.issues)} solved", style="bold")
    for key, column in zip(keys, table.columns[1:], strict=True):
        if key != "rate":
            column.footer = Text(count(sum(getattr(issue, key) for issue in summary.issues)), style="bold")
    return table


def _number(issue: Issue, key: str) -> Text:
    value = getattr(issue, key)
    return Text(percent(value) if key == "rate" else count(value), style=HUES[key] if value else "dim")


def _curve(summary: Summary, width: int, unicode: bool) -> Iterator[RenderableType]:
    coverage = summary.coverage
    if coverage is None:
        yield Text.assemble(("coverage  ", "dim"), brief(summary.no_coverage))
        return
    table = _pass_at_k(coverage)
    if len(coverage.points) < 2:
        yield table
        return
    beside = width - TABLE_WIDTH >= NARROWEST
    room = min(width - TABLE_WIDTH if beside else width, WIDEST)
    drawn = figure(
        coverage.points,
        summary.law.predict if summary.law else None,
        coverage.shown,
        width=room,
        unicode=unicode,
        band_name=f"{100 * coverage.level:g} %" if any(point.low is not None for point in coverage.points) else "",
    )
    if beside:
        grid = Table.grid(padding=0)
        grid.add_column(width=TABLE_WIDTH)
        grid.add_column(width=room)
        grid.add_row(table, drawn)
        yield grid
    else:
        yield table
        yield drawn


def _pass_at_k(coverage: Coverage) -> RenderableType:
    table = columns("k", "pass@k", f"{100 * coverage.level:g} % interval")
    for point in coverage.rows:
        between = "–"
        if point.low is not None and point.high is not None:
            between = f"{100 * point.low:.1f} – {100 * point.high:5.1f} %"
        table.add_row(str(point.k), Text(percent(point.coverage), style="bold"), Text(between, style="dim"))
    return table


def _facts(summary: Summary) -> RenderableType:
    table = facts()

    def row(what: str, *pieces: str | tuple[str, str]) -> None:
        table.add_row(what, Text.assemble(*pieces))

    law, usage = summary.law, summary.usage
    if law:
        row("law", "c = exp(a k^b)   a = ", (f"{law.a:.4g}", "bold"), "   b = ", (f"{law.b:.4g}", "bold"))
        row(
            "residual",
            f"{100 * law.residual_mean:.2f} points of coverage",
            (
                f" (s.d. {100 * law.residual_std:.2f}), at {law.residual_points} k from {law.k_min} to {law.k_max}",
                "dim",
            ),
        )
    elif summary.coverage:
        row("law", "none: ", brief(summary.no_law))
    if summary.coverage:
        row("interval", (summary.coverage.no_interval or summary.coverage.interval, "dim"))
    for note in summary.notes:
        row("note", (brief(note), "yellow"))
    cached = f", {amount(usage.cached)} of them cached" if usage.cached else ""
    row(
        "cost",
        f"{count(summary.turns)} turns   {amount(usage.total)} tokens",
        (f" ({amount(usage.prompt)} in{cached}, {amount(usage.completion)} out)", "dim"),
    )
    if (dollars := summary.dollars) and summary.cost:
        each = [
            f"{money(value)} {what}"
            for what, key in (("an attempt", "an_attempt"), ("a solved issue", "a_solved_issue"))
            if (value := dollars[key]) is not None
        ]
        sources = brief(", then ".join(summary.cost.sources))
        total = money(summary.cost.total)
        row("money", (total, "bold"), "".join(f"   {one}" for one in each), (f" ({sources})", "dim"))
    if (unread := summary.unread) and unread.unread:
        counted = f" of {count(unread.replies)} replies"
        some = f" in {count(unread.attempts)} of {several(unread.of, 'attempt')}" if unread.attempts < unread.of else ""
        row("unread", f"{percent(unread.share)}{counted} held no action that could be read", (some, "dim"))
    if tries := sum(summary.exits.values()):
        row("time", f"{duration(summary.seconds)} in all attempts", (f", {summary.seconds / tries:.2g} s each", "dim"))
    row("ended", "   ".join(f"{exit} {count(number)}" for exit, number in summary.exits.items()) or "–")
    return table


def _commands(summary: Summary) -> RenderableType:
    show, report = summary.commands
    table = facts(fold=True)
    table.add_row("run", Text(plain(summary.folder)))
    table.add_row("more", Text(f"{show}\n{report}"))
    return table
