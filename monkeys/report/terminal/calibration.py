"""A calibration as a table: how often each patch passed, how long it took, and which tests are flaky."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.padding import Padding

from monkeys.formats.calibration import Calibrated, Calibration
from monkeys.report.terminal.console import columns, name, put
from monkeys.text import plain, several, span

__all__ = ["render"]


def render(found: Calibration, path: Path, console: Console) -> None:
    """Draw it. `path` is its file."""
    table = columns("<issue", "gold", "empty", "median", "longest", "may take", "<found")
    for row in found.issues.values():
        said, hue = _said(row)
        table.add_row(
            name(row.id),
            f"{row.gold.resolved}/{row.gold.runs}",
            f"{row.empty.resolved}/{row.empty.runs}",
            span(row.seconds_median),
            span(row.seconds_max),
            span(found.seconds(row.id, found.verify_seconds)),
            name(said, hue),
        )
    rows = found.issues.values()
    counts: list[tuple[str, Callable[[Calibrated], bool]]] = [
        ("broken", lambda row: row.broken),
        ("weak", lambda row: row.weak),
        ("unsteady", lambda row: row.unsteady),
    ]
    told = ", ".join(f"{sum(map(is_so, rows))} {word}" for word, is_so in counts)
    put(console, [Padding(table, (1, 1, 1, 1)), f" {several(len(rows), 'issue')}: {told}"])
    for row in rows:
        for test, kinds in row.flaky.items():
            seen = "; ".join(
                f"{kind} {', '.join(f'{status} {number}' for status, number in statuses.items())}"
                for kind, statuses in kinds.items()
            )
            put(console, [f" flaky: {plain(row.id)} {plain(test)} ({plain(seen)})"])
    times = f"{found.multiple:g} times the longest run of the gold patch, at least {found.least_seconds:g} s"
    put(console, [f" a run may take {times}", f" {plain(str(path))}, for --calibration", ""])


def _said(row: Calibrated) -> tuple[str, str]:
    if row.broken:
        return f"broken: {row.reason}", "red"
    if row.weak:
        return "weak: the empty patch passes", "red"
    if row.flaky:
        return f"flaky: {len(row.flaky)} of its tests", "yellow"
    return ("flaky as a whole", "yellow") if row.unsteady else ("", "")
