"""A coverage curve with its legend, in colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Group
from rich.text import Text

from monkeys.report.point import Point
from monkeys.report.terminal.curve import Ink, glyphs, plot

__all__ = ["WIDEST", "figure"]

INKS = {Ink.AXIS: "dim", Ink.BAND: "bright_black", Ink.CURVE: "bold cyan", Ink.LAW: "yellow"}
ROWS = 13
WIDEST = 72


def figure(
    points: Sequence[Point],
    law: Callable[[float], float] | None,
    ticks: Sequence[int],
    *,
    width: int,
    unicode: bool,
    curve_name: str = "measured",
    band_name: str = "",
    law_name: str = "law",
) -> Group:
    """The curve through `points`, the law over it, and a legend that names the two and the band of the interval."""
    lines = plot(points, law, ticks, width=width, height=ROWS, unicode=unicode)
    drawing = Text("\n", no_wrap=True).join(
        Text.assemble(*((piece, INKS[ink]) for piece, ink in line), overflow="crop") for line in lines
    )
    drawn = glyphs(unicode)
    legend = Text(" " * 8, no_wrap=True, overflow="crop")
    legend.append(drawn.curve * 2, INKS[Ink.CURVE]).append(f" {curve_name}", "dim")
    if band_name:
        legend.append("  ").append(drawn.band * 2, INKS[Ink.BAND]).append(f" {band_name}", "dim")
    if law is not None:
        legend.append("  ").append(drawn.law, INKS[Ink.LAW]).append(f" {law_name}", "dim")
    return Group(drawing, legend.append("  (log k)", "dim"))
