"""What the analyses of sets of counts share: titles, notes, and how many sets are shown one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monkeys.formats.counts import Counts
from monkeys.formats.counts.curves import curve_of
from monkeys.report.result import Series, points
from monkeys.science.coverage import Curve
from monkeys.science.scaling import log_spaced_ks
from monkeys.text import count, several

__all__ = [
    "FINE",
    "MANY",
    "band_of",
    "between",
    "drawn_curve",
    "made_of",
    "notes_of",
    "series_of",
    "signed",
    "summed_up",
    "title_of",
]

FINE = 60  # points of a curve that is drawn
MANY = 6  # sets that are shown one by one


def summed_up(sets: Sequence[object], *, each: bool, summary: bool) -> bool:
    """Whether the sets are shown as the lines of one table."""
    return summary or (len(sets) > MANY and not each)


def title_of(one: Counts) -> str:
    """The name of a set, its tasks, and how many were solved in how many attempts."""
    solved = int((one.correct > 0).sum())
    attempts = "1 attempt" if int(one.n.max()) == 1 else f"{made_of(one)} attempts"
    return f"{one.name}   {several(len(one.task_ids), 'task')}, {count(solved)} solved in {attempts} each"


def made_of(one: Counts) -> str:
    """The attempts on each task: `100`, `50 to 100`."""
    least, most = int(one.n.min()), int(one.n.max())
    return count(least) if least == most else f"{count(least)} to {count(most)}"


def notes_of(one: Counts) -> list[tuple[str, str]]:
    """The notes of a set as facts."""
    return [("note", note) for note in one.notes]


def band_of(level: float, *, again: bool = False) -> str:
    """What the bands around curves mean."""
    return f"bands: {100 * level:g} % interval over tasks{' and their attempts' if again else ''}"


def between(low: float, high: float) -> str:
    """An interval in per cent; a dash where there is none."""
    return f"{100 * low:.1f} – {100 * high:5.1f} %" if np.isfinite(low) else "–"


def signed(low: float, high: float, digits: int = 1, scale: float = 100) -> str:
    """The interval of a difference."""
    return f"{scale * low:+.{digits}f} – {scale * high:+.{digits}f}"


def drawn_curve(one: Counts, **options: Any) -> Curve:
    """The curve of a set at as many k as are drawn."""
    return curve_of(one, log_spaced_ks(one.attempts, FINE).tolist(), **options)


def series_of(name: str, curve: Curve, **options: Any) -> Series:
    """A curve to draw."""
    return Series(name, points(curve.ks, curve.coverage, curve.low, curve.high), **options)
