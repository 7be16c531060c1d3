"""Draws the curves of a result into a file: `.svg`, `.pdf`, `.png`, or `.html` that holds the svg and nothing else.

Matplotlib draws, without a display and without its global state. Guarantees: the same result gives the same file, byte
for byte; a file is written whole or not at all.
"""

from __future__ import annotations

import html
import io
import os
import textwrap
from math import ceil, isnan, log10
from pathlib import Path
from typing import Any

from envs.errors import MonkeysError
from monkeys.report.result import Grid, Result, Series

__all__ = ["SUFFIXES", "PictureError", "check_picture", "draw"]

SUFFIXES = (".svg", ".pdf", ".png", ".html")
STROKES = ("-", "--", "-.")  # for more curves than colours; dotted lines are fitted laws
# The palette of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BEYOND = 40  # pieces of a law beyond what was measured
LEGEND = 20  # lines of a column of a legend beside the axes
WIDE = 4  # inches of such a column
LABEL = 44  # characters of a line of the legend
MOST_INSIDE = 6  # a legend with more names stands beside the axes
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2rem auto; max-width: 60rem }}
svg {{ width: 100%; height: auto }}
</style>
<h1>{title}</h1>
{svg}
</html>
"""


class PictureError(MonkeysError):
    """The picture cannot be drawn; the message says what is missing. No file was written."""


def draw(result: Result, path: Path, title: str = "") -> None:
    """Write the result's curves (and bars) to `path`, whose suffix chooses the format.

    Raises:
        PictureError: an unknown suffix, a result without curves, or no matplotlib.
        OSError: the file cannot be written.
    """
    check_picture(path)
    if not result.curves:
        raise PictureError("this result has no curve to draw; leave out --plot")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "monkeys", "svg.fonttype": "none"}):
        # A legend beside the axes needs room of its own, in columns that are no taller than the axes.
        across = ceil(_names(result) / LEGEND) if len(result.curves) > MOST_INSIDE else 0
        below = bool(result.bars or result.grid)
        figure = Figure(figsize=(8 + WIDE * across, 8 if below else 5), layout="constrained")
        axes = figure.subplots(2 if below else 1, squeeze=False)[:, 0]
        _curves(axes[0], result, title, across)
        if result.grid:
            _grid(axes[1], result.grid, result.y)
        elif result.bars:
            _bars(axes[1], result)
        buffer = io.BytesIO()
        if path.suffix.lower() == ".png":
            figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
            data = buffer.getvalue()
        elif path.suffix.lower() == ".pdf":
            none = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(buffer, format="pdf", metadata=none)
            data = buffer.getvalue()
        else:
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
            data = buffer.getvalue()
    if path.suffix.lower() == ".html":
        svg = data.decode()
        data = PAGE.format(title=html.escape(title or result.y), svg=svg[svg.index("<svg") :]).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_picture(path: Path) -> None:
    """Check that a picture can be drawn into this file, before hours of work. Raises `PictureError`."""
    if path.suffix.lower() not in SUFFIXES:
        raise PictureError(f"{path}: a picture needs one of these suffixes: {', '.join(SUFFIXES)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise PictureError("a picture needs matplotlib; install it with `pip install 'coding-monkeys[plot]'`") from None


def _names(result: Result) -> int:
    """Lines of the legend."""
    pieces = [
        name
        for series in result.curves
        for name, there in (
            (series.name, True),
            (f"{series.name}, {series.law_name}", series.law is not None),
            (f"{series.name}, predicted", bool(series.forecast)),
        )
        if there
    ]
    return sum(_label(name).count("\n") + 1 for name in pieces)


def _curves(axes: Any, result: Result, title: str, across: int) -> None:
    for number, series in enumerate(result.curves):
        colour = COLOURS[number % len(COLOURS)]
        stroke = STROKES[number // len(COLOURS) % len(STROKES)]
        values = [point.coverage for point in series.points]
        ks = [point.k for point in series.points]
        at = dict(zip(ks, series.at or ks, strict=True))
        # A curve of one point has no line.
        mark = "o" if len(values) == 1 else None
        axes.plot(list(at.values()), values, color=colour, linestyle=stroke, marker=mark, label=_label(series.name))
        if mark and series.points[0].low is not None and series.points[0].high is not None:
            axes.vlines(list(at.values()), series.points[0].low, series.points[0].high, color=colour, linewidth=1)
        band = [point for point in series.points if point.low is not None and point.high is not None]
        if band:
            low, high = [point.low for point in band], [point.high for point in band]
            axes.fill_between([at[point.k] for point in band], low, high, color=colour, alpha=0.15, linewidth=0)
        if series.law is not None:
            fitted = [series.law(k) for k in ks]
            axes.plot(
                list(at.values()),
                fitted,
                color=colour,
                linestyle=":",
                linewidth=1.2,
                label=_label(f"{series.name}, {series.law_name}"),
            )
        _forecast(axes, series, colour)
    if not result.linear:
        axes.set_xscale("log")
    if result.signed:
        axes.axhline(0, color="black", linewidth=0.8)
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("\n".join(filter(None, (result.x, result.band))))
    axes.set_ylabel(result.y)
    axes.set_title(title)
    axes.grid(alpha=0.3, linewidth=0.5)
    beside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": across} if across else {}
    axes.legend(fontsize="small", frameon=False, **beside)


def _label(name: str) -> str:
    """A name in lines that leave room for the curves; a first underscore would hide it."""
    return "\n".join(textwrap.wrap(name, LABEL)) if not name.startswith("_") else f" {name}"


def _forecast(axes: Any, series: Series, colour: str) -> None:
    """Predicted points with their intervals, and the law as far as they go."""
    if not series.forecast:
        return
    ks = [point.k for point in series.forecast]
    for point in series.forecast:
        if point.low is not None and point.high is not None:
            axes.vlines(point.k, point.low, point.high, color=colour, linewidth=1.5)
    known = [point for point in series.forecast if not isnan(point.coverage)]
    axes.plot(
        [point.k for point in known],
        [point.coverage for point in known],
        color=colour,
        linestyle="none",
        marker="D",
        markersize=4,
        label=_label(f"{series.name}, predicted"),
    )
    if series.law is not None and series.points:
        start, stop = log10(series.points[-1].k), log10(max(ks))
        beyond = [10 ** (start + (stop - start) * step / BEYOND) for step in range(BEYOND + 1)]
        axes.plot(beyond, [series.law(k) for k in beyond], color=colour, linestyle=":", linewidth=1.2)


def _grid(axes: Any, grid: Grid, name: str) -> None:
    import numpy as np

    costs = np.outer(grid.costs, grid.ks)
    drawn = axes.pcolormesh(
        grid.ks, grid.turns, np.array(grid.coverage), shading="nearest", cmap="viridis", vmin=0, rasterized=True
    )
    axes.figure.colorbar(drawn, ax=axes, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("attempts k")
    axes.set_ylabel("turns t")
    names = {cost: name for cost, name in grid.lines if costs.min() < cost < costs.max()}
    if names and min(costs.shape) > 1:
        lines = axes.contour(grid.ks, grid.turns, costs, levels=list(names), colors="white", linewidths=1)
        axes.clabel(lines, fmt=names, fontsize="x-small")


def _bars(axes: Any, result: Result) -> None:
    shares = sorted(result.bars, key=lambda bar: -bar[1])
    colours = [COLOURS[2] if right >= 0.5 else COLOURS[1] for _, _, right in shares]
    axes.bar(range(len(shares)), [share for _, share, _ in shares], color=colours, width=1.0)
    axes.set_xticks([])
    axes.set_xlabel("tasks, by their share (green: plurality is right)")
    axes.set_ylabel("share of correct candidates")
