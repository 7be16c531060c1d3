"""The final screen of a run: issues, pass@k beside its curve, the law, the cost, where it all lies.

Colours are few and say one thing each: green resolved, red infra error, cyan measured,
yellow fitted. Without colours nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monkeys.report.summary import Coverage, Issue, Summary, summarize
from monkeys.report.terminal.curve import Ink, glyphs, plot
from monkeys.store import Store
from monkeys.text import amount, count, duration, money, percent, plain, put, speaks_unicode

__all__ = ["closing", "columns", "issues", "name", "render", "show"]

INKS = {Ink.AXIS: "dim", Ink.BAND: "bright_black", Ink.CURVE: "bold cyan", Ink.LAW: "yellow"}
HUES = {"n": "", "resolved": "green", "rate": "", "infra": "red", "unverified": "yellow", "patches": ""}
MARGIN = 1
TABLE_WIDTH = 32  # of pass@k, with a gap
PLOT_ROWS = 13
WIDEST_PLOT = 72
NARROWEST = 36


def render(summary: Summary, console: Console) -> None:
    """Draw the final screen."""
    put(console, closing(summary, console))


def show(store: Store) -> None:
    """The final screen of a run, on standard output."""
    render(summarize(store), Console())


def closing(summary: Summary, console: Console) -> Iterator[RenderableType]:
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


def columns(*names: str) -> Table:
    """An empty table: the names that begin with < to the left, the others to the right."""
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, header_style="dim", border_style="bright_black")
    for heading in names:
        left = heading.startswith("<")
        # Rich narrows columns that may wrap before the others: names give way, numbers stay whole.
        table.add_column(Text(heading.removeprefix("<")), justify="left" if left else "right", no_wrap=not left)
    return table


def name(text: str, style: str = "") -> Text:
    """A cell of a left column: one line, cut where there is no room."""
    return Text(plain(text), style=style, no_wrap=True, overflow="ellipsis")


def issues(summary: Summary) -> RenderableType:
    """A line for every issue, and one for all of them."""
    absent = set() if any(issue.unverified for issue in summary.issues) else {"unverified"}
    if summary.allocate != "uniform":  # n depends on the outcomes, and resolved / n would be read as pass@1
        absent.add("rate")
    keys = [key for key in HUES if key not in absent]
    table = columns("<issue", *keys)
    table.show_footer = True
    for issue in summary.issues:
        table.add_row(name(issue.id), *(_number(issue, key) for key in keys))
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
        yield Text.assemble(("coverage  ", "dim"), summary.no_coverage)
        return
    table = _pass_at_k(coverage)
    if len(coverage.points) < 2:
        yield table
        return
    beside = width - TABLE_WIDTH >= NARROWEST
    room = min(width - TABLE_WIDTH if beside else width, WIDEST_PLOT)
    law = summary.law.predict if summary.law else None
    lines = plot(coverage.points, law, coverage.shown, width=room, height=PLOT_ROWS, unicode=unicode)
    drawing = Text("\n", no_wrap=True).join(
        Text.assemble(*((piece, INKS[ink]) for piece, ink in line), overflow="crop") for line in lines
    )
    figure = Group(drawing, _legend(summary, coverage, unicode))
    if beside:
        grid = Table.grid(padding=0)
        grid.add_column(width=TABLE_WIDTH)
        grid.add_column(width=room)
        grid.add_row(table, figure)
        yield grid
    else:
        yield table
        yield figure


def _pass_at_k(coverage: Coverage) -> RenderableType:
    table = columns("k", "pass@k", f"{100 * coverage.level:g} % interval")
    for point in coverage.rows:
        between = "–"
        if point.low is not None and point.high is not None:
            between = f"{100 * point.low:.1f} – {100 * point.high:5.1f} %"
        table.add_row(str(point.k), Text(percent(point.coverage), style="bold"), Text(between, style="dim"))
    return table


def _legend(summary: Summary, coverage: Coverage, unicode: bool) -> Text:
    drawn = glyphs(unicode)
    legend = Text(" " * 8, no_wrap=True, overflow="crop")
    legend.append(drawn.curve * 2, INKS[Ink.CURVE]).append(" measured", "dim")
    if any(point.low is not None for point in coverage.points):
        legend.append("  ").append(drawn.band * 2, INKS[Ink.BAND]).append(f" {100 * coverage.level:g} %", "dim")
    if summary.law:
        legend.append("  ").append(drawn.law, INKS[Ink.LAW]).append(" law", "dim")
    return legend.append("  (log k)", "dim")


def _facts(summary: Summary) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()

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
        row("law", "none: ", summary.no_law)
    if summary.coverage:
        row("interval", (summary.coverage.no_interval or summary.coverage.interval, "dim"))
    for note in summary.notes:
        row("note", (note, "yellow"))
    cached = f", {amount(usage.cached)} of them cached" if usage.cached else ""
    row(
        "cost",
        f"{count(summary.turns)} turns   {amount(usage.total)} tokens",
        (f" ({amount(usage.prompt)} in{cached}, {amount(usage.completion)} out)", "dim"),
    )
    if (dollars := summary.dollars) and summary.bill:
        each = [
            f"{money(value)} {what}"
            for what, key in (("an attempt", "an_attempt"), ("a solved issue", "a_solved_issue"))
            if (value := dollars[key]) is not None
        ]
        by = plain(", then ".join(summary.bill.sources))
        row("money", (money(summary.bill.total), "bold"), "".join(f"   {one}" for one in each), (f" ({by})", "dim"))
    if tries := sum(summary.exits.values()):
        row("time", f"{duration(summary.seconds)} in all attempts", (f", {summary.seconds / tries:.2g} s each", "dim"))
    row("ended", "   ".join(f"{exit} {count(number)}" for exit, number in summary.exits.items()) or "–")
    return table


def _commands(summary: Summary) -> RenderableType:
    show, report = summary.commands
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("run", Text(plain(summary.folder)))
    table.add_row("more", Text(f"{show}\n{report}"))
    return table
